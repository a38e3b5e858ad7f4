#!/bin/sh
# SPDX-License-Identifier: MIT
#
# dying_ring.sh WORKER: lets io_uring_enter fail from its k-th call on, for every k, and once at every k. The worker
# itself finds lost and other bytes, and transfers that were completed twice. Controls: workers whose engine loses one
# write, drops at its death what was in flight, or does that again and goes on.
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

run() { # run WHEN ERROR [CONTROL]
  rm -rf "$dir/session"
  mkdir "$dir/session"
  when=$1 error=$2
  shift 2
  strace -f -qq -o "$dir/trace" -e trace=io_uring_enter -e inject=io_uring_enter:error="$error":when="$when" \
    "$worker" "$dir/session" "$@" >"$dir/out" 2>"$dir/error"
}

must_work() { # must_work WHEN ERROR
  run "$@" || { echo "when=$1 error=$2: $(cat "$dir/error")"; exit 1; }
}

# found_out CONTROL WHEN-SUFFIX WORDS: at how many calls the control is found out; WORDS are the reason at one at least
found_out() {
  found=0 said=0
  for k in 1 2 3 4 5 6 7 8; do
    if ! run "$k$2" EPERM "$1"; then found=$((found + 1)); fi
    if grep -q "$3" "$dir/error"; then said=$((said + 1)); fi
  done
  [ "$said" -gt 0 ] || { echo "an engine that should $1 what was in flight was not found out"; exit 1; }
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
found_out drop + "checksum mismatch\|is damaged\|ends at"
dropping=$found
found_out double "" "completed twice"
doubling=$found
died=0
k=1
while [ "$k" -le "$((calls + 1))" ]; do
  must_work "$k+" EPERM
  if grep -q '^posix: io_uring_enter: EPERM' "$dir/out"; then died=$((died + 1)); fi
  must_work "$k" EPERM
  must_work "$k" EINTR
  if ! grep -q '^io_uring' "$dir/out"; then echo "when=$k: an interrupted call ended the ring"; exit 1; fi
  k=$((k + 1))
done
echo "$calls calls, the ring died in $died runs and nothing was lost or doubled"
echo "of 8 deaths each, $dropping were seen to drop and $doubling to double"
[ "$died" -ge 5 ] || { echo "the fault did not fire"; exit 1; }
