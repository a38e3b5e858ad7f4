#!/bin/bash
# SPDX-License-Identifier: MIT
#
# rows.sh <directory of kmer_frequency.so> <directory of the extension's files>: the rows of a set come one by one, from a
# file that has no name any more and goes with the set: at its end, before it, and however its query, its cursor, its
# (sub)transaction ends. Whoever asks in another way, where the server stores them first, gets the same ones.
set -u
. "$(dirname "$0")/server.sh"
make_server "$1" "$2"
printf '#!/bin/sh\nfind /proc/$PID/fd -lname "*scratch*deleted*" | wc -l\n' >held
chmod 0755 held

sql "create extension kmer_frequency"
make_job 3000 100000
sql "create table other (seq text); insert into other select seq from job where ctid >= '(5,1)';
     create table few (seq text); insert into few select seq from job limit 10; create role somebody; create role caller; grant select on job to caller"

# A client: what it prints, errors by their SQLSTATE. `\held` is how many such files its backend has open.
client() {
  printf 'select pg_backend_pid() as pid \\gset\n\\setenv PID :pid\n%s\n' "${1//\\held/\\! $work/held}" >script
  as "$bin/psql" -XAtq -F ' ' -v VERBOSITY=sqlstate 2>&1 <script | paste -sd' '
}
says() { # <what> <what it prints> <script>
  expect "$1" equal "$2" "$(client "$3")"
}
job="kmer_frequency('job', 'seq', 31)"
keys=$(sql "select count(*) from $job")
sums="count(*), sum(key::numeric), sum(appearance_nrow), count(distinct kmer)"
whole=$(client "select $sums from $job")
expect "the set is more than is read at a time" [ "$keys" -gt 100000 ]

# How they come.
expect "nothing is between it and who asks" equal "Aggregate -> ProjectSet -> Result" \
  "$(client "explain (costs off) select count(*) from $job" | tr -s ' ')"
watched="set work_mem = '64kB'; set log_temp_files = 0; set client_min_messages = log;"
says "no row is stored" "$keys" "$watched select count(*) from $job"
expect "control: that would be seen" equal "LOG:  00000 $keys" "$(client "$watched select count(*) from $job with ordinality")"

# What is asked in other ways.
says "a whole set has no file at its end" "$whole 0" "select $sums from $job;
\\held"
says "WITH ORDINALITY" "$whole" "select $sums from $job with ordinality"
says "ROWS FROM" "$whole" "select $sums from rows from ($job, generate_series(1, 3)) as f where kmer is not null"
says "in the select list" "$whole" "select $sums from (select ($job).*) f"
says "as one value" "$whole" "select count(*), sum((r).key::numeric), sum((r).appearance_nrow), count(distinct (r).kmer) from (select $job r) f"
says "an argument that is computed" "$whole" "select $sums from kmer_frequency('job', 'seq', 31 + floor(random() * 0.5)::int)"
says "an argument of a sub-select" "$whole" "select $sums from kmer_frequency('job', (select 'seq'::name), 31)"
says "a generic plan" "$whole $whole" "set plan_cache_mode = force_generic_plan; prepare p(regclass, int) as select $sums from kmer_frequency(\$1, 'seq', \$2);
  execute p('job', 31); execute p('job', 31)"
says "another row of the same size" "$whole" "select $sums from (select * from $job order by key, kmer) f"
says "a table made of it" "$whole" "create temp table t as select * from $job; select $sums from t"
says "a hash of whole rows" "$whole" "select count(*), sum(key::numeric), sum(appearance_nrow), count(distinct kmer) from (select distinct f.* from $job f) g"
says "what is kept of a row is that row's" "t" "with r as materialized (select r from (select kmer_frequency_rows('job', 'seq', 31, true, 0, null, null, null) r) f)
  select (select count(distinct (r).key) from r) = $keys"
says "PL/pgSQL, left in the middle" "3 0" "do \$\$ declare r record; n int := 0; begin for r in select * from $job loop n := n + 1; exit when n = 3; end loop;
  perform set_config('a.n', n::text, false); end \$\$; select current_setting('a.n');
\\held"
says "RETURN QUERY" "$whole" "create function pg_temp.f() returns table (kmer text, key bigint, appearance_nrow bigint) language plpgsql as
  \$\$ begin return query select * from $job; end \$\$; select $sums from pg_temp.f()"

# Several at a time, and once more.
says "a set joined to another" "t" "select count(*) = (select count(*) from (select key from $job intersect select key from kmer_frequency('other', 'seq', 31)) f)
  from $job a join kmer_frequency('other', 'seq', 31) b using (key)"
says "a merge join" "$keys" "set enable_hashjoin = off; set enable_nestloop = off; select count(*) from $job a join $job b using (key)"
says "LATERAL, for other arguments each" "t 0" "select count(*) = (select count(*) from kmer_frequency('job', 'seq', 9)) +
  (select count(*) from kmer_frequency('job', 'seq', 10)) from generate_series(9, 10) k, kmer_frequency('job', 'seq', k);
\\held"
says "begun anew before its end" "1 0" "select count(distinct key) from (select (select key from $job where key <> -g limit 1) from generate_series(1, 5) g) f;
\\held"
says "for other arguments" "3 0" "select count(*) from generate_series(9, 11) k, lateral (select kmer from kmer_frequency('job', 'seq', k) limit 1) f where length(kmer) = k;
\\held"
says "a nested loop without a place to keep it" "$((2 * keys)) 0" "set enable_material = off; set enable_hashjoin = off; set enable_mergejoin = off;
  select count(*) from generate_series(1, 2) g, $job offset 0;
