#!/bin/bash
# SPDX-License-Identifier: MIT
#
# answers.sh <directory of kmer_frequency.so> <directory of the extension's files> <program kmer_frequency> <genome>:
# kmer_frequency() in SQL says what plain SQL says, and what the program says; what it refuses, and how.
set -u
. "$(dirname "$0")/server.sh"
program=$3 genome=$4
make_server "$1" "$2"

sql "create extension kmer_frequency"
# The oracle. No outer row for NULL; `occ` is the occurrence number in the row.
sql "
create function revcomp(text) returns text language sql immutable as
  \$\$ select reverse(translate(\$1, 'ACGT', 'TGCA')) \$\$;
create function counted(rows text[], k int, canonical bool, bits int)
returns table (kmer text, key bigint, appearance_nrow bigint) language sql as \$\$
  with windows as (select r, upper(substr(seq, i, k)) w from unnest(rows) with ordinality t(seq, r),
                     generate_series(1, length(seq) - k + 1) i),
       kmers as (select r, case when canonical then least(w collate \"C\", revcomp(w) collate \"C\") else w end as m
                   from windows where w ~ '^[ACGT]+\$'),
       numbered as (select m, r, row_number() over (partition by r, m) - 1 occ from kmers),
       sums as (select m, occ, count(*) n from numbered where occ < 1 << bits group by m, occ)
  select m, (select bit_or((strpos('ACGT', substr(m, i, 1)) - 1)::bigint << (2 * (k - i) + bits)) | occ
               from generate_series(1, k) i), n from sums
\$\$;
create function differences(rel regclass, col name, k int, canonical bool, bits int) returns bigint language plpgsql as \$\$
declare rows text[]; n bigint;
begin
  execute format('select array_agg(%I::text) from %s', col, rel) into rows;
  select count(*) into n from
    ((select * from kmer_frequency(rel, col, k, canonical, bits) except all select * from counted(rows, k, canonical, bits))
     union all
     (select * from counted(rows, k, canonical, bits) except all select * from kmer_frequency(rel, col, k, canonical, bits))) d;
  return n;
end \$\$;"
sql "select setseed(0.25);
create function random_bases(n int, letters text) returns text language sql volatile as
  \$\$ select string_agg(substr(letters, 1 + floor(random() * length(letters))::int, 1), '') from generate_series(1, n) \$\$;
create table rows (id int, seq text, v varchar(400), same text);
alter table rows drop column same;
insert into rows select i, s, s from (select i, random_bases(i, 'ACGTacgtACGTACGTN') s from generate_series(1, 150) i) x;
insert into rows values (0, null, null), (0, '', ''), (0, repeat('AC', 150), 'acgt'), (0, 'ACGTRYKMACGT-ACGTA', 'é');
create table bytes (b bytea);
insert into bytes select convert_to(seq, 'UTF8') from rows;
create table empty (seq text);
create table nothing (seq text);
insert into nothing select null from generate_series(1, 100);
create table parts (id int, seq text) partition by range (id);
create table part_1 (dropped int, seq text, id int);
alter table part_1 drop column dropped;
alter table parts attach partition part_1 for values from (0) to (75);
create table part_2 partition of parts for values from (75) to (1000) partition by list (id);
create table part_3 partition of part_2 default;
insert into parts select id, seq from rows;
create table parent (seq text);
create table child (more int) inherits (parent);
insert into parent select seq from rows where id < 75;
insert into child select seq from rows where id >= 75;
create materialized view mat as select seq from rows;
create temp table gone (seq text);"

same() { # <relation> <column> <k> <canonical> <bits> <workers>
  equal 0 "$(sql "set kmer_frequency.workers = $6; select differences('$1', '$2', $3, $4, $5)")"
}
for workers in 0 1 2 4; do
  for what in "8 true 0" "8 false 0" "5 true 3" "15 false 2" "31 true 0" "32 false 0" "1 true 1"; do
    read -r k canonical bits <<<"$what"
    expect "as SQL: k $k, canonical $canonical, $bits bits, $workers workers" same rows seq "$k" "$canonical" "$bits" "$workers"
  done
  expect "varchar, $workers workers" same rows v 6 true 0 "$workers"
  expect "partitions with other orders of columns, $workers workers" same parts seq 11 true 0 "$workers"
done
expect "one that inherits" same parent seq 9 true 0 2
expect "a materialized view" same mat seq 9 true 0 2
expect "an empty table" same empty seq 9 true 0 2
expect "nothing but NULL" same nothing seq 9 true 0 2
expect "bytea" [ "$(sql "select count(*) from (select * from kmer_frequency('bytes', 'b', 10) except all
                         select * from kmer_frequency('rows', 'seq', 10)) d")" = 0 ]
expect "a temporary table, after its rows were changed in the transaction" [ "$(sql "begin; create temp table t (seq text);
  insert into t values ('ACGTACGT'), ('AAAAA'); delete from t where seq = 'AAAAA';
  select string_agg(kmer || appearance_nrow, ' ' order by kmer) from kmer_frequency('t', 'seq', 4); rollback")" = "ACGT1 CGTA1 GTAC1" ]
expect "rows of this transaction, seen by workers" [ "$(sql "begin; set local kmer_frequency.workers = 2;
  insert into empty select 'ACGTC' from generate_series(1, 5000);
  select string_agg(kmer || appearance_nrow, ' ') from kmer_frequency('empty', 'seq', 5); rollback")" = "ACGTC5000" ]
sql "create table long (seq text); insert into long select repeat(random_bases(997, 'ACGT'), 140) from generate_series(1, 3);
     insert into long select 'ACGT'"
expect "rows of 140 thousand bases, out of line" [ "$(sql "select count(*), min(appearance_nrow), max(appearance_nrow), sum(appearance_nrow)
  from kmer_frequency('long', 'seq', 31, false, 1)")" = "5982|1|1|5982" ]

thresholds() { sql "select count(*) from kmer_frequency('rows', 'seq', 4, true, 0, $1)"; }
above() { sql "select count(*) from kmer_frequency('rows', 'seq', 4) where appearance_nrow $1"; }
expect "min_rows" [ "$(thresholds "min_rows => 100")" = "$(above ">= 100")" ]
expect "max_appearance_nrow" [ "$(thresholds "max_appearance_nrow => 100")" = "$(above "> 100")" ]
expect "max_appearance_rate of the rows that are not NULL" [ "$(thresholds "max_appearance_rate => 0.65")" = "$(above "> floor(0.65 * 153)")" ]
expect "both: the smaller" [ "$(thresholds "max_appearance_rate => 0.9, max_appearance_nrow => 90")" = "$(above "> 90")" ]

# The program reads the same rows as FASTA.
"$program" --simulate-reads 30000 --read-length 100 -o reads.fa "$genome" 2>/dev/null
sed -i '7~1000s/ACG/AUG/; 9~1000s/ACG/acN/' reads.fa
chmod 0644 reads.fa
sql "create table reads (seq text)"
grep -v '>' reads.fa >reads.txt
sql "\\copy reads from reads.txt"
for what in "8 4" "12 8" "31 0" "21 2"; do
  read -r k bits <<<"$what"
  "$program" -k "$k" --canonical --occurrence-bits "$bits" --quiet --max-appearance-nrow 2 reads.fa | awk -v OFS='\t' '{ print $1, $NF }' | sort >wanted
  sql "copy (select kmer, appearance_nrow from kmer_frequency('reads', 'seq', $k, true, $bits, max_appearance_nrow => 2)) to stdout" |
    sort >got
  expect "as the program: k $k, $bits bits, $(wc -l <wanted) keys" cmp -s wanted got
done
expect "they are not nothing" [ "$(wc -l <wanted)" -gt 10000 ]
expect "within 256 kB a process" [ "$(sql "set kmer_frequency.memory = '256kB'; set kmer_frequency.workers = 2; set work_mem = '64kB';
  select sum(appearance_nrow) from kmer_frequency('reads', 'seq', 31)")" = \
  "$(sql "set kmer_frequency.workers = 0; select sum(appearance_nrow) from kmer_frequency('reads', 'seq', 31)")" ]

# What is refused: SQLSTATE and a hint, the transaction usable after ROLLBACK, nothing left.
refused() { # <SQLSTATE> <SQL>
  sql "begin; $2" >said 2>&1 && return 1
  grep -q "^ERROR:  $1:" said && grep -q '^HINT:' said && nothing_left || { cat said; return 1; }
  echo "begin; $2; rollback; select 'usable';" | as "$bin/psql" -XAtq 2>/dev/null | grep -qx usable
}
sql "create view seen as select seq from rows; create role somebody; create role partly; grant select (seq) on rows to partly;
     create table secret (seq text); alter table secret enable row level security; grant select on secret to somebody;
     create index indexed on rows (id)"
call() { echo "select * from kmer_frequency('$1', '$2', $3)"; }
expect "a column of another type is refused" refused 42804 "$(call rows id 4)"
expect "no such column" refused 42703 "$(call rows none 4)"
expect "a system column" refused 42703 "$(call rows ctid 4)"
expect "k of 0" refused 22023 "$(call rows seq 0)"
expect "k of 33" refused 22023 "$(call rows seq 33)"
expect "k below 0" refused 22023 "$(call rows seq -5)"
expect "2k + bits of more than 64" refused 22023 "$(call rows seq "31, true, 3")"
expect "bits below 0" refused 22023 "$(call rows seq "31, true, -1")"
expect "a view" refused 42809 "$(call seen seq 4)"
expect "an index" refused 42809 "$(call indexed id 4)"
expect "somebody else's table" refused 42501 "set local role somebody; $(call rows seq 4)"
expect "a column of it that one may not read" refused 42501 "set local role partly; $(call rows v 4)"
expect "row-level security" refused 0A000 "set local role somebody; $(call secret seq 4)"
expect "a rate of nan" refused 22023 "$(call rows seq "4, max_appearance_rate => 'nan'")"
expect "a rate below 0" refused 22023 "$(call rows seq "4, max_appearance_rate => -0.1")"
expect "an infinite rate" refused 22023 "$(call rows seq "4, max_appearance_rate => 'inf'")"
expect "min_rows of 0" refused 22023 "$(call rows seq "4, min_rows => 0")"
expect "max_appearance_nrow below 0" refused 22023 "$(call rows seq "4, max_appearance_nrow => -1")"
expect "min_rows beside a rate" refused 22023 "$(call rows seq "4, min_rows => 2, max_appearance_rate => 0.5")"
expect "NULL for a table" refused 22004 "select * from kmer_frequency(null, 'seq', 4)"
expect "NULL for k" refused 22004 "$(call rows seq null)"
expect "a table that is gone" refused 42P01 "select * from kmer_frequency(99999999::oid::regclass, 'seq', 4)"
expect "memory of 100 kB is refused" not sql "load 'kmer_frequency'; set kmer_frequency.memory = '100kB'" 2>/dev/null
expect "somebody may not keep files" not sql "load 'kmer_frequency'; set role somebody; set kmer_frequency.keep = on" 2>/dev/null
expect "whoever may read the column may count it" sql "set role partly; select count(*) from kmer_frequency('rows', 'seq', 4)" >/dev/null
expect "a limit on temporary files holds, by its SQLSTATE" refused 53400 "set local temp_file_limit = '256kB';
  set local kmer_frequency.memory = '256kB'; $(call reads seq 31)"
expect "nothing is left" nothing_left
expect "the log says nothing of an unexpected file" not grep -q "unexpected file" "$log"
finish
