#!/bin/bash
# SPDX-License-Identifier: MIT
#
# pgsql_tmp.sh <pgsql_session>: PostgreSQL's rules for pgsql_tmp, checked against a real server, a throw-away cluster on a
# unix socket.
set -u
session=$1
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] && [ -x "$bin/initdb" ] || { echo "skipped: there is no PostgreSQL server"; exit 77; }
if [ "$(id -u)" = 0 ]; then
  id postgres >/dev/null 2>&1 || { echo "skipped: there is no user postgres"; exit 77; }
  as() { runuser -u postgres -- "$@"; }
else
  as() { "$@"; }
fi

work=$(mktemp -d /tmp/scratch-pg-XXXXXX)
mkdir "$work/bin" && cp "$session" "$work/bin/pgsql_session"
chmod 0755 "$work" "$work/bin"
session=$work/bin/pgsql_session
[ "$(id -u)" != 0 ] || chown postgres "$work"
data=$work/data tmp=$work/data/base/pgsql_tmp log=$work/log
stop() {
  as "$bin/pg_ctl" -D "$data" -m immediate stop >/dev/null 2>&1
  rm -rf "$work"
}
trap stop EXIT
failed=0
expect() { # <what> <command ...>
  local what=$1
  shift
  if "$@"; then echo "ok: $what"; else echo "FAILED: $what"; failed=1; fi
}
not() { ! "$@"; }
left() { ls -A "$tmp" 2>/dev/null | grep -c '^pgsql_tmp_scratch' || true; }
nothing_left() { [ "$(left)" = 0 ]; }
server() { as "$bin/pg_ctl" -D "$data" -w -t 60 -l "$log" -o "-c listen_addresses='' -k '$work'" "$@" >/dev/null 3>&-; }
sql() { as "$bin/psql" -h "$work" -U postgres -Atqc "$1" postgres; }
dies() { as "$session" "$tmp" dies >/dev/null 2>&1; [ $? -gt 128 ]; }

cd "$work" || exit 1
as "$bin/initdb" --no-sync -A trust -U postgres -D "$data" >/dev/null || exit 1
server start || { cat "$log"; exit 1; }

expect "a session can be made where no pgsql_tmp was, and is killed" dies
expect "it is there" [ "$(left)" = 1 ]
expect "pgsql_tmp has the data directory's mode" [ "$(stat -c %a "$tmp")" = "$(stat -c %a "$data")" ]
as "$bin/pg_basebackup" --no-sync -c fast -h "$work" -U postgres -D "$work/backup" || failed=1
expect "pg_basebackup leaves it out" [ -z "$(find "$work/backup" -name '*scratch*')" ]
expect "the backup is one" [ -s "$work/backup/backup_manifest" ]

expect "restarting" server restart
expect "the server removed it at its start" nothing_left
expect "the server's log says nothing of an unexpected file" not grep -q "unexpected file" "$log"

dies
expect "a sweep takes it while the server runs" [ "$(as "$session" "$tmp" sweeps | cut -d' ' -f1,2)" = "1 removed" ]
expect "and leaves nothing" nothing_left

dies
sql "select pg_sleep(100)" >/dev/null 2>&1 &
for _ in $(seq 100); do
  backend=$(sql "select pid from pg_stat_activity where query like 'select pg_sleep%'")
  [ -z "$backend" ] || break
  sleep 0.05
done
as kill -9 "$backend"
for _ in $(seq 200); do
  sed -n '/terminated by signal 9/,$p' "$log" | grep -q "database system is ready to accept connections" && break
  sleep 0.05
done
expect "the server removed it after a backend's crash" nothing_left

mkfifo "$work/in" && chmod 0666 "$work/in"
as "$session" "$tmp" stays <"$work/in" >"$work/said" 2>&1 &
exec 3>"$work/in"
for _ in $(seq 100); do [ -s "$work/said" ] && break; sleep 0.05; done
expect "a session lives" [ "$(left)" = 1 ]
server restart
expect "a server that starts does not look at locks" nothing_left
exec 3>&-
wait %2 2>/dev/null || wait
expect "the session notices" grep -qx session_gone "$work/said"
expect "and makes nothing again" nothing_left

# The control: another name is unexpected, and stays.
as mkdir "$tmp/scratch-kmersearch-session"
server restart
expect "control: another name would have been unexpected" grep -q "unexpected file found.*scratch-kmersearch-session" "$log"
expect "control: and would have stayed" [ -d "$tmp/scratch-kmersearch-session" ]
[ "$failed" = 0 ] || tail -20 "$log"
exit "$failed"
