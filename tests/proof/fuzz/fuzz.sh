#!/bin/sh
# SPDX-License-Identifier: MIT
#
# fuzz.sh PROGRAM KIND CORPUS RUNS: fuzzes from a copy of the corpus, with a seed that is printed: so many runs, fewer
# on a slow machine, or ten minutes when SCRATCH_SOAK=1. An input that is found is printed in base64. KIND planted is the control: it must be found.
set -eu
program=$1 kind=$2 corpus=$3 runs=$4
if [ ! -x "$program" ]; then
  echo "skipped: it was not built: clang++ with libFuzzer (libclang-rt-dev) is missing, or this is no Release build"
  exit 77
fi
dir=$(mktemp -d /dev/shm/scratch-test-XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/corpus" "$dir/tmp"
cp "$corpus"/* "$dir/corpus"

case ${SCRATCH_SOAK:-0} in
  0 | '') limit="-runs=$runs -max_total_time=15" ;;
  *) limit=-max_total_time=600 ;;
esac
if [ "$kind" = planted ]; then limit="-runs=$runs"; fi
status=0
# shellcheck disable=SC2086
TMPDIR="$dir/tmp" SCRATCH_FUZZ="$kind" ASAN_OPTIONS=abort_on_error=0 "$program" $limit -timeout=30 -rss_limit_mb=2048 \
  -max_len=8192 -artifact_prefix="$dir/" "$dir/corpus" >"$dir/out" 2>&1 || status=$?
grep -E '^INFO: Seed|^Done|^stat::' "$dir/out" || true

if [ "$kind" = planted ]; then
  grep 'does not hold' "$dir/out" && exit 0
  echo "the planted bug was not found"
  exit 1
fi
[ "$status" = 0 ] && grep -q '^Done' "$dir/out" && exit 0
tail -n 60 "$dir/out"
for found in "$dir"/crash-* "$dir"/timeout-* "$dir"/oom-* "$dir"/leak-*; do
  if [ -f "$found" ]; then
    echo "$kind, input in base64:"
    base64 "$found"
  fi
done
exit 1
