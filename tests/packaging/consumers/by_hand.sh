#!/bin/sh
# SPDX-License-Identifier: MIT
#
# by_hand.sh <way> <source tree> <installed copy> <directory to build in>: without CMake.
set -eu
way=$1 source=$2 stage=$3 build=$4
here=$source/tests/packaging/consumers
export PKG_CONFIG_PATH="$stage/share/pkgconfig"
cxx="${CXX:-c++} -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"

need() {
  command -v pkg-config >/dev/null || { echo "skipped: no pkg-config"; exit 77; }
  pkg-config --exists --print-errors "$1" || { echo "skipped: no $1"; exit 77; }
}

mkdir -p "$build"
cd "$build"
case $way in
  plain-include)
    $cxx -I "$source/include" "$here/consumer.cpp" -o consumer
    ./consumer posix
    ;;
  pkg-config)
    need scratch
    $cxx "$here/consumer.cpp" $(pkg-config --cflags --libs scratch) -o consumer
    ./consumer posix
    test "$(pkg-config --modversion scratch)" = "$(./consumer | sed -n 's/^scratch \(.*\),.*/\1/p')"
    ;;
  pkg-config-with-uring)
    need scratch-uring
    $cxx "$here/consumer.cpp" $(pkg-config --cflags --libs scratch-uring) -o consumer
    ./consumer uring
    ;;
  two-units)
    need scratch-uring
    $cxx -DTHROWS -c "$here/two_units.cpp" $(pkg-config --cflags scratch-uring) -o there.o
    $cxx -c "$here/two_units.cpp" $(pkg-config --cflags scratch) -o here.o
    $cxx here.o there.o $(pkg-config --libs scratch-uring) -o two_units
    ./two_units
    ;;
esac
