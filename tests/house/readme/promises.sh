#!/bin/sh
# SPDX-License-Identifier: MIT
#
# promises.sh <source tree> [page]: the table of promises has a row for each of P1 to P26, and for each word below; each row
# names tests that are there, and each part of its long form is one of .ci/run long, and runs one of the row's tests.
set -eu
source=$1
page=${2:-$source/tests/README.md}
failed=0
fail() {
  echo "FAILED: $*"
  failed=1
}

row() { grep -F "| $1 | " "$page" || :; }
number=1 words='adopt;results;adders;k-way merge;sets;drain;Key128'
while [ "$number" -le 26 ]; do words="$words;P$number" number=$((number + 1)); done
while IFS= read -r word; do
  row=$(row "$word")
  [ "$(echo "$row" | grep -c .)" = 1 ] || { fail "$word has not one row"; continue; }
  tests=$(echo "$row" | cut -d'|' -f4 | grep -oE '`[^`]*`' | tr -d '`' || :)
  [ -n "$tests" ] || fail "$word has no test"
  for part in $(echo "$row" | cut -d'|' -f6 | tr -d ','); do
    what=$(sed -n "s/^ *$part) lane $part long $part .*-R '\(.*\)' ;;\$/\1/p" "$source/.ci/run")
    if [ -z "$what" ]; then
      fail "$word: .ci/run has no long part $part"
    elif ! echo "$tests" | grep -qE "$what"; then
      fail "$word: .ci/run long $part runs none of its tests"
    fi
  done
done <<END_OF_WORDS
$(echo "$words" | tr ';' '\n')
END_OF_WORDS

"$source/tests/house/readme/named_tests.sh" "$source" "$page" | grep -v '^ok' && failed=1
exit "$failed"
