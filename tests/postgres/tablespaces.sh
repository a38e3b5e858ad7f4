#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tablespaces.sh <directory of kmer_frequency.so> <directory of the extension's files> <pgsql_session>: several
# temp_tablespaces, one that is full, a backup meanwhile, and the functions that look and clean up.
set -u
# A small file system is made in a mount namespace of this test's own.
if [ "$(id -u)" = 0 ] && [ -z "${SCRATCH_OWN_MOUNTS:-}" ]; then
  SCRATCH_OWN_MOUNTS=1 exec unshare -m --propagation private bash "$0" "$@"
fi
. "$(dirname "$0")/server.sh"
cp "$3" session && chmod 0755 session
make_server "$1" "$2"
sql "alter system set remove_temp_files_after_crash = off"
sql "alter system set shared_preload_libraries = 'kmer_frequency'"
server restart
as mkdir one two small
sql "create extension kmer_frequency"
sql "create tablespace one location '$work/one'"
sql "create tablespace two location '$work/two'"
sql "create role somebody"
make_job 20000 30000
counts="select count(*) from kmer_frequency('job', 'seq', 31)"
sums="select count(*), sum(appearance_nrow) from kmer_frequency('job', 'seq', 31)"
fails="set temp_file_limit = '200kB'; set kmer_frequency.memory = '256kB'; $counts"
# A backend, by SIGKILL, as soon as it has a session. In so much memory the server spills nothing itself: its own files
# would stay, and the tablespace could not be dropped.
kill_in_the_middle() {
  sql "set temp_tablespaces = one; set work_mem = '1GB'; select * from kmer_frequency('job', 'seq', 31) a, kmer_frequency('job', 'seq', 31) b limit 1" >/dev/null 2>&1 &
  local backend
  until [ -e "$(left)/metadata.json" ]; do sleep 0.005; done
  backend=$(left | sed -n '1s/.*_pid\([0-9]*\)_.*/\1/p')
  kill -9 "$backend"
  wait $!
  until_true sql "select 1" >/dev/null 2>&1
}
sessions() { sql "select count(*) filter (where alive), count(*) filter (where kept), count(*) from scratch_sessions()"; }
cleaned() { sql "select deleted_count, deleted_size > 0, error_count from scratch_delete_tempfiles()"; }

expect "no sessions at first" equal "0|0|0" "$(sessions)"
expect "nothing to delete" equal "0|f|0" "$(cleaned)"
expect "others may not look" not sql "set role somebody; select scratch_sessions()" 2>/dev/null
expect "nor delete" not sql "set role somebody; select scratch_delete_tempfiles()" 2>/dev/null

kill_in_the_middle
expect "a dead one is seen, where it is" equal "one|f|in_progress|t|t" "$(sql "select tablespace, alive, status, bytes >= 0, age < '1 minute' from scratch_sessions()")"
as "$work/session" "$data/base/pgsql_tmp" dies >/dev/null 2>&1
expect "another program's is not counted" equal "0|0|1" "$(sessions)"
expect "it is deleted" equal "1|t|0" "$(cleaned)"
expect "and the other program's is not" [ "$(left | wc -l)" = 1 ]
as rm -r "$(left)"
kill_in_the_middle
expect "the next call of any backend removes what is dead" sql "$counts" >/dev/null
expect "it did" nothing_left

expect "several temp_tablespaces: a job is in each" not sql "set temp_tablespaces = one, two, one; set kmer_frequency.keep = on;
  set kmer_frequency.workers = 2;
  do \$\$ begin for i in 1..4 loop begin set temp_file_limit = '200kB'; set kmer_frequency.memory = '256kB';
    perform count(*) from kmer_frequency('job', 'seq', 31); exception when configuration_limit_exceeded then null; end; end loop; end \$\$;
  select 1 / 0" 2>/dev/null
expect "kept as was asked" equal "$(printf 'one|4|t|t\ntwo|4|t|t')" "$(sql "select tablespace, count(*), bool_and(kept), bool_and(status = 'failed') from scratch_sessions() group by 1 order by 1")"
expect "the same ones" equal "4" "$(sql "select count(distinct id) from scratch_sessions()")"
for turn in 1 2; do
  expect "and counts are those of one ($turn)" equal "$(sql "set temp_tablespaces = one; $sums")" "$(sql "set temp_tablespaces = one, two; set kmer_frequency.workers = $turn; $sums")"
done
expect "kept ones are deleted when that is asked for" equal "8|t|0" "$(cleaned)"
expect "without keep nothing stays" not sql "set temp_tablespaces = one; $fails" 2>/dev/null
expect "nothing" nothing_left

sql "alter table job rename to short"
make_job 20000 150
sql "set temp_tablespaces = one; select count(*) from generate_series(1, 1000) i, kmer_frequency('job', 'seq', 28 + i % 2)" >/dev/null 2>&1 &
query=$!
until [ -n "$(left)" ]; do sleep 0.005; done
said_more() { [ "$(sql "select progress::json ->> 'doing' in ('counting', 'merging') from scratch_sessions()")" = t ]; }
expect "how far it is can be seen" until_true said_more
as "$bin/pg_basebackup" --no-sync -c fast -X none -D backup -T "$work/one=$work/backup_one" -T "$work/two=$work/backup_two" 2>/dev/null
expect "a backup meanwhile is whole" [ -s backup/backup_manifest ]
expect "and has nothing of it" [ -z "$(find backup backup_one backup_two -name '*scratch*')" ]
deleted=$(cleaned)
one_lives() { [ "$(sessions)" = "1|0|1" ]; }
expect "it lasted as long as the backup" until_true one_lives
expect "what is alive is not deleted" equal "0|f|0" "$deleted"
sql "select pg_terminate_backend(pid, 60000) from pg_stat_activity where query like '%job%' and pid <> pg_backend_pid()" >/dev/null
wait $query
until_true nothing_left >/dev/null
sql "drop table job; alter table short rename to job"
expect "nothing is left of it" nothing_left

if [ "$(id -u)" = 0 ]; then
  mount -t tmpfs -o "size=2m,mode=0700,uid=$(id -u postgres),gid=$(id -g postgres)" none small
  sql "create tablespace small location '$work/small'"
  sql "set temp_tablespaces = small; set kmer_frequency.memory = '256kB'; set kmer_frequency.workers = 2; $counts" >said 2>&1
  expect "a full tablespace: SQLSTATE 53100" grep -q '^ERROR:  53100: cannot .*No space left on device' said
  expect "with needed and free" grep -q '^DETAIL:.* needed, .* free' said
  expect "and what would help" grep -q '^HINT:.*temp_tablespaces' said
  [ "$failed" = 0 ] || cat said
  expect "nothing is left there" nothing_left
  expect "the server lives on" sql "$counts" >/dev/null
  expect "the full one can be dropped" sql "drop tablespace small"
fi
umount small 2>/dev/null
expect "the others can be dropped" sql "drop tablespace one"
expect "and the second" sql "drop tablespace two"
expect "the log says nothing of an unexpected file" not grep -q "unexpected file" "$log"
finish
