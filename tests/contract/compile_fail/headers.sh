#!/bin/sh
# SPDX-License-Identifier: MIT
#
# headers.sh <header to make> <include directory>: one that includes what the cases include, and beside it what the
# compiler takes for it. With that the right forms of all cases compile, as one unit.
set -eu
header=$1 include=$2 here=$(cd "$(dirname "$0")" && pwd)
sed -n '/^#include </p' "$here"/*.cpp | sort -u >"$header"
[ "$(wc -l <"$header")" -gt 4 ] || { echo "the cases include hardly anything"; exit 1; }
case $(${CXX:-c++} --version) in
  *clang*) made=$header.pch ;;
  *) made=$header.gch ;;
esac
${CXX:-c++} -std=c++20 -I "$include" -x c++-header "$header" -o "$made"

for case in "$here"/*.cpp; do
  grep -q '^// flags: ' "$case" || printf 'namespace %s {\n#include "%s"\n}\n' "$(basename "$case" .cpp)" "$case"
done >"$header.right.cpp"
grep -q '^namespace' "$header.right.cpp"
${CXX:-c++} -std=c++20 -I "$include" -include "$header" -fsyntax-only -DRIGHT "$header.right.cpp"
