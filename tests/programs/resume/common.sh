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

# two_at_once <program and arguments ...>: two of them go on with a job. Those that end well are in $well; the other one
# was refused in clear words, and has written nothing on stdout. What each wrote is in out.1, out.2 and err.1, err.2.
two_at_once() {
  local i pid pids='' code
  well=''
  for i in 1 2; do
    "$@" >"out.$i" 2>"err.$i" &
    pids="$pids $!"
  done
  i=0
  for pid in $pids; do
    i=$((i + 1)) code=0
    wait "$pid" || code=$?
    if [ $code = 0 ]; then
      well="$well $i"
      continue
    fi
    [ $code = 1 ] && [ ! -s "out.$i" ] || fail "exit code $code, or something on stdout"
    grep -Eq 'is being done by|in use by somebody else|the session is gone|somebody else still uses it|another job' "err.$i" ||
      fail "not refused in clear words: $(cat "err.$i")"
  done
  [ -n "$well" ] || fail "none went on: $(cat err.1 err.2)"
}
