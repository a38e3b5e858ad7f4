#!/bin/sh
# SPDX-License-Identifier: MIT
#
# commands.sh <fact> <source tree>
set -eu
fact=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  printf 'expected %s, got:\n%s\n' "$1" "$2"
  exit 1
}

# A Debian on which only `g++` is installed, and whose apt-get writes down its calls.
mkdir "$work/bin"
cat >"$work/bin/dpkg-query" <<'END'
#!/bin/sh
for package; do :; done
[ "$package" = g++ ] && printf installed
END
cat >"$work/bin/apt-get" <<'END'
#!/bin/sh
echo "$*" >>"$(dirname "$0")/../apt-get.log"
END
chmod +x "$work/bin/dpkg-query" "$work/bin/apt-get"

# need_here <packages>: its output and exit code.
need_here() {
  code=0
  out=$(PATH="$work/bin:$PATH" SCRATCH_NO_INSTALL="${no_install:-0}" sh -eu -c '. "$0"; need "$@"; echo "and on"' \
    "$source/cmake/need.sh" "$@" 2>&1) || code=$?
}

# report <status of the third test>: a JUnit report as ctest writes it.
report() {
  printf '<testsuite>\n'
  for test in 'a: plain|run' 'b: says &lt;this&gt; &amp; &quot;that&quot;|run' "c: needs root|$1"; do
    printf '\t<testcase name="%s" classname="x" time="0.1" status="%s">\n\t</testcase>\n' "${test%|*}" "${test##*|}"
  done
  printf '</testsuite>\n'
}

# summary_of <status of the third test> [names that must run]
summary_of() {
  report "$1" >"$work/tests.xml"
  shift
  code=0
  if [ $# -gt 0 ]; then
    printf '%s\n' '# a comment' "$@" >"$work/must_run.txt"
    out=$("$source/tests/summary.sh" "$work/tests.xml" "$work/must_run.txt") || code=$?
  else
    out=$("$source/tests/summary.sh" "$work/tests.xml") || code=$?
  fi
}

# expect <code> <last line>
expect() {
  [ "$code $(printf '%s\n' "$out" | tail -n 1)" = "$1 $2" ] || fail "$1 $2" "$code $out"
}

case $fact in
  need_says_what_to_type)
    no_install=1
    need_here g++ cmake ninja-build
    expect 3 "  apt-get install --no-install-recommends cmake ninja-build"
    ;;
  need_is_quiet_when_all_is_there)
    need_here g++
    [ "$code $out" = "0 and on" ] || fail "silence" "$out"
    ;;
  need_asks_the_network_for_nothing_known)
    [ "$(id -u)" = 0 ] || { echo "skipped: not root"; exit 77; }
    need_here g++ cmake
    calls=$(cat "$work/apt-get.log")
    [ "$calls" = "install -y -qq --no-install-recommends cmake" ] || fail "an installation of cmake and no more" "$calls"
    expect 0 "and on"
    ;;
  summary_counts)
    summary_of run 'b: says <this> & "that"' 'a: *'
    expect 0 "3 passed, 0 failed, 0 skipped"
    summary_of notrun 'a: *'
    expect 0 "2 passed, 0 failed, 1 skipped"
    ;;
  summary_fails_on_a_failure)
    summary_of fail
    expect 1 "2 passed, 1 failed, 0 skipped"
    ;;
  summary_refuses_a_forbidden_skip)
    summary_of notrun 'c: *'
    expect 1 "2 passed, 1 failed, 0 skipped"
    ;;
  summary_misses_a_test_that_is_gone)
    summary_of run 'd: long forgotten'
    expect 1 "3 passed, 1 failed, 0 skipped"
    ;;
  summary_fails_without_tests)
    code=0
    out=$("$source/tests/summary.sh" "$work/nothing.xml") || code=$?
    expect 1 "0 passed, 1 failed, 0 skipped"
    ;;
esac
