#!/bin/sh
# SPDX-License-Identifier: MIT
#
# From a bare Debian to a result: installs what is missing, builds the main job (Release), and runs it: which pieces of
# 31 bases are frequent in reads of the genome of phage lambda?
set -eu
cd "$(dirname "$0")/.."
. cmake/need.sh
need_build libcli11-dev zlib1g-dev
if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache; fi

build=build/quickstart
mkdir -p "$build"
echo "building kmer_frequency (log: $build/build.log)"
{ cmake --preset quickstart && cmake --build --preset quickstart --target kmer_frequency; } >"$build/build.log" 2>&1 ||
  { tail -n 50 "$build/build.log"; exit 1; }
kmer_frequency=$build/examples/kmer_frequency/kmer_frequency

run() {
  echo
  echo "\$ $*"
  "$@"
}
# 48,502 bases become 20,000 overlapping rows of either strand, one base in a hundred wrong.
run "$kmer_frequency" --simulate-reads 20000 --read-length 150 -o "$build/reads.fa" examples/data/lambda_virus.fa.gz
# What two workers count within 40 MiB, merged; every event of the session is told as it happens.
run "$kmer_frequency" -k 31 --canonical --workers 2 --memory 40MiB --events --top 10 "$build/reads.fa"
