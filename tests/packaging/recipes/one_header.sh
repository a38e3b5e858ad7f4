#!/bin/sh
# SPDX-License-Identifier: MIT
#
# one_header.sh <cmake> <compiler> <source tree> <directory>: makes the one header there, compiles the programs that README
# shows with it and nothing else of the library, and runs the first of them.
set -eu
cmake=$1 cxx=$2 source=$3 there=$4
rm -rf "$there"
mkdir -p "$there/scratch"
"$cmake" -D TO="$there/scratch/scratch.hpp" -P "$source/cmake/amalgamate.cmake"
if grep -n '#include <scratch/' "$there/scratch/scratch.hpp"; then
  echo "it includes a header of ours"
  exit 1
fi
cp "$source/examples/first.cpp" "$source/examples/tour.cpp" "$there"
cd "$there"
for program in first tour; do
  "$cxx" -std=c++20 -O0 -Wall -Wextra -Werror -I . "$program.cpp" -o "$program" -pthread
done
./first >/dev/null
