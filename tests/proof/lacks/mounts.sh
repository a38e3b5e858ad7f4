#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The scenarios on file systems as they are, mounted for this process alone: mounts.sh <lacks> <case>
set -eu
LC_ALL=C
export LC_ALL
lacks=$1
name=$2

skip() {
  echo "skipped: $*"
  exit 77
}

# Everything that follows is seen by nobody else, and gone in the end.
if [ "${3:-}" != inside ]; then
  apart=-m
  [ "$(id -u)" = 0 ] || apart=-mr
  unshare $apart --propagation private true 2>/dev/null || skip "mounting needs root or user namespaces"
  exec unshare $apart --propagation private bash "$0" "$lacks" "$name" inside
fi

here=$(mktemp -d "${TMPDIR:-/tmp}/lacks-test-XXXXXX")
cleanup() {
  umount "$here/mnt" 2>/dev/null || umount -l "$here/mnt" 2>/dev/null || :
  umount "$here/tmpfs" 2>/dev/null || :
  rm -rf "$here"
}
trap cleanup EXIT
mkdir "$here/mnt" "$here/source" "$here/tmpfs"

need_program() {
  command -v "$1" >/dev/null || skip "there is no $1"
}

bind() {
  need_program bindfs
  [ -c /dev/fuse ] || skip "there is no /dev/fuse"
  bindfs "$@" "$here/source" "$here/mnt" || skip "bindfs cannot mount"
}

# An image of a size, with a file system on it.
on_loop() {
  need_program "mkfs.$1"
  truncate -s "$2" "$here/image"
  "mkfs.$1" -q "$here/image" >/dev/null
  mount -o loop "$here/image" "$here/mnt" 2>/dev/null || skip "no loop device, or no $1 in this kernel"
}

try() {
  chmod 700 "$here/mnt" 2>/dev/null || :
  "$lacks" on "$here/mnt"
  left=$(find "$here/mnt" -mindepth 1 ! -name lost+found | head -n 5)
  [ -z "$left" ] || { echo "left over: $left"; exit 1; }
}

case_all_goes_on_on_bindfs() {
  bind
  try
}

case_all_goes_on_on_bindfs_that_refuses_chmod() {
  bind --chmod-deny
  try
}

case_all_goes_on_on_an_overlay() {
  mount -t tmpfs tmpfs "$here/tmpfs" || skip "cannot mount a tmpfs"
  mkdir "$here/tmpfs/upper" "$here/tmpfs/work"
  mount -t overlay overlay -o "lowerdir=$here/source,upperdir=$here/tmpfs/upper,workdir=$here/tmpfs/work" "$here/mnt" ||
    skip "there is no overlay in this kernel"
  try
}

case_all_goes_on_on_xfs() {
  on_loop xfs 320M
  try
}

case_all_goes_on_on_btrfs() {
  on_loop btrfs 256M
  try
}

case_all_goes_on_on_ext4() {
  on_loop ext4 64M
  try
}

case_all_goes_on_on_a_tmpfs() {
  mount -t tmpfs tmpfs "$here/mnt" || skip "cannot mount a tmpfs"
  try
}

"case_$name"
