#!/bin/sh
# SPDX-License-Identifier: MIT
#
# summary.sh [-m names that must not be skipped] [-n least number] <tests.xml>: names what failed and what was skipped,
# and ends with a line `N passed, M failed, K skipped`. Fails when something failed, was to run and did not, or when
# there are fewer tests than the least number.
set -eu
must_run='' least=1
while getopts m:n: option; do
  case $option in
    m) must_run=$OPTARG ;;
    n) least=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
if [ ! -e "$1" ]; then
  echo "no test was run"
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
fi
sed -n 's/^\t<testcase name="\([^"]*\)".* status="\([a-z]*\)".*/\2 \1/p' "$1" |
  sed 's/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&apos;/'"'"'/g; s/&amp;/\&/g' |
  awk -v must_run="$must_run" -v least="$least" '
    function matches(name, pattern) {
      return pattern ~ /\*$/ ? index(name, substr(pattern, 1, length(pattern) - 1)) == 1 : name == pattern
    }
    BEGIN {
      while (must_run != "" && (getline line < must_run) > 0)
        if (line !~ /^(#|[ \t]*$)/) patterns[++count] = line
    }
    {
      status = $1
      name = substr($0, length($1) + 2)
      wanted = 0
      for (i = 1; i <= count; ++i) if (matches(name, patterns[i])) { seen[i] = 1; wanted = 1 }
      if (status == "run") ++passed
      else if (status == "fail" || wanted) { ++failed; print "failed:  " name (status == "fail" ? "" : " (must not be skipped)") }
      else { ++skipped; print "skipped: " name }
    }
    END {
      for (i = 1; i <= count; ++i) if (!seen[i]) { ++failed; print "failed:  " patterns[i] " (must run, and is not there)" }
      if (NR < least) { ++failed; print "failed:  " NR " tests, and there are to be " least " at least" }
      printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
      exit failed > 0 || passed == 0
    }'
