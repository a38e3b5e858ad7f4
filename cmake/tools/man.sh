#!/bin/sh
# SPDX-License-Identifier: MIT
#
# man.sh <help2man> <version> <program> <page to make>
set -eu
help2man=$1 version=$2 program=$3 page=$4
here=$(dirname "$0")
. "$here/helps.sh"
name=$(basename "$program")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What help2man runs is a stand-in that says the same in another order.
helps "$program" >"$work/helps"
awk -f "$here/page.awk" "$work/helps" >"$work/help"
printf '#!/bin/sh\ncat "%s"\n' "$work/help" >"$work/$name"
chmod +x "$work/$name"
what=$(awk 'NR == 1 { sub(/\.$/, ""); print tolower(substr($0, 1, 1)) substr($0, 2) }' "$work/helps")
"$help2man" --no-info --section=1 --manual="scratch" --source="scratch $version" --version-string="$version" \
  --name="$what" --output="$work/page" "$work/$name"
# A day, where help2man has a month, for all who read pages.
day=$(date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%Y-%m-%d)
sed "/^\.TH /s/ \"[A-Z][a-z]* [0-9]*\" / \"$day\" /" "$work/page" >"$page.new"
mv "$page.new" "$page"
