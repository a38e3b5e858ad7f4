#!/bin/bash
# SPDX-License-Identifier: MIT
#
# places.sh <job> <case>: one case; what it asserts is its name. Each has mounts and processes of its own.
if [ -z "${SCRATCH_TEST_APART:-}" ]; then
  apart=-mpf
  if [ "$(id -u)" != 0 ]; then
    case $2 in
      twenty_restarts*) apart=-Urmpf ;;
      *) echo "skipped: other users and FUSE need root"; exit 77 ;;
    esac
  fi
  unshare $apart --mount-proc true 2>/dev/null || { echo "skipped: no namespaces here"; exit 77; }
  SCRATCH_TEST_APART=1 exec unshare $apart --mount-proc --kill-child bash "$0" "$@"
fi
job=$1 case=$2
. "$(dirname "$0")/../../programs/common.sh"
clean() {
  cd /
  [ ! -f "$here/place/.mounts" ] || xargs -n 1 mount -o remount,rw,bind <"$here/place/.mounts" || true
  umount -l "$here/place" "$here/root" || true
  rm -rf "$here"
}
trap 'clean 2>/dev/null' EXIT
chmod 755 .
cp "$job" job
job=$here/job

# volume <options of mount>: a file system at place
volume() { mount -t tmpfs -o "size=64m,$1" volume place; }

# runs <what runs it ...> <place> <command>
runs() { "$@" >out 2>err || fail "exit code $? from: $*"; }

# refuses <words on stderr> <what runs it ...>
refuses() {
  local words=$1
  shift
  ! "$@" >out 2>err || fail "not refused: $*"
  [ "$(wc -l <err)" = 1 ] || fail "not one line on stderr from: $*"
  grep -qF -- "$words" err || fail "nothing about: $words"
}

user() { setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"; }

case_an_emptydir_of_kubernetes_serves_root_and_any_user() {
  for mode in 0777 02777; do # the second: with an fsGroup
    volume mode=$mode,gid=2000
    for kind in shm tmp "$here/place/mine"; do
      runs "$job" "$kind" whole
      runs user 1000 "$job" "${kind/mine/theirs}" whole
      runs setpriv --reuid 1001 --regid 1001 --groups 2000 "$job" "${kind/mine/members}" whole
    done
    nothing_left
    # The volume itself is no root, and what is to be named instead is said and works.
    refuses "a directory in it can be one: $here/place/scratch" user 1002 "$job" "$here/place" whole
    runs user 1002 "$job" "$here/place/scratch" whole
    # Somebody was there first.
    user 1003 mkdir -m 0777 place/job-1004
    refuses "SCRATCH_DIR=<a directory> chooses another" user 1004 "$job" shm whole
    mkdir -m 0777 place/another
    SCRATCH_DIR=$here/place/another runs user 1004 "$job" shm whole
    umount place
  done
}

case_roots_as_a_umask_of_002_a_setgid_bit_an_access_list_and_a_link_make_them() {
  need_program python3
  install -d -o 1000 -g 1000 -m 2775 place/work
  local volume=$here/place/work
  user 1000 sh -c "umask 002; mkdir '$volume/shared'"
  refuses "chmod go-w '$volume/shared'" user 1000 "$job" "$volume/shared" whole
  chmod go-w "$volume/shared"
  runs user 1000 "$job" "$volume/shared" whole
  runs user 1000 sh -c "umask 002; exec '$job' '$volume/made' whole"
  ln -s "$volume/made" place/link
  runs user 1000 "$job" "$here/place/link" whole
  SCRATCH_DIR=$volume runs user 1000 "$job" shm whole
  chmod 0755 "$volume/job-1000"
  SCRATCH_DIR=$volume refuses "chmod 700 '$volume/job-1000'" user 1000 "$job" shm whole
  chmod 700 "$volume/job-1000"
  SCRATCH_DIR=$volume runs user 1000 "$job" shm whole
  # Whoever is in the list may write to what is made here, and the owner may only read it.
  python3 - "$volume" <<'END'
import os, struct, sys
entries = [(0x01, 4, -1), (0x02, 7, 1001), (0x04, 7, -1), (0x10, 7, -1), (0x20, 5, -1)]
os.setxattr(sys.argv[1], "system.posix_acl_default", struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *e) for e in entries))
END
  rm -r "$volume/made" "$volume/job-1000"
  runs user 1000 "$job" "$volume/made" whole
  SCRATCH_DIR=$volume runs user 1000 "$job" shm whole
}

