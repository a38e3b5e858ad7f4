# SPDX-License-Identifier: MIT
#
# Sourced by the scripts about jobs that go on: programs are killed, and gone on with.
. "$source/tests/programs/common.sh"

says() { grep -q -- "$1" err || fail "nothing about: $1"; }
session() { find place -maxdepth 2 -name 'session_*'; }

# goes_on <program and arguments ...>: it ends well, its words are in the files out and err.
goes_on() { "$@" >out 2>err || fail "exit code $? from: $*"; }

# refuses <words> <program and arguments ...>
refuses() {
  local words=$1 code=0
  shift
  "$@" >out 2>err || code=$?
  [ "$code" = 1 ] || fail "exit code $code, not 1, from: $*"
  says "$words"
}

# stopped <signal> <name of a file> <program and arguments ...>: gets the signal as soon as such a file is there. In $code
# what it ends with.
stopped() {
  local signal=$1 name=$2
  shift 2
  "$@" >out 2>err &
  local job=$!
  while kill -0 $job 2>/dev/null && [ -z "$(find place -name "$name" -print -quit)" ]; do sleep 0.002; done
  kill "-$signal" $job 2>/dev/null || fail "it was over before there was a $name"
  code=0
  wait $job 2>/dev/null || code=$?
  [ -n "$(session)" ] || fail "killed too late to leave anything"
}
killed() { stopped KILL "$@"; }
