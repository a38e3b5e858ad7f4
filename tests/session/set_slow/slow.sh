#!/bin/bash
# SPDX-License-Identifier: MIT
#
# slow.sh <set_slow> <case>: on mounts that write as slowly as they are told to, seen by nobody else.
set -eu
skip() {
  echo "skipped: $*"
  exit 77
}
if [ "${3:-}" != inside ]; then
  unshare -m --propagation private true 2>/dev/null || skip "mounting needs root"
  exec unshare -m --propagation private bash "$0" "$1" "$2" inside
fi
program=$1 case=$2
here=$(mktemp -d "${TMPDIR:-/tmp}/slow-test-XXXXXX")
cleanup() {
  umount "$here"/one "$here"/two "$here"/three 2>/dev/null || umount -l "$here"/one "$here"/two "$here"/three || :
  umount "$here/behind" || :
  rm -rf "$here"
}
trap 'cleanup 2>/dev/null' EXIT

# The ratio is printed, and nobody is asked for it: the machine may be busy.
case_two_slow_places_against_one() {
  command -v bindfs >/dev/null || skip "there is no bindfs"
  [ -c /dev/fuse ] || skip "there is no /dev/fuse"
  mkdir "$here"/{behind,one,two,three}
  mount -t tmpfs -o size=200m behind "$here/behind"
  for place in one two three; do
    mkdir -m 700 "$here/behind/$place"
    bindfs --no-allow-other --write-rate=4M "$here/behind/$place" "$here/$place" || skip "bindfs cannot mount"
  done
  alone=$("$program" "$here/one/root")
  both=$("$program" "$here/two/root" "$here/three/root")
  echo "one slow place: $alone ms, two: $both ms, $(awk "BEGIN { printf \"%.2f\", $alone / $both }") x as fast"
  left=$(find "$here/behind" -mindepth 3 | head -n 5)
  [ -z "$left" ] || { echo "left over: $left"; exit 1; }
}

"case_$case"
