#!/bin/bash
# SPDX-License-Identifier: MIT
#
# postgres.sh <table_export> <table_export_reader>: tables of a real server, a throw-away cluster on a unix socket,
# through chunks and back; rows and bytes are compared with what the server says.
set -u
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] && [ -x "$bin/initdb" ] || { echo "skipped: there is no PostgreSQL server"; exit 77; }
if [ "$(id -u)" = 0 ]; then
  id postgres >/dev/null 2>&1 || { echo "skipped: there is no user postgres"; exit 77; }
  as() { runuser -u postgres -- "$@"; }
else
  as() { "$@"; }
fi

work=$(mktemp -d /tmp/table-export-pg-XXXXXX)
chmod 0755 "$work"
[ "$(id -u)" != 0 ] || chown postgres "$work"
stop() {
  as "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1
  rm -rf "$work"
}
trap stop EXIT
cd "$work" || exit 1
mkdir place out
export SCRATCH_DIR=$work/place LC_ALL=C
unset SCRATCH_KEEP
export_rows=$1 reader=$2
failed=0
expect() { # <what> <command ...>
  local what=$1
  shift
  if "$@"; then echo "ok: $what"; else echo "FAILED: $what"; failed=1; fi
}
sql() { "$bin/psql" -h "$work" -U postgres -v ON_ERROR_STOP=1 -Atqc "$1" postgres; }
said() { sed -n "s/^$1: \([0-9]*\) rows, \([0-9]*\) bytes.*/\1 \2/p" "$2"; }
left() { find place -mindepth 2 | head -n 3; }

as "$bin/initdb" --no-sync -A trust -U postgres -D "$work/data" >/dev/null || exit 1
as "$bin/pg_ctl" -D "$work/data" -w -t 60 -l "$work/log" -o "-c listen_addresses='' -c fsync=off -k '$work'" start \
  >/dev/null || { cat "$work/log"; exit 1; }

sql "create table customer as select i as id, 'Customer ' || i as name,
       case when i % 5 = 0 then null else repeat(E'a \"b\", c\n', i % 20) end as remark,
       (i * 1.37)::numeric(12, 2) as balance, i % 2 = 0 as active, now() - i * interval '1 minute' as since,
       decode(md5(i::text), 'hex') as digest
     from generate_series(1, 100000) as i;
     create table orders as select i as id, i % 1000 as customer from generate_series(1, 150000) as i;
     create table nothing (like orders);
     create table copy_binary (like customer); create table copy_csv (like customer);
     create table copy_empty (like orders)" || exit 1

# What the server says: rows, and the bytes that COPY itself puts into a file.
rows=$(sql "select count(*) from customer")
sql "copy customer to '$work/data/customer.binary' (format binary)" || exit 1
sql "copy customer to '$work/data/customer.csv' (format csv, header)" || exit 1
bytes_binary=$(sql "select (pg_stat_file('$work/data/customer.binary')).size")
bytes_csv=$(sql "select (pg_stat_file('$work/data/customer.csv')).size")

# Three jobs at once, two of them for one table, each with its reader beside.
job() { # <table> <name> <copy options> <table to copy into> <arguments ...>
  local table=$1 name=$2 options=$3 into=$4
  shift 4
  sql "copy $table to stdout ($options)" |
    "$export_rows" "$table" --chunk-size 1MiB "$@" --reader \
      "'$reader' --copy \"\$SESSION_DIR\" 2>out/$name.read | '$bin/psql' -h '$work' -U postgres -qc 'copy $into from stdin ($options)' postgres" \
      >"out/$name.session" 2>"out/$name.err"
  echo "$?" >"out/$name.code"
}
job customer binary "format binary" copy_binary &
jobs_running=$!
job customer csv "format csv, header" copy_csv --header &
jobs_running="$jobs_running $!"
job nothing empty "format binary" copy_empty &
jobs_running="$jobs_running $!"
# shellcheck disable=SC2086
wait $jobs_running
for name in binary csv empty; do expect "$name was exported" [ "$(cat out/$name.code)" = 0 ]; done
cat out/*.err

expect "rows and bytes of the binary export are the server's" [ "$(said customer out/binary.err)" = "$rows $bytes_binary" ]
expect "rows and bytes of the csv export are the server's" [ "$(said customer out/csv.err)" = "$rows $bytes_csv" ]
expect "an empty table has no rows" [ "$(said nothing out/empty.err)" = "0 21" ]
expect "each had a session of its own" [ "$(cat out/*.session | sort -u | wc -l)" = 3 ]
expect "and nothing is left" [ -z "$(left)" ]

same() { [ "$(sql "select count(*) from (table customer except all table $1) as x")" = 0 ] && [ "$(sql "select count(*) from $1")" = "$rows" ]; }
expect "what the reader read of binary is the table" same copy_binary
expect "what the reader read of csv is the table" same copy_csv
expect "the control: another table is not it" [ "$(sql "select count(*) from (select id from customer except all select id from orders where id > 5) as x")" = 5 ]

# A kept session has the bytes of the server's own file, but for header and trailer.
sql "copy customer to stdout (format binary)" | "$export_rows" -q customer --keep --chunk-size 3MB >out/kept || failed=1
tail -c +20 data/customer.binary 2>/dev/null | head -c -2 >out/expected ||
  as cat data/customer.binary | tail -c +20 | head -c -2 >out/expected
session=$(cat out/kept)
cat $(ls -v "$session"/chunk_*.bin) >out/chunks
expect "the chunks are the server's bytes" cmp out/chunks out/expected

# A server that gives up half way.
sql "copy (select 1 / (70000 - i), repeat('x', 100) from generate_series(1, 100000) as i) to stdout (format binary)" \
  2>/dev/null | "$export_rows" broken >out/broken 2>out/broken.err
expect "an export that the server broke off is refused" [ "$?" = 1 ]
expect "because it is cut short" grep -q "cut short" out/broken.err
rm -rf "$session"
expect "and leaves nothing" [ -z "$(left)" ]
[ "$failed" = 0 ] || tail -5 "$work/log"
exit "$failed"
