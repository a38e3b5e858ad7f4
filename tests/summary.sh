#!/bin/sh
# SPDX-License-Identifier: MIT
#
# summary.sh [-m names that must not be skipped] [-n least number] <tests.xml>: names what failed and what was skipped and
# why, and ends with a line `N passed, M failed, K skipped`. Fails when something failed, was to run and did not, or when
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
# A line a test: its status, its name, and behind a tab why it was skipped.
awk '
  function tell() { if (test != "") print test "\t" why }
  /^\t<testcase name="/ {
    tell()
    why = test = $0
    sub(/.* status="/, "", test)
    sub(/".*/, "", test)
    sub(/^\t<testcase name="/, "", why)
    sub(/" .*/, "", why)
    test = test " " why
    why = ""
  }
  why == "" && /(^|>)skipped: / { why = $0; sub(/.*skipped: /, "", why) }
  END { tell() }' "$1" |
  sed 's/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&apos;/'"'"'/g; s/&amp;/\&/g' |
  awk -F '\t' -v must_run="$must_run" -v least="$least" '
    function matches(name, pattern) {
      return pattern ~ /\*$/ ? index(name, substr(pattern, 1, length(pattern) - 1)) == 1 : name == pattern
    }
    function because() { return $2 == "" ? "" : ": " $2 }
    BEGIN {
      while (must_run != "" && (getline line < must_run) > 0)
        if (line !~ /^(#|[ \t]*$)/) patterns[++count] = line
    }
    {
      status = name = $1
      sub(/ .*/, "", status)
      sub(/^[a-z]* /, "", name)
      wanted = 0
      for (i = 1; i <= count; ++i) if (matches(name, patterns[i])) { seen[i] = 1; wanted = 1 }
      if (status == "run") ++passed
      else if (status == "fail" || wanted) { ++failed; print "failed:  " name (status == "fail" ? "" : " (must not be skipped)" because()) }
      else { ++skipped; print "skipped: " name because() }
    }
    END {
      for (i = 1; i <= count; ++i) if (!seen[i]) { ++failed; print "failed:  " patterns[i] " (must run, and is not there)" }
      if (NR < least) { ++failed; print "failed:  " NR " tests, and there are to be " least " at least" }
      printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
      exit failed > 0 || passed == 0
    }'