case_a_user_without_a_name_and_without_a_home() {
  ! getent passwd 54321 || fail "user 54321 has a name"
  volume mode=1777
  for kind in shm tmp "$here/place/mine"; do
    runs user 54321 env -i "SCRATCH_DIR=$here/place" "$job" "$kind" whole
    runs user 54321 env -i "TMPDIR=$here/place" "$job" "${kind/shm/tmp}" whole
  done
  nothing_left
}

case_all_but_the_place_is_read_only() {
  volume mode=0777
  awk -v place="$here/place" '$5 != place { print $5 }' /proc/self/mountinfo >place/.mounts
  while read -r at; do
    case $at in /proc* | /sys*) ;; *) mount -o remount,ro,bind "$at" 2>/dev/null || true ;; esac
  done <place/.mounts
  for closed in / /tmp /dev/shm /var/tmp "$here"; do
    ! touch "$closed/written" 2>/dev/null || fail "$closed can be written to"
  done
  cd place
  for kind in shm tmp "$here/place/mine"; do
    runs "$job" "$kind" whole
    runs user 1000 env -i "SCRATCH_DIR=$here/place" "$job" "${kind/mine/theirs}" whole
  done
  refuses 'Read-only file system' env -u SCRATCH_DIR "$job" shm whole
  grep -q 'SCRATCH_DIR' err || fail "what helps is not said"
  [ -z "$(find . -mindepth 2)" ] || fail "something is left: $(find . -mindepth 2)"
}

case_twenty_restarts_as_pid_1_leave_nothing_and_harm_no_neighbour() {
  volume mode=0777
  mkfifo end
  unshare -fp --kill-child "$job" shm live <end >neighbour &
  neighbour=$!
  exec 3>end
  for _ in $(seq 400); do [ ! -s neighbour ] || break; sleep 0.05; done
  theirs=$(cat neighbour)
  [ -d "$theirs" ] || fail "no neighbour"
  for i in $(seq 20); do
    rm -f said
    unshare -fp --kill-child "$job" shm restart 3>&- >said 2>/dev/null &
    container=$!
    for _ in $(seq 400); do ! grep -qs '^ready' said || break; sleep 0.05; done
    grep -q '^ready, pid 1$' said || fail "not pid 1: $(cat said)"
    grep -q "^$((i > 1)) removed (.*), 1 live, 0 kept, 0 too young, 0 foreign, 0 failed" said ||
      fail "start $i swept otherwise: $(cat said)"
    kill -9 "$(cat "/proc/$container/task/$container/children")"
    wait "$container" 2>/dev/null || true
  done
  runs "$job" shm sweep
  grep -q '^1 removed (1.0 MiB), 1 live' out || fail "the last one was not swept"
  [ "$(find "$here/place" -mindepth 2 -maxdepth 2)" = "$theirs" ] || fail "left: $(find place -mindepth 2 -maxdepth 2)"
  exec 3>&-
  wait "$neighbour" || fail "the neighbour's data is not what it was"
  nothing_left
  [ "$(df --output=used place | tail -n 1)" -eq 0 ] || fail "$(df place)"
}

case_a_fuse_mount_is_not_swept_unless_locks_are_to_be_believed() {
  need_program bindfs
  [ -c /dev/fuse ] || { echo "skipped: there is no /dev/fuse"; exit 77; }
  mkdir behind root
  bindfs --no-allow-other behind root
  "$job" "$here/root" restart >said &
  killed=$!
  for _ in $(seq 400); do ! grep -qs '^ready' said || break; sleep 0.05; done
  "$job" "$here/root" list >out
  grep -q '^restart alive known$' out || fail "the living is not seen"
  kill -9 $killed
  wait $killed 2>/dev/null || true
  runs "$job" "$here/root" list
  grep -q '^restart alive unknown$' out || fail "it is told who lives"
  ! "$job" "$here/root" sweep >out || fail "swept"
  grep -q 'on fuse may be beyond .*SweepOptions::believe_locks' out || fail "not said why"
  [ -n "$(ls behind)" ] || fail "something was removed"
  runs "$job" "$here/root" sweep believe
  grep -q '^1 removed' out || fail "not swept"
  [ -z "$(ls behind)" ] || fail "left: $(ls -A behind)"
}

"case_$case"
