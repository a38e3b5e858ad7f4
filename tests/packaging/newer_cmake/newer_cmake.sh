#!/bin/sh
# SPDX-License-Identifier: MIT
#
# newer_cmake.sh <source tree> <directory>: the presets, the ways in and the recipes with SCRATCH_CMAKE4, or the cmake in
# PATH, if that is CMake 4 or newer. Whatever it warns of fails, since the next one may refuse it.
set -eu
source=$1 there=$2
cmake=${SCRATCH_CMAKE4:-cmake}
version=$("$cmake" --version 2>/dev/null | sed -n 's/^cmake version //p')
case $version in
  '' | [0-3].*) echo "skipped: no CMake 4 (SCRATCH_CMAKE4=/path/to/cmake; this is \"$version\")"; exit 77 ;;
esac
PATH=$(dirname "$(command -v "$cmake")"):$PATH
export PATH
cd "$source"
echo "CMake $version"

# configured <preset> [options]
configured() {
  build=$there/$1 log=$there/$1.log
  rm -rf "${build:?}"
  cmake -Wdeprecated --no-warn-unused-cli -B "$build" --preset "$@" >"$log" 2>&1 && ! grep 'Warning' "$log" || {
    cat "$log"
    exit 1
  }
  grep -qx "CMAKE_CACHE_MAJOR_VERSION:INTERNAL=${version%%.*}" "$build/CMakeCache.txt" || {
    echo "another cmake configured $build"
    exit 1
  }
}
for preset in $(cmake --list-presets=configure | sed -n 's/^  "\([^"]*\)".*/\1/p'); do
  configured "$preset"
  echo "$preset: configured"
done

# With some cases too, which CMake finds by running their program.
configured release -D SCRATCH_TESTS='text/.*|packaging/(consumers|recipes)' \
  -D SCRATCH_BUILD_EXAMPLES=OFF -D SCRATCH_INSTALL_TOOLS=OFF
cmake --build "$build" >"$log" || { cat "$log"; exit 1; }
ctest --preset release --test-dir "$build" -N | grep ' text/' >"$log" || { echo "no case was found"; exit 1; }
ctest --test-dir "$build" -j 2 --no-tests=error --output-on-failure