\\held"
scans() { sql "select coalesce(sum(seq_scan), 0) from pg_stat_user_tables where relname in ('job', 'other')"; }
# How often the tables are read for it.
scanned() { # <what> <how often> <script>
  local before
  before=$(scans)
  client "set kmer_frequency.workers = 0; $3" >/dev/null
  expect "$1" equal "$2" "$(($(scans) - before))"
}
scanned "the same set once more is read again, not counted again" 1 \
  "select count(*) from generate_series(1, 5) g where exists (select 1 from $job where key <> g)"
scanned "a scalar for each row" 1 "select (select max(key) from kmer_frequency('job', 'seq', 31, min_rows => 2) where key <> g) from generate_series(1, 50) g"
scanned "control: another set is counted" 3 "select count(*) from generate_series(9, 11) k, kmer_frequency('job', 'seq', k)"
scanned "and two sets are" 2 "select count(*) from $job union all select count(*) from kmer_frequency('other', 'seq', 31)"
says "read again it is the same" "3 t" "select count(*), bool_and(r = (select row(count(*), sum(key::numeric))::text from $job)) from
  (select (select row(count(*), sum(key::numeric) + g * 0)::text from $job where key <> -g) r from generate_series(1, 3) g offset 0) f"

# Ends.
says "a cursor in the middle has one file" "1" "begin; declare c cursor for select from $job; move 3000 c;
\\held
rollback"
says "two of them, each" "2 t 1 0" "begin; declare a cursor for select key from $job; declare b cursor for select key from kmer_frequency('other', 'seq', 31);
  move 5000 a; move 5000 b;
\\held
fetch 1 a \\gset a
fetch 1 b \\gset b
select :akey <> :bkey; close a;
\\held
commit;
\\held"
says "closed half-way" "0" "begin; declare c cursor for select from $job; move 3000 c; close c;
\\held"
says "LIMIT" "1 0" "select 1 from $job limit 1;
\\held"
says "the end of a transaction" "0" "begin; declare c cursor for select from $job; move 3000 c; commit;
\\held"
says "ROLLBACK" "0" "begin; declare c cursor for select from $job; move 3000 c; rollback;
\\held"
says "the savepoint that it was opened in" "0 usable" "begin; savepoint s; declare c cursor for select from $job; move 3000 c; rollback to s;
\\held
select 'usable'"
says "a cursor outlives a savepoint in which it was read first" "1 MOVE 1" "begin; declare c cursor for select from $job; savepoint s; move 3000 c; rollback to s;
\\held
\\unset QUIET
move 1 c"
says "and has all its rows" "$whole" "begin; declare c cursor for select * from $job; savepoint s; create temp table t as select * from $job limit 0; rollback to s;
  create temp table t (kmer text, key bigint, appearance_nrow bigint);
  do \$\$ declare c refcursor := 'c'; r record; n int := 0; begin loop
    begin fetch c into r; exit when not found; n := n + 1; if n % 50000 = 1 then raise exception 'x'; end if; exception when raise_exception then null; end;
    insert into t values (r.kmer, r.key, r.appearance_nrow); end loop; end \$\$; select $sums from t"
says "WITH HOLD" "MOVE $((keys - 10)) 0" "begin; declare c cursor with hold for select * from $job; move 10 c; commit; 
\\unset QUIET
move all c;
\\set QUIET 1
\\held"
says "SCROLL" "t" "begin; declare c scroll cursor for select key from $job; fetch 2 c \\g /dev/null
fetch prior c \\gset a
fetch first c \\gset b
select :akey = :bkey"
says "an error in the middle" "ERROR:  22012 0" "select count(1 / (key - (select max(key) from $job))) from $job;
\\held"
says "errors that are caught" "0" "do \$\$ begin for i in 1 .. 5 loop begin perform 1 / (appearance_nrow - 1) from $job;
  exception when division_by_zero then null; end; end loop; end \$\$;
\\held"
says "a timeout in the middle" "ERROR:  57014 0" "set statement_timeout = '700ms'; select pg_sleep(0.001) from $job \\g /dev/null
\\held"
says "many at once are refused, and can be open again" "ERROR:  53000 0" "begin;
  do \$\$ begin for i in 1 .. 2000 loop execute format('declare c%s cursor for select from kmer_frequency(''few'', ''seq'', 12)', i); execute 'move 1 c' || i; end loop;
  exception when others then raise; end \$\$; rollback;
\\held"

# Whose rows.
says "who may not read the column" "ERROR:  42501" "set role somebody; select count(*) from $job"
says "nor what it is made of" "ERROR:  42501" "set role somebody; select kmer_frequency_rows('job', 'seq', 31, true, 0, null, null, null)"
says "nor by another's plan" "$keys ERROR:  42501" "set plan_cache_mode = force_generic_plan; prepare p as select count(*) from $job; execute p; set role somebody; execute p"
says "who may" "$keys" "set role caller; select count(*) from $job"
sql "create function definer() returns bigint language sql security definer as \$\$ select count(*) from $job \$\$"
says "in the name of a function's owner" "$keys" "set role somebody; select definer()"
sql "create schema elsewhere; alter extension kmer_frequency set schema elsewhere"
says "in any schema, on any search_path" "$whole" "set search_path = pg_catalog; select $sums from elsewhere.kmer_frequency('public.job', 'seq', 31)"
expect "nothing is left" nothing_left
expect "the log says nothing of an unexpected file" not grep -q "unexpected file" "$log"
finish
