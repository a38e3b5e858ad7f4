#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cases.sh <back_pressure> <back_pressure_reader> <reader.py> <case>: one case; what it asserts is its name.
set -eu
writer=$1 reader=$2 python_reader=$3 case=$4
here=$(mktemp -d "${TMPDIR:-/tmp}/back-pressure-test-XXXXXX")
trap 'rm -rf "$here"' EXIT
cd "$here"
export SCRATCH_DIR=$here/place
unset SCRATCH_KEEP TMPDIR
mkdir place

fail() {
  echo "failed: $*" >&2
  for file in out err; do [ ! -f $file ] || sed "s/^/  $file: /" $file >&2; done
  exit 1
}

nothing_left() {
  local left
  left=$(find place -mindepth 2 | head -n 5)
  [ -z "$left" ] || fail "left behind: $left"
}

passes_through() {
  "$writer" "$1" --writers 2 >out 2>err || fail "exit code $?"
  grep -qx 'read 300 chunks, 314572800 bytes' out || fail "not all was read"
  grep -qx '300 chunks, 300.0 MiB through 6.0 MiB' out || fail "not all was written"
  nothing_left
}

case_300_chunks_go_through_a_quota_of_6_to_a_reader_that_joined() { passes_through "$reader \"\$SESSION_DIR\""; }

case_300_chunks_go_through_a_quota_of_6_to_a_reader_in_python() {
  command -v python3 >/dev/null || { echo "skipped: there is no python3"; exit 77; }
  passes_through "python3 $python_reader \"\$SESSION_DIR\""
}

dies() { # [command before it]
  local code=0
  "$@" "$writer" 'exit 3' >out 2>err || code=$?
  [ "$code" = 1 ] || fail "exit code $code"
  [ "$(wc -l <err)" = 1 ] || fail "not one line on stderr"
  nothing_left
}
case_a_reader_that_dies_ends_the_job_and_nothing_is_left() { dies; }
# As daemons have it, and whom they start inherits it: the kernel then tells nobody how a child ended.
case_and_so_it_does_where_who_started_it_ignores_its_children() { dies env --ignore-signal=CHLD; }

"case_${case// /_}"
