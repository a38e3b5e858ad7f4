#!/bin/sh
# SPDX-License-Identifier: MIT
#
# named_tests.sh <source tree> [page]: each test that the README or another page names, `<folder>/<name>: <case>`, is one;
# a case that ends with * stands for those that begin so.
set -eu
source=$1
readme=${2:-$source/README.md}
names=$(mktemp)
trap 'rm -f "$names" "$names.list"' EXIT

# has <file> <text> <more>: the file has the text, and behind it, with nothing in between, either more or, where the case
# is a beginning, anything.
has() {
  awk -v wanted="$2" -v rest="$3" -v open="$open" '
    { text = text $0 "\n" }
    END { exit !(index(text, wanted (open ? "" : rest)) > 0) }' "$1"
}

# is_test <folder> <name> <case>
is_test() {
  case=$3 open=0
  case $3 in *'*') case=${3%\*} open=1 ;; esac
  cases=$source/tests/$1/$2_test.cpp
  if [ -f "$cases" ]; then
    tr -s '\n ' '  ' <"$cases" | sed 's/TEST_CASE( */TEST_CASE(/g' >"$names.list"
    if has "$names.list" "TEST_CASE(\"$case" '")'; then return; fi
  fi
  for list in "$source/tests/$1/$2/CMakeLists.txt" "$source/tests/$1/CMakeLists.txt"; do
    [ -f "$list" ] || continue
    has "$list" "\"$1/$2: $case" '"' && return
    # A function of this list makes them: of its argument, or of its first word and what follows that; or of names in the
    # list, or of files, that have _ for each blank.
    if grep -qF "\"$1/$2: \${" "$list"; then
      fact=$(echo "$case" | tr ' ' _)
      grep -qF 'REPLACE "_" " "' "$list" && [ $open = 0 ] &&
        { [ -f "${list%/*}/$fact.cpp" ] || grep -qwF -e "$fact" "$list"; } && return
      tr -d '\n' <"$list" | sed 's/( */(/g' >"$names.list"
      has "$names.list" "(\"$case" '"' && return
      for function in $(sed -n 's/^ *function(\([a-z]*\) name.*/\1/p' "$list"); do
        has "$names.list" "$function($case" ' ' && return
      done
      [ -n "$case" ] && grep -qE "add_[a-z]+\\(${case%% *} " "$names.list" &&
        grep -qE "\"$1/$2: \\$\{[a-z]+\} ($(echo "${case#* }" | sed 's/[^a-z ].*//')|\\$)" "$list" && return
    fi
    grep -qF "scratch_add_script_cases($1/$2 " "$list" || continue
    function=case_$(echo "$case" | tr ' ' _)
    for script in "$(dirname "$list")"/*.sh; do has "$script" "$function" '()' && return; done
  done
  return 1
}

grep -oE '`[a-z0-9_]+(/[a-z0-9_]+)+: [^`]*`' "$readme" | tr -d '`' | sort -u >"$names"
[ -s "$names" ] || { echo "no test is named in $readme"; exit 1; }
failed=0
while read -r name; do
  where=${name%%: *}
  if is_test "${where%/*}" "${where##*/}" "${name#*: }"; then
    echo "ok: $name"
  else
    echo "FAILED: there is no test $name"
    failed=1
  fi
done <"$names"
exit "$failed"
