#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Builds the library and passes its tests: installs what is missing, then does what a workflow of CMakePresets.json does.
#
#   tests/run.sh [workflow]     release (default), asan, tsan, clang, clang-all, no-uring or soak
#
# With SCRATCH_WARNINGS=error a warning is an error, as in .ci/run: another compiler than ours may know others.
# Leaves build/<preset>/tests.xml (JUnit). Ends with the seconds that it took, and a line `N passed, M failed, K skipped`.
set -eu
cd "$(dirname "$0")/.."
. cmake/need.sh
workflow=${1:-release}
need_build catch2 git libcli11-dev zlib1g-dev
case $workflow in
  asan) need clang libclang-rt-dev ;;
  clang*) need clang ;;
esac
if command -v ccache >/dev/null; then
  # What was compiled in one checkout serves another.
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1
fi

# Each compiler has a processor: more of them take longer, and more memory.
export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"

preset=$workflow
if [ "$workflow" = soak ]; then preset=release; fi
rm -f "build/$preset/tests.xml"
result=0
begun=$(date +%s)
warnings=OFF
if [ "${SCRATCH_WARNINGS:-}" = error ]; then warnings=ON; fi
{ cmake --preset "$preset" -D CMAKE_COMPILE_WARNING_AS_ERROR=$warnings && cmake --build --preset "$preset"; } || result=$?
built=$(date +%s)
[ "$result" != 0 ] || ctest --preset "$workflow" --no-tests=error || result=$?
echo "seconds: $((built - begun)) building, $(($(date +%s) - built)) testing"
tests/summary.sh "build/$preset/tests.xml" || result=1
exit "$result"
