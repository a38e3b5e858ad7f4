#!/bin/bash
# SPDX-License-Identifier: MIT
#
# kills.sh <directory of kmer_frequency.so> <directory of the extension's files> [rounds] [control]: however a call ends,
# nothing of it is left in any pgsql_tmp; the tablespace can be dropped at once. Each end at an instant of its own in each
# round. `control`: the module does not notice the transaction's end
# and has threads, and that is seen.
set -u
. "$(dirname "$0")/server.sh"
rounds=${3:-1} control=${4:-}
make_server "$1" "$2"
as mkdir "$work/ts"

make_job 20000 150
sql "create extension kmer_frequency;
create table few (seq text);
insert into few select seq from job limit 200"
sql "create tablespace ts location '$work/ts'"
query="set temp_tablespaces = ts; set kmer_frequency.workers = 2; set kmer_frequency.memory = '1MB'; set client_connection_check_interval = '50ms';
       select count(*) from kmer_frequency('job', 'seq', 31)"

worker_of() { grep -lzs "parallel worker for PID $1" /proc/[0-9]*/cmdline | sed -n '1s@/proc/\([0-9]*\)/.*@\1@p'; }
is_at_work() { # and who does it
  leader=$(left | sed -n '1s/.*_pid\([0-9]*\)_.*/\1/p') && [ -n "$leader" ] &&
    worker=$(worker_of "$leader") && [ -n "$worker" ] && has_joined "$worker"
}
has_joined() { find "/proc/$1/fd" -lname '*/pgsql_tmp_scratch*/.lock' 2>/dev/null | grep -q .; }
# A job with workers that is in the middle of something: the instant is another each time. Found without asking the
# server, which takes its time. A worker that has not joined yet is still being made by the server, which has rules of
# its own for signals then.
begin_job() { # [query]
  (exec $user env PGAPPNAME=job "$bin/psql" -XAtq -v VERBOSITY=verbose -c "${1:-$query}" >"$work/job" 2>&1) &
  job=$! leader='' worker=''
  until ended $job || is_at_work; do sleep 0.005; done
  sleep "0.0$((RANDOM % 90 + 10))"
}
there_were_files() { [ -n "$(left)" ]; }
ended() { ! kill -0 "$1" 2>/dev/null; }
accepts() { sql "select 1" >/dev/null 2>&1; }
answered() { grep -q '^[1-9][0-9]*$' "$work/job"; }
job_said() { grep -q "$1" "$work/job" || { cat "$work/job"; return 1; }; }
server_starts() { grep -c "database system was interrupted" "$log"; }
starts_after() { [ "$(server_starts)" -gt "$1" ]; }
restart_postmaster() {
  local postmaster
  postmaster=$(head -n 1 "$data/postmaster.pid")
  kill -9 "$postmaster"
  until_true ended "$postmaster"
  until_true server start
}
drop_tablespace() { sql "drop tablespace ts" && sql "create tablespace ts location '$work/ts'"; }

# end_job <what> <command ...>: a job that the command ends; where it was faster, the next one. $starts: the server's
# before the command.
end_job() {
  local what=$1 files
  shift
  for _ in 1 2 3 4 5; do
    begin_job
    files=$(left) starts=$(server_starts)
    "$@" >/dev/null 2>&1
    wait $job 2>/dev/null
    answered || break
  done
  expect "$what: there were files" [ -n "$files" ]
  expect "$what: it had no answer yet" not answered
}
# ends <what> <what the client is told> <command ...>: the job is ended by a command, while the server goes on.
ends() {
  local what=$1 told=$2
  shift 2
  end_job "$what" "$@"
  [ -z "$told" ] || expect "$what: the client is told" job_said "$told"
  until_true ended "$leader"
  expect "$what: nothing is left" nothing_left
  expect "$what: the tablespace can be dropped" drop_tablespace
}
# crashes <what> <command ...>: and this one makes the server start anew.
crashes() {
  local what=$1
  shift
  end_job "$what" "$@"
  expect "$what: the server starts anew" until_true starts_after "$starts"
  until_true accepts
  expect "$what: the server lives" accepts
  expect "$what: nothing is left" nothing_left
  expect "$what: the tablespace can be dropped" drop_tablespace
}
# fails <what> <SQLSTATE> <statements>: an error, after which the client stays, in its transaction.
fails() {
  local what=$1 state=$2
  mkfifo "$work/in" "$work/out"
  chmod 0666 "$work/in" "$work/out"
  as "$bin/psql" -XAtq -v VERBOSITY=verbose <"$work/in" >"$work/out" 2>&1 &
  local client=$!
  exec 4>"$work/in" 5<"$work/out"
  printf '%s\n' "$3" '\echo done' >&4
  local line
  while read -r line <&5 && [ "$line" != done ]; do echo "$line"; done >"$work/job"
  expect "$what: the client is told" job_said "$state"
  expect "$what: nothing is left while it idles in its transaction" nothing_left
  exec 4>&- 5<&-
  wait $client
  rm "$work/in" "$work/out"
  expect "$what: the tablespace can be dropped" drop_tablespace
}
# The most threads that a process of the job has.
threads() {
  local pid most=0 n
  for pid in $leader $worker; do
    n=$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)
    [ "$n" -le "$most" ] || most=$n
  done
  echo "$most"
}
two_threads() { [ "$(threads)" -ge 2 ]; }

