#!/bin/sh
# SPDX-License-Identifier: MIT
#
# readme.sh <source tree> [page]: every block of C++ and Python in the README or another page, and those of the shell that
# quote something, equal what they quote. A line before the block says what that is, <!-- file --> or
# <!-- file: region -->; a region stands between two lines //! [region], or in several parts, each between two, and is
# quoted without the spaces that are before these. A table behind such a line equals one of another page, which stands
# there between two lines <!-- [region] -->.
set -eu
source=$1
readme=${2:-$source/README.md}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Blocks go to the files 1, 2, ...; what each quotes is a line of the file quotes: "<number> <file> <region>".
awk '
  /^<!-- .* -->$/ { quoted = $0; gsub(/^<!-- | -->$/, "", quoted); sub(/: /, " ", quoted); next }
  /^```(cpp|c\+\+|python)$/ || (/^```sh$/ && quoted != "") { within = 1; ++n; print n, (quoted == "" ? "nothing" : quoted) > "quotes"; quoted = ""; printf "" > n; next }
  /^```/ && within { within = 0; close(n); next }
  within { print > n }
  /^\|/ && quoted ~ /\.md / { table = 1; ++n; print n, quoted > "quotes"; quoted = "" }
  table && !/^\|/ { table = 0; close(n) }
  table { print > n }
  !/^$/ && !within { quoted = "" }
' "$readme"
[ -s quotes ] || { echo "no block of code in $readme"; exit 1; }

failed=0
while read -r number file region; do
  if [ ! -f "$source/$file" ]; then
    echo "FAILED: block $number quotes $file"
    failed=1
    continue
  fi
  if [ -n "$region" ]; then
    case $file in *.md) mark="<!-- [$region] -->" ;; *) mark="//! [$region]" ;; esac
    awk -v mark="$mark" '
      { line = $0; sub(/^ +/, "", line) }
      line == mark { within = !within; ++seen; indent = length($0) - length(mark); next }
      within { spaces = match($0, /[^ ]/) - 1; print substr($0, 1 + (spaces < indent ? 0 : indent)) }
      END { exit seen == 0 || seen % 2 != 0 }' "$source/$file" >wanted || { echo "FAILED: $file has no region $region"; failed=1; continue; }
  else
    grep -v '^# SPDX' "$source/$file" >wanted
  fi
  if diff -u --label "$file" wanted --label "$(basename "$readme")" "$number"; then
    echo "ok: $file $region"
  else
    failed=1
  fi
done <quotes
exit "$failed"
