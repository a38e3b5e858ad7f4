#!/bin/sh
# SPDX-License-Identifier: MIT
#
# dying_ring.sh WORKER: lets io_uring_enter fail from its k-th call on, for every k, and once at every k. The worker
# itself finds lost, doubled and other bytes; the control is a worker whose engine loses one write.
set -eu
worker=$1
skip() {
  echo "skipped: $1"
  exit 77
}
command -v strace >/dev/null || skip "no strace"
[ "${SCRATCH_IO:-}" != posix ] || skip "SCRATCH_IO=posix"
dir=$(mktemp -d "${TMPDIR:-/tmp}/scratch-test-XXXXXX")
trap 'rm -rf "$dir"' EXIT

run() { # run WHEN ERROR
  rm -rf "$dir/session"
  mkdir "$dir/session"
  strace -f -qq -o "$dir/trace" -e trace=io_uring_enter -e inject=io_uring_enter:error="$2":when="$1" \
    "$worker" "$dir/session" >"$dir/out" 2>"$dir/error" || {
    echo "when=$1 error=$2: $(cat "$dir/error")"
    exit 1
  }
}

mkdir "$dir/session"
strace -f -qq -o "$dir/trace" -e trace=io_uring_enter "$worker" "$dir/session" >"$dir/out" 2>&1 ||
  skip "strace cannot trace here"
grep -q '^io_uring' "$dir/out" || skip "no io_uring here: $(cat "$dir/out")"
calls=$(grep -c io_uring_enter "$dir/trace")
mkdir "$dir/lost"
if "$worker" "$dir/lost" lose >/dev/null 2>&1; then
  echo "a lost write was not found out"
  exit 1
fi
died=0
k=1
while [ "$k" -le "$((calls + 1))" ]; do
  run "$k+" EPERM
  if grep -q '^posix: io_uring_enter: EPERM' "$dir/out"; then died=$((died + 1)); fi
  run "$k" EAGAIN
  run "$k" EINTR
  if ! grep -q '^io_uring' "$dir/out"; then echo "when=$k: an interrupted call ended the ring"; exit 1; fi
  k=$((k + 1))
done
echo "$calls calls, the ring died in $died runs and nothing was lost"
[ "$died" -ge 5 ] || { echo "the fault did not fire"; exit 1; }
