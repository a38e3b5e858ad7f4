#!/bin/sh
# SPDX-License-Identifier: MIT
#
# control.sh <source tree>: readme.sh finds a README that says something else than the program, and named_tests.sh one
# that names a test which is none.
set -eu
source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
must_fail() { # <what> <sed command> [script]
  sed "$2" "$source/README.md" >"$work/README.md"
  ! cmp -s "$work/README.md" "$source/README.md" || { echo "nothing was changed: $1"; exit 1; }
  if "$source/tests/house/readme/${3:-readme.sh}" "$source" "$work/README.md" >"$work/out"; then
    echo "not found: $1"
    exit 1
  fi
}
must_fail "another line of code" 's/scratch::sweep(place);/scratch::sweep();/'
must_fail "a line too many" 's/^    session.complete();.*/&\n    return 0;/'
must_fail "a block without a file" 's/^<!-- .*first.cpp.* -->$//'
must_fail "a file that is not there" 's/^<!-- .*first.cpp.* -->$/<!-- examples\/none.cpp: first -->/'
must_fail "a case that is none" 's/free is given, and one/free is taken, and one/' named_tests.sh
must_fail "a case of another source" 's@`kernel/rename: @`kernel/root: @' named_tests.sh
must_fail "a function of a script that is none" 's/twenty restarts as pid 1/thirty restarts as pid 1/' named_tests.sh
must_fail "a test of a list that is none" 's/: whoever swaps a root/: whoever steals a root/' named_tests.sh
