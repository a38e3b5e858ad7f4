#!/bin/sh
# SPDX-License-Identifier: MIT
#
# named_tests.sh <source tree> [README]: each test that the README names, `<folder>/<name>: <case>`, is one.
set -eu
source=$1
readme=${2:-$source/README.md}
names=$(mktemp)
trap 'rm -f "$names"' EXIT

# is_test <folder> <name> <case>
is_test() {
  cases=$source/tests/$1/$2_test.cpp
  if [ -f "$cases" ]; then
    awk -v wanted="TEST_CASE(\"$3\")" 'index($0, wanted) { found = 1 } END { exit !found }' "$cases"
    return
  fi
  for list in "$source/tests/$1/$2/CMakeLists.txt" "$source/tests/$1/CMakeLists.txt"; do
    [ -f "$list" ] || continue
    grep -qF "scratch_add_test(\"$1/$2: $3\"" "$list" && return
    grep -qF "scratch_add_script_cases($1/$2 " "$list" || continue
    function=case_$(echo "$3" | tr ' ' _)
    for script in "$(dirname "$list")"/*.sh; do grep -qF "$function()" "$script" && return; done
  done
  return 1
}

grep -o '`[a-z_]*/[a-z_]*: [^`]*`' "$readme" | tr -d '`' | sort -u >"$names"
[ -s "$names" ] || { echo "no test is named in $readme"; exit 1; }
failed=0
while read -r name; do
  where=${name%%: *}
  if is_test "${where%/*}" "${where#*/}" "${name#*: }"; then
    echo "ok: $name"
  else
    echo "FAILED: there is no test $name"
    failed=1
  fi
done <"$names"
exit "$failed"
