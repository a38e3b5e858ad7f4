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
    printf '\t<testcase name="%s" classname="x" time="0.1" status="%s">\n' "${test%|*}" "${test##*|}"
    [ "${test##*|}" != notrun ] || printf '\t\t<system-out>Filters: all\nskipped: a &lt;disk&gt; needs root\n\t\t</system-out>\n'
    printf '\t</testcase>\n'
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
    out=$("$source/tests/summary.sh" -m "$work/must_run.txt" "$work/tests.xml") || code=$?
  else
    out=$("$source/tests/summary.sh" "$work/tests.xml") || code=$?
  fi
}

# ci_here <arguments of .ci/run>: runs it in a tree whose tests are three, one of which has the status $third. Its output
# and exit code. The shell variables least and minutes are what the tree and the caller say.
ci_here() {
  mkdir -p "$work/tree/.ci" "$work/tree/cmake" "$work/tree/tests"
  cp "$source/.ci/run" "$work/tree/.ci"
  cp "$source/cmake/need.sh" "$work/tree/cmake"
  cp "$source/tests/summary.sh" "$work/tree/tests"
  echo g++ >"$work/tree/.ci/packages"
  printf '%s\n' '# a comment' "release ${least:-3}" "asan 3" >"$work/tree/.ci/least_tests"
  echo 'a: *' >"$work/tree/tests/must_run.txt"
  report "${third:-run}" >"$work/report.xml"
  cat >"$work/tree/tests/run.sh" <<'END'
#!/bin/sh
mkdir -p "build/$1"
cp ../report.xml "build/$1/tests.xml"
echo "seconds: 12 building, 34 testing"
tests/summary.sh "build/$1/tests.xml"
END
  chmod +x "$work/tree/tests/run.sh"
  code=0
  out=$(PATH="$work/bin:$PATH" SCRATCH_CI_MINUTES="${minutes:-75}" "$work/tree/.ci/run" "$@" 2>&1) || code=$?
}

# says <words>: the output has them.
says() {
  printf '%s\n' "$out" | grep -qF -- "$1" || fail "words like \"$1\"" "$out"
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
    says "skipped: c: needs root: a <disk> needs root"
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
  summary_misses_tests_by_their_number)
    report run >"$work/tests.xml"
    code=0
    out=$("$source/tests/summary.sh" -n 3 "$work/tests.xml") || code=$?
    expect 0 "3 passed, 0 failed, 0 skipped"
    out=$("$source/tests/summary.sh" -n 4 "$work/tests.xml") || code=$?
    expect 1 "3 passed, 1 failed, 0 skipped"
    says "3 tests, and there are to be 4 at least"
    ;;
  ci_adds_the_lanes_up)
    ci_here release asan
    expect 0 "6 passed, 0 failed"
    says ": 12 building, 34 testing"
    says "    0.1 s  asan b: says <this> & \"that\""
    ;;
  ci_fails_with_a_lane)
    third=fail
    ci_here asan
    expect 1 "2 passed, 1 failed"
    ;;
  ci_misses_tests_by_their_number)
    least=4
    ci_here release
    expect 1 "3 passed, 1 failed"
    says "3 tests, and there are to be 4 at least"
    ci_here asan
    expect 0 "3 passed, 0 failed"
    ;;
  ci_wants_to_know_how_many_tests_a_lane_has)
    ci_here clang
    expect 1 "3 passed, 1 failed"
    says ".ci/least_tests does not know the lane clang"
    ;;
  ci_has_no_more_than_its_time)
    minutes=-1
    ci_here release
    expect 1 "3 passed, 1 failed"
    says "more than -1 minutes"
    ;;
  ci_fails_where_there_is_nothing_to_look_at)
    ci_here format tidy
    expect 1 "0 passed, 2 failed"
    ;;
  ci_knows_its_lanes)
    ci_here realease
    expect 2 "no lane is called realease"
    ;;
  every_lane_has_a_least_number)
    for lane in release asan tsan clang no-uring; do
      grep -qE "^$lane [1-9][0-9]+$" "$source/.ci/least_tests" || fail "a least number of tests for $lane" "none"
    done
    ;;
  a_selection_of_no_tests_is_an_error)
    out=$(grep -nE '(^|[^-_])ctest .*(-R|-L|--preset)' "$source/.ci/run" "$source/tests/run.sh" | grep -v -- --no-tests=error) &&
      fail "--no-tests=error" "$out"
    [ "$(grep -c -- --no-tests=error "$source/.ci/run")" != 0 ] || fail "--no-tests=error in .ci/run" "none"
    ;;
  what_cannot_share_a_program_is_refused)
    # marked <line of the source ...>: reads the marks of a source with these lines.
    marked() {
      printf '%s\n' "$@" >"$work/marked_test.cpp"
      printf '%s\n' 'cmake_minimum_required(VERSION 3.24)' 'project(marks NONE)' \
        "include($source/cmake/scratchTest.cmake)" "scratch_read_marks($work/marked_test.cpp)" >"$work/CMakeLists.txt"
      code=0
      out=$(cmake -S "$work" -B "$work/build" 2>&1) || code=$?
    }
    marked '// ctest: alone timeout=5' 'void* operator new(std::size_t size) {'
    [ "$code" = 0 ] || fail "no complaint" "$out"
    marked '[[gnu::noinline]] void* operator new(std::size_t size) {'
    [ "$code" != 0 ] || fail "a complaint" "$out"
    says "replaces operator new"
    marked '#define SCRATCH_SYSCALLS_HEADER "support/planned_syscalls.hpp"'
    [ "$code" != 0 ] || fail "a complaint" "$out"
    says "syscalls=HEADER"
    marked '// ctest: alnoe'
    [ "$code" != 0 ] || fail "a complaint" "$out"
    says 'what is "alnoe"?'
    ;;
  *)
    echo "no fact is called $fact"
    exit 1
    ;;
esac
