# SPDX-License-Identifier: MIT
#
# Sourced by the scripts that test programs, before anything else: a directory to work in, $here, with a place for
# sessions, and how to fail.
set -eu
LC_ALL=C
export LC_ALL
here=$(mktemp -d "${TMPDIR:-/tmp}/programs-test-XXXXXX")
trap 'rm -rf "$here"' EXIT
cd "$here"
# ext4 passes over each inode that somebody let go of in the last five seconds, one by one: with this, directories made
# here lie apart from each other and from those of other tests.
chattr +T . 2>/dev/null || true
mkdir place
unset SCRATCH_KEEP TMPDIR
SCRATCH_DIR=$here/place
SCRATCH_IO=${SCRATCH_IO:-best} # on a disk past the page cache, however few the bytes
export SCRATCH_DIR SCRATCH_IO

# For unshare: an ordinary user has mounts of his own in a user namespace.
own_mounts=-m
[ "$(id -u)" = 0 ] || own_mounts=-mr

fail() {
  echo "failed: $*" >&2
  for file in out err; do [ ! -f $file ] || sed "s/^/  $file: /" $file >&2; done
  exit 1
}

need_program() {
  for name in "$@"; do
    command -v "$name" >/dev/null || { echo "skipped: there is no $name"; exit 77; }
  done
}

# The session is gone, and with it everything below the place, but for the directory of the application.
nothing_left() {
  left=$(find place -mindepth 2 | head -n 5)
  [ -z "$left" ] || fail "left behind: $left"
}
