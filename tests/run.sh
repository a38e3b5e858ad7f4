#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Builds the library and passes its tests: installs what is missing, then runs a workflow of CMakePresets.json.
#
#   tests/run.sh [workflow]     release (default), asan, tsan, clang, no-uring or soak
#
# Leaves build/<preset>/tests.xml (JUnit). Ends with a line `N passed, M failed, K skipped`.
set -eu
cd "$(dirname "$0")/.."
. cmake/need.sh
workflow=${1:-release}
need_build catch2 git libcli11-dev zlib1g-dev libhts-dev
case $workflow in
  asan) need clang libclang-rt-dev ;;
  clang) need clang ;;
esac
if command -v ccache >/dev/null; then
  # What was compiled in one checkout serves another.
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1
fi

build=build/$workflow
if [ "$workflow" = soak ]; then build=build/release; fi
rm -f "$build/tests.xml"
result=0
cmake --workflow --preset "$workflow" || result=$?
tests/summary.sh "$build/tests.xml" || result=1
exit "$result"
