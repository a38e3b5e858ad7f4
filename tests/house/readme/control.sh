#!/bin/sh
# SPDX-License-Identifier: MIT
#
# control.sh <source tree>: readme.sh finds a README that says something else than the program, figures.sh one that says
# something else than the benchmarks, named_tests.sh one that names a test which is none, and guide.sh all of these in a
# page of the guide, promises.sh a promise of tests/README.md without a test that is one, defects.sh such a defect.
set -eu
source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
check=readme.sh
# changed <file> <copy> <sed command> <what>
changed() {
  sed "$3" "$1" >"$2"
  ! cmp -s "$1" "$2" || { echo "nothing was changed: $4"; exit 1; }
}
# found_by <script> <what> <copy>: the script finds it
found_by() {
  if "$source/tests/house/readme/$1" "$source" "$3" >"$work/out"; then
    echo "not found: $2"
    exit 1
  fi
}
must_fail() { # <what> <sed command>
  changed "$source/README.md" "$work/README.md" "$2" "$1"
  found_by "$check" "$1" "$work/README.md"
}
must_fail "another line of code" 's/scratch::sweep(place);/scratch::sweep();/'
must_fail "a line too many" 's/^    session.complete();.*/&\n    return 0;/'
must_fail "a block without a file" 's/^<!-- .*first.cpp.* -->$//'
must_fail "a file that is not there" 's/^<!-- .*first.cpp.* -->$/<!-- examples\/none.cpp: first -->/'
must_fail "another command" 's/^external_sort sort --resume/external_sort sort/'
must_fail "a figure of a table that is quoted" 's/151,969,300/151,969,301/'
check=figures.sh
must_fail "another figure" 's/| 89 x as fast |/| 90 x as fast |/'
must_fail "a figure of another row" 's/| 89 x as fast |/| 5.5 x as fast |/'
must_fail "a digit less" 's@| 33\.9 x as fast; @| 3.9 x as fast; @'
must_fail "another size" 's/ long ones, 128 MiB / long ones, 129 MiB /'
must_fail "a row from nowhere" 's/^| external sort of 1 GB /| a sort of 1 GB /'
check=named_tests.sh
must_fail "a case that is none" 's/free is given, and one/free is taken, and one/'
must_fail "a case of another source" 's@`kernel/rename: @`kernel/root: @'
must_fail "a function of a script that is none" 's/twenty restarts as pid 1/thirty restarts as pid 1/'
must_fail "a test of a list that is none" 's/: whoever swaps a root/: whoever steals a root/'

page_must_fail() { # <what> <page> <sed command>
  rm -rf "$work/guide"
  cp -r "$source/examples/guide" "$work/guide"
  changed "$source/examples/guide/$2" "$work/guide/$2" "$3" "$1"
  found_by guide.sh "$1" "$work/guide"
}
cp -r "$source/examples/guide" "$work/guide"
"$source/tests/house/readme/guide.sh" "$source" "$work/guide" || { echo "a copy of the guide is not as the guide"; exit 1; }
page_must_fail "another line of code" export.md 's/session.complete();/session.close();/'
page_must_fail "another line of a part that is indented" export.md 's/^scratch::SessionDir session(place/  &/'
page_must_fail "another figure" count.md 's/| 89 x as fast |/| 90 x as fast |/'
page_must_fail "a case that is none" count.md 's/a merge that is killed counts twice/a merge that is killed counts thrice/'
page_must_fail "no word of crashes" cluster.md '/^## After a crash$/d'
page_must_fail "too many lines" spill.md 's/^## .*/&\n\n\n/'

promise_must_fail() { # <what> <sed command>
  changed "$source/tests/README.md" "$work/tests.md" "$2" "$1"
  found_by promises.sh "$1" "$work/tests.md"
}
promise_must_fail "a promise is missing" '/^| P17 |/d'
promise_must_fail "a promise without a test" 's/^| P6 | \(.*\) | `proof.chaos: \*` | /| P6 | \1 | | /'
promise_must_fail "a test that is none, and one of a model that is none" 's/`proof.models: leave \*`/`proof\/models: live *`/'
promise_must_fail "a beginning of none" 's/: any number of adders \*/: any number of readers */'
promise_must_fail "a race that is none" 's/: an adopter is the only owner,/: an adopter is the first owner,/'
promise_must_fail "a part that runs none of them" 's/ | races |$/ | kills |/'

defect_must_fail() { # <what> <sed command>
  changed "$source/tests/defects.md" "$work/defects.md" "$2" "$1"
  found_by defects.sh "$1" "$work/defects.md"
}
defect_must_fail "a defect without a test" 's/^\(| pages of the page cache .* |\) .*/\1 |/'
defect_must_fail "a defect whose test is called by a sentence" 's/^\(| pages of the page cache .* |\) .*/\1 the tests of space |/'
defect_must_fail "a case that is none" 's/costs no count`/costs one count`/'
defect_must_fail "a case over two lines that is none" 's/while a session is joined or looked at/while a session is left or looked at/'
defect_must_fail "a list's name that is none" 's/: memory is kept`/: memory is lost`/'
defect_must_fail "a file's name that is none" 's/: json as user`/: text as user`/'
defect_must_fail "a function's name that is none" 's/: uring-misspelled`/: uring-spelled`/'
