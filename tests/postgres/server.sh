# SPDX-License-Identifier: MIT
#
# Sourced: a throw-away server on a unix socket, with or without the extension, that nobody need install anything for.
#
#   make_server [directory with kmer_frequency.so] [directory with .control and .sql]   makes it, below $work
#   server start|restart|...    stop_server    sql <command> [psql options]    as <command>    # as the server's user
#   expect <what> <command ...>    not <command ...>    left    nothing_left
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] && [ -x "$bin/initdb" ] || { echo "skipped: there is no PostgreSQL server"; exit 77; }
if [ "$(id -u)" = 0 ]; then
  id postgres >/dev/null 2>&1 || { echo "skipped: there is no user postgres"; exit 77; }
  user='setpriv --reuid postgres --regid postgres --init-groups'
else
  user=env
fi
as() { $user "$@"; }
work=$(mktemp -d /tmp/scratch-pg-XXXXXX)
chmod 0755 "$work"
[ "$(id -u)" != 0 ] || chown postgres "$work"
data=$work/data log=$work/log failed=0 checks=0 failures=''
export PGHOST=$work PGUSER=postgres PGDATABASE=postgres PGOPTIONS=''
postgres=$bin/postgres
cd "$work" || exit 1

# A server looks for modules and extensions where its own program stands: a copy of the program, and links to the rest.
relocate() { # <directory of the module> <directory of the extension's files>
  local own=$work/pg$bin shared
  shared=/usr/share/postgresql/$(basename "$(dirname "$bin")")
  mkdir -p "$own" "$work/pg$bin/../lib" "$work/pg$shared/extension"
  cp "$bin/postgres" "$own/postgres"
  ln -s "$bin"/../lib/* "$work/pg$bin/../lib/"
  ln -s "$shared"/* "$work/pg$shared/" 2>/dev/null
  ln -s "$shared"/extension/* "$work/pg$shared/extension/"
  cp "$1"/*.so "$work/pg$bin/../lib/"
  cp "$2"/*.control "$2"/*.sql "$work/pg$shared/extension/"
  postgres=$own/postgres
}

make_server() {
  [ $# = 0 ] || relocate "$@"
  as "$bin/initdb" --no-sync -A trust -U postgres -D "$data" >/dev/null || exit 1
  cat >>"$data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$work'
max_parallel_maintenance_workers = 4
max_worker_processes = 16
max_parallel_workers = 16
fsync = off
full_page_writes = off
log_min_messages = warning
END
  server start || { cat "$log"; exit 1; }
}
server() { as "$bin/pg_ctl" -D "$data" -w -t 60 -l "$log" -p "$postgres" "$@" >/dev/null 3>&-; }
stop_server() {
  as "$bin/pg_ctl" -D "$data" -m immediate stop >/dev/null 2>&1
  rm -rf "$work"
}
trap stop_server EXIT

sql() { as "$bin/psql" -XAtq -v ON_ERROR_STOP=1 -v VERBOSITY=verbose -c "$@"; }
expect() { # <what> <command ...>
  local what=$1
  shift
  checks=$((checks + 1))
  if "$@"; then echo "ok: $what"; else failures+="FAILED: $what"$'\n'; echo "FAILED: $what"; failed=$((failed + 1)); fi
}
not() { ! "$@"; }
equal() { [ "$1" = "$2" ] || { printf '%s, and not\n%s\n' "$2" "$1"; return 1; }; } # <what is wanted> <what is there>
# The table `job`: many keys in short rows, and every so many rows a long one, which takes its time.
make_job() { # <rows> <one of how many is long>
  sql "create table job (seq text);
    insert into job select case when i % $2 = 0 then repeat(s, 15000) else s end from
      (select i, translate(md5(i::text) || md5('a' || i) || md5('b' || i) || md5('c' || i), '0123456789abcdef', 'ACGTACGTACGTACGT') s
         from generate_series(1, $1) i) as short"
}
# Names of this library in all tablespaces.
left() { find -L "$data/base/pgsql_tmp" "$data"/pg_tblspc/*/PG_*/pgsql_tmp -maxdepth 1 -name 'pgsql_tmp_scratch*' 2>/dev/null; }
nothing_left() { [ -z "$(left)" ] || { left; return 1; }; }
# Until a command succeeds, 60 s at most.
until_true() {
  local end=$((SECONDS + 60))
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.01
  done
}
finish() {
  [ "$failed" = 0 ] || tail -20 "$log"
  echo "$checks checks, $failed failed"
  printf '%s' "$failures"
  exit $((failed > 0))
}
