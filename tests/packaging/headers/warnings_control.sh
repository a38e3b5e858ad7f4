#!/bin/sh
# SPDX-License-Identifier: MIT
#
# warnings_control.sh <compiler>: a header that warns of nothing passes, and no other: one that leaves a member out, one
# with a cast to the type that is there, and a template of which only a use warns.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/scratch"
warnings() { "$(dirname "$0")/warnings.sh" "$compiler" "$work" "$work/uses.cpp"; }
compiler=$1

printf 'inline Pair<int> pair;\n' >"$work/uses.cpp"
for header in \
  'template <class T> struct Pair { T a{}, b{}; Pair() {} };' \
  'template <class T> struct Pair { T a{}, b; Pair() {} };' \
  'template <class T> struct Pair { T a{}, b{}; Pair() {} }; inline int same(int a) { return static_cast<int>(a); }'; do
  printf '#pragma once\n%s\n' "$header" >"$work/scratch/pair.hpp"
  if out=$(warnings 2>&1); then found=''; else found=$(printf '%s\n' "$out" | sed -n 's/.*\[-Werror=\(.*\)\]$/\1/p' | sort -u); fi
  echo "${found:-nothing}: $header"
done >"$work/found"
cut -d: -f1 "$work/found" >"$work/kinds"
printf 'nothing\neffc++\nuseless-cast\n' | diff - "$work/kinds" || { cat "$work/found"; exit 1; }
