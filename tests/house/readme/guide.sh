#!/bin/sh
# SPDX-License-Identifier: MIT
#
# guide.sh <source tree> [guide]: each page of the guide is at most 120 lines, says what is there after a crash, has its
# figures and where to read on, is named in the README, and has code, figures and tests as the README's are.
set -eu
source=$1
guide=${2:-$source/examples/guide}
here=$source/tests/house/readme
failed=0
fail() {
  echo "FAILED: $*"
  failed=1
}

pages=0
for page in "$guide"/*.md; do
  name=$(basename "$page")
  [ -f "$page" ] || continue
  pages=$((pages + 1))
  lines=$(wc -l <"$page")
  [ "$lines" -le 120 ] || fail "$name has $lines lines"
  for title in 'After a crash' Figures 'Read on'; do
    grep -qx "## $title" "$page" || fail "$name has nothing called $title"
  done
  grep -qF "](examples/guide/$name)" "$source/README.md" || fail "the README does not name $name"
  for check in readme figures named_tests; do
    said=$("$here/$check.sh" "$source" "$page") || fail "$name: $said"
  done
done
[ "$pages" -ge 5 ] || fail "the guide has $pages pages"
exit "$failed"
