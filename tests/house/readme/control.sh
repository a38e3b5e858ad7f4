#!/bin/sh
# SPDX-License-Identifier: MIT
#
# control.sh <source tree>: readme.sh finds a README that says something else than the program.
set -eu
source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
must_fail() { # <what> <sed command>
  sed "$2" "$source/README.md" >"$work/README.md"
  ! cmp -s "$work/README.md" "$source/README.md" || { echo "nothing was changed: $1"; exit 1; }
  if "$source/tests/house/readme/readme.sh" "$source" "$work/README.md" >"$work/out"; then
    echo "not found: $1"
    exit 1
  fi
}
must_fail "another line of code" 's/scratch::sweep(place);/scratch::sweep();/'
must_fail "a line too many" 's/^    session.complete();.*/&\n    return 0;/'
must_fail "a block without a file" 's/^<!-- .*first.cpp.* -->$//'
must_fail "a file that is not there" 's/^<!-- .*first.cpp.* -->$/<!-- examples\/none.cpp: first -->/'
