#!/bin/sh
# SPDX-License-Identifier: MIT
#
# precompile.sh <header to make> <include directory>: one that includes what the cases include, and beside it what the
# compiler takes for it.
set -eu
header=$1 include=$2
sed -n '/^#include </p' "$(dirname "$0")"/*.cpp | sort -u >"$header"
[ "$(wc -l <"$header")" -gt 4 ] || { echo "the cases include hardly anything"; exit 1; }
case $(${CXX:-c++} --version) in
  *clang*) made=$header.pch ;;
  *) made=$header.gch ;;
esac
${CXX:-c++} -std=c++20 -I "$include" -x c++-header "$header" -o "$made"
