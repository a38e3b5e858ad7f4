#!/bin/sh
# SPDX-License-Identifier: MIT
#
# compile_fail.sh <case.cpp> <include directory> <header that is precompiled>
set -eu
case=$1 include=$2 headers=$3
flags=$(sed -n 's@^// flags: @@p' "$case")
cxx="${CXX:-c++} -std=c++20 -I $include -include $headers -fsyntax-only $flags"
sentence=$(sed -n 's@^// expect: @@p' "$case")
[ -n "$sentence" ] || { echo "$case expects nothing"; exit 1; }

# Without flags of its own it has been compiled with all others.
if [ -n "$flags" ] && ! $cxx -DRIGHT "$case"; then
  echo "the right form does not compile either"
  exit 1
fi
if out=$($cxx "$case" 2>&1); then
  echo "it compiled"
  exit 1
fi
errors=$(printf '%s\n' "$out" | grep -c 'error: ')
if [ "$errors" != 1 ] || ! printf '%s\n' "$out" | grep 'error: ' | grep -qF -- "$sentence"; then
  printf 'expected one error, "%s", and got %s:\n%s\n' "$sentence" "$errors" "$out"
  exit 1
fi