if [ -n "$control" ]; then
  begin_job
  expect "control: a second thread would be seen" until_true two_threads
  sql "select pg_terminate_backend($leader)" >/dev/null
  wait $job
  until_true ended "$leader"
  expect "control: what the transaction's end does not end is left, and seen" there_were_files
  expect "control: the tablespace cannot be dropped then" not sql "drop tablespace ts" 2>/dev/null
  expect "control: it is dead, and the next call of any backend removes it" \
    sql "select count(*) > 0 from kmer_frequency('few', 'seq', 31)" >/dev/null
  expect "control: it did" nothing_left
  finish
fi

for _ in $(seq "$rounds"); do
  begin_job
  expect "no process of a job has a second thread" equal 1 "$(threads)"
  wait $job
  expect "success: it has an answer" job_said '^[1-9][0-9]*$'
  expect "success: nothing is left" nothing_left
  expect "success: the tablespace can be dropped" drop_tablespace

  ends "cancel" "ERROR:  57014" eval 'sql "select pg_cancel_backend($leader)"'
  ends "cancel of a worker" "ERROR:  57014" eval 'kill -INT $worker'
  ends "terminate" "FATAL:  57P01" eval 'sql "select pg_terminate_backend($leader)"'
  ends "terminate of a worker" "57P01" eval 'kill -TERM $worker'
  ends "the client goes away" "" eval 'kill -9 $job'
  begin_job "set statement_timeout = 300; $query"
  wait $job
  expect "statement_timeout: the client is told" job_said "57014"
  expect "statement_timeout: nothing is left" nothing_left
  expect "statement_timeout: the tablespace can be dropped" drop_tablespace

  fails "an error in a worker" "53400" "begin; set local temp_tablespaces = ts; set local kmer_frequency.workers = 2;
    set local temp_file_limit = '200kB'; set local kmer_frequency.memory = '256kB'; select count(*) from kmer_frequency('job', 'seq', 31);"
  fails "an error after it" "22012" "begin; set local temp_tablespaces = ts; select count(*) / 0 from kmer_frequency('few', 'seq', 31);"
  fails "a cursor" "^BEGIN\|^[ACGT]" "begin; set local temp_tablespaces = ts; declare c cursor for
    select * from kmer_frequency('few', 'seq', 31); fetch 1 from c;"
  fails "a savepoint" "53400" "begin; set local temp_tablespaces = ts; savepoint s; set local temp_file_limit = '200kB';
    set local kmer_frequency.memory = '256kB'; select count(*) from kmer_frequency('job', 'seq', 31); rollback to s;"
  fails "an exception handler" "53400" "begin; set local temp_tablespaces = ts; set local temp_file_limit = '200kB';
    set local kmer_frequency.memory = '256kB'; do \$\$ begin perform count(*) from kmer_frequency('job', 'seq', 31);
    exception when others then raise notice '% was caught', sqlstate; end \$\$;"

  crashes "kill -9 of a worker" eval 'kill -9 $worker'
  crashes "kill -9 of the leader" eval 'kill -9 $leader'
  crashes "kill -9 of the postmaster" restart_postmaster
done
expect "the log says nothing of an unexpected file" not grep -q "unexpected file" "$log"
finish
