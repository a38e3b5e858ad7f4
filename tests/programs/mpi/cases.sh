#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cases.sh <kmer_frequency> <kmer_frequency_mpi> <external_sort> <external_sort_mpi> <letters> <case>: one case; what it
# asserts is its name.
programs=("$@")
one=$1 many=$2 sorting=$3 sort_on_many=$4 letters=$5 case=$6
source=$(cd "$(dirname "$0")/../../.." && pwd)
. "$source/tests/programs/common.sh"
need_program mpirun
unset SCRATCH_DIR
export TMPDIR=$here/place
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_base_warn_component_unused=0
export OMPI_MCA_orte_tmpdir_base=$here  # its own files
export SCRATCH_FAKE_NODES=2

more=''  # options of all ranks that the program of one machine has not
ranks() {
  local n=$1
  shift
  mpirun -n "$n" "$many" --workers 1 --memory 64MiB $more "$@"
}
same() { cmp "$1" "$2" >&2 || fail "$1 and $2 differ"; }
# Counts alike: which merge a table took in last is in the header (absorbed, and the sum of it), and nowhere else.
same_table() {
  [ "$(stat -c %s "$1")" = "$(stat -c %s "$2")" ] || fail "$1 and $2 are of other sizes"
  [ -z "$(cmp -l "$1" "$2" | awk '$1 <= 48 || ($1 > 56 && $1 <= 72) || $1 > 80')" ] || fail "$1 and $2 differ"
}
# Nothing but directories of the applications.
nothing_of_sessions() { [ -z "$(find "$@" -name 'session_*' -print -quit)" ] || fail "left: $(find "$@" -name 'session_*')"; }
# What the program says, and not mpirun.
words() { grep -E '^((kmer_frequency|external_sort)_mpi|letters): ' err || true; }

genome() { gzip -dc "$source/examples/data/lambda_virus.fa.gz" >genome.fa; }
# reads <file> <number> <length>
reads() {
  [ -f genome.fa ] || genome
  "$one" -q --simulate-reads "$2" --read-length "$3" --error-rate 0.02 --seed 7 -o "$1" genome.fa
}
fastq() { awk '/^>/ { print "@" substr($0, 2); next } { print; print "+"; gsub(/./, "@"); print }' "$1"; }

# equal <ranks> <option of both ...>
equal() {
  local n=$1
  shift
  rm -rf one.* four.*
  "$one" -q --workers 2 --memory 64MiB --table one.table -o one.tsv "$@" 2>out || fail "one: $*"
  ranks "$n" --table four.table -o four.tsv "$@" 2>err || fail "$n ranks: $*"
  same_table one.table four.table
  same one.tsv four.tsv
  [ -s four.tsv ] || fail "nothing was counted: $*"
  nothing_of_sessions place
}

# equal_lines <ranks> <option of both ...>: likewise without the table, of which ranks leave out what no line is of.
equal_lines() {
  local n=$1
  shift
  rm -rf one.* four.*
  "$one" -q --workers 2 --memory 64MiB -o one.tsv "$@" 2>out || fail "one: $*"
  ranks "$n" -o four.tsv "$@" 2>err || fail "$n ranks: $*"
  same one.tsv four.tsv
  [ -s four.tsv ] || fail "nothing was counted: $*"
  [ "$(sed -n 's/^over threshold *//p' err)" = "$(wc -l <four.tsv)" ] || fail "over threshold: $(grep over err)"
  nothing_of_sessions place
}

case_four_ranks_count_what_one_machine_counts() {
  reads reads.fa 4000 120
  fastq reads.fa >reads.fq
  gzip -c genome.fa >genome.fa.gz
  equal 4 -k 31 --canonical --count occurrences reads.fa genome.fa
  grep -q '^nodes  *2$' err || fail "not two nodes"
  grep '^rank ' err
  [ "$(grep -c '^rank .*peak .*; [1-9][0-9]* bytes sent; .* s of processor' err)" = 4 ] || fail "not a line of each rank"
  more="--round 4096"
  equal 4 -k 8 --count occurrences reads.fa
  equal 4 -k 14 --canonical --min-count 3 --sorted reads.fq genome.fa.gz
  equal 4 -k 31 --canonical reads.fa genome.fa
}

case_super_k_mers_from_rank_to_rank_are_counted_by_one_of_them() {
  reads reads.fa 4000 120
  gzip -c genome.fa >genome.fa.gz
  more="--round 4096"
  equal_lines 4 -k 31 --canonical --count occurrences --min-count 3 reads.fa genome.fa.gz
  few=$(sent)
  equal 4 -k 31 --canonical --count occurrences --min-count 3 reads.fa genome.fa.gz
  [ "$(sent)" -gt "$few" ] || fail "no more is sent for the table: $(sent) bytes, $few for lines"
  more="--workers 3"
  equal_lines 3 -k 15 --count occurrences --min-count 2 --sorted reads.fa
  equal_lines 5 -k 33 --canonical --count occurrences --max-appearance-rate 0.001 reads.fa
  equal 4 -k 63 --canonical --count occurrences reads.fa
  more=''
  SCRATCH_FAKE_NODES=1 equal_lines 4 -k 21 --count occurrences --min-count 2 reads.fa genome.fa.gz
  SCRATCH_FAKE_NODES=4 equal_lines 4 -k 21 --count occurrences --min-count 2 reads.fa genome.fa.gz
  equal_lines 1 -k 21 --count occurrences --min-count 2 reads.fa
  printf '>one\nACGTACGTAACCGATTACG\n' >tiny.fa
  equal 4 -k 19 --count occurrences tiny.fa
}

# all_done <ranks> <how each ended> <what they do>
all_done() {
  mpirun -n "$1" "$letters" "$3" >out 2>err || fail "$1 ranks: $3"
  [ "$(grep -c "^done: rank [0-9], $2\$" out)" = "$1" ] || fail "$1 ranks: $3: not all were $2"
}
case_what_ranks_send_while_they_work_comes_whole_and_in_order() {
  for n in 1 2 5; do all_done $n whole all; done
  all_done 3 whole slow
  [ -z "$(words)" ] || fail "words"
  all_done 4 'failed before' other_byte  # control
  words | grep -q 'of rank 1 is not what was sent' || fail "another byte was not noticed"
}
case_ranks_that_send_while_they_work_fail_together_and_go_on() {
  all_done 4 'failed before' work
  [ "$(words)" = "letters: rank 1 ($(hostname)): this is no weather for work" ] || fail "other words"
  for when in delivery late; do
    all_done 4 'failed before' $when
    [ "$(words)" = "letters: rank 3 ($(hostname)): the letter box is full" ] || fail "$when: other words"
  done
  all_done 4 'failed before' untold # control
  words | grep -q 'nobody told that the letter box is full' || fail "nobody noticed that nothing was told"
}
# What goes from node to node is the same, whether it stands in files first or not.
case_a_count_and_a_sort_are_the_same_whether_or_not_they_can_be_gone_on_with() {
  reads reads.fa 4000 120
  more="--round 4096"
  for how in '' --resume; do
    equal_lines 4 -k 31 --canonical --count occurrences --min-count 2 reads.fa $how
    cp four.tsv "tsv$how"
    sent >"sent$how"
  done
  same tsv tsv--resume
  awk '{ n[NR] = $1 } END { exit !(n[1] > 10000 && n[1] < 1.2 * n[2] && n[2] < 1.2 * n[1]) }' sent sent--resume ||
    fail "sent: $(cat sent) bytes, and $(cat sent--resume) with --resume"
  records 20000
  for how in '' --resume; do
    mpirun -n 4 "$sort_on_many" sort --memory 32MiB --round 4096 --to-file -o "sorted$how" $how records 2>err ||
      fail "sort $how"
    sent >"sent$how"
  done
  same sorted sorted--resume
  awk '{ n[NR] = $1 } END { exit !(n[1] > 900000 && n[1] < 1.2 * n[2] && n[2] < 1.2 * n[1]) }' sent sent--resume ||
    fail "sort: sent $(cat sent) bytes, and $(cat sent--resume) with --resume"
}

exchanged() { awk -F, '$1 == "exchanging" { n += $7 } END { print n + 0 }' four.tsv.logs/metrics/phase_timings.csv; }
case_ranks_that_may_have_few_files_open_send_them_one_by_one() {
  reads reads.fa 4000 120
  more="--workers 8"
  local counted=(-k 31 --count occurrences --min-count 2 reads.fa)
  equal_lines 4 "${counted[@]}"
  [ "$(exchanged)" = 0 ] || fail "$(exchanged) bytes were not sent while they were found"
  ulimit -n 90
  equal_lines 4 "${counted[@]}"
  [ "$(exchanged)" -gt 10000 ] || fail "only $(exchanged) bytes were sent from files"
}

case_any_number_of_ranks_counts_the_same() {
  reads reads.fa 30000 120
  SCRATCH_FAKE_NODES=1 equal 1 -k 21 --canonical --count occurrences reads.fa
  SCRATCH_FAKE_NODES=3 more="--round 4096" equal 3 -k 21 --occurrence-bits 2 reads.fa
  SCRATCH_FAKE_NODES=5 equal 5 -k 31 --canonical reads.fa genome.fa
  printf '>one\nACGTACGTAA\n' >tiny.fa
  equal 4 -k 5 tiny.fa
}

# The most memory that a rank had, in KiB.
peak() { sed -n 's/^rank .*peak \([0-9]*\)\.\([0-9]\) MiB.*/\1\2/p' err | sort -n | tail -n 1; }
sent() { sed -n 's/^rank .*; \([0-9]*\) bytes sent.*/\1/p' err | awk '{ n += $1 } END { print n }'; }

case_memory_is_the_same_for_more_data() {
  python3 -c '
import random
random.seed(5)
print(">g")
print("".join(random.choices("ACGT", k=1200000)))' >genome.fa
  reads small.fa 30000 100
  reads large.fa 240000 100
  mpirun -n 4 "$many" --workers 1 --memory 16MiB -k 31 --canonical --count occurrences --table small.table small.fa 2>err ||
    fail "small"
  small=$(peak) few=$(sent)
  mpirun -n 4 "$many" --workers 1 --memory 16MiB -k 31 --canonical --count occurrences --table large.table large.fa 2>err ||
    fail "large"
  large=$(peak) much=$(sent)
  echo "peak of a rank: $small and $large tenths of a MiB; sent $few and $much bytes"
  [ "$much" -gt $((3 * few)) ] || fail "not much more was sent: $few, $much"
  [ "$large" -le $((small + 80)) ] || fail "memory grew from $small to $large tenths of a MiB"
  "$one" -q --workers 2 --memory 64MiB -k 31 --canonical --count occurrences --table one.table large.fa
  same_table one.table large.table
}

# in_each <function> <phase ...>: `function phase rank` for each of them, side by side, in a directory and a place of its
# own: most of the time of a job that is killed is spent waiting.
in_each() {
  local function=$1 rank=0 jobs=() job
  shift
  for phase in "$@"; do
    mkdir -p "$phase/place"
    (
      cd "$phase"
      export TMPDIR=$PWD/place OMPI_MCA_orte_tmpdir_base=$PWD
      $function "$phase" $rank
      nothing_of_sessions place
    ) &
    jobs+=($!)
    rank=$(((rank + 1) % 4))
  done
  for job in "${jobs[@]}"; do wait "$job" || exit 1; done
}

# stopped_in <rank> <phase> <program and arguments ...>: four ranks, of which that one waits there. In $job mpirun, in
# $pid that rank's process.
stopped_in() {
  local rank=$1 phase=$2 log
  shift 2
  SCRATCH_STOP_AT="$rank $phase" mpirun -n 4 "$@" >out 2>err &
  job=$! pid=''
  while [ -z "$pid" ]; do
    kill -0 $job 2>/dev/null || fail "it ended before $phase"
    sleep 0.02
    log=$(find place -name worker_health.csv -exec grep -l ",$rank,[0-9]*,[0-9]*,$phase," {} + 2>/dev/null) || continue
    pid=$(sed -n "s/.*Z,$rank,[0-9]*,\([0-9]*\),$phase,.*/\1/p" $log | tail -n 1)
    [ -n "$pid" ] && grep -q '^State:.*T' "/proc/$pid/status" || pid=''
  done
}
# killed_in, likewise: and it is killed.
killed_in() {
  local job pid code=0
  stopped_in "$@"
  kill -9 "$pid"
  wait $job || code=$?
  [ $code != 0 ] || fail "all is well after a kill in $2"
  killed_rank=$1 killed_pid=$pid
}

# found_in_three_logs <phase> <logs>
found_in_three_logs() {
  local logs=$2/node_$((killed_rank / 2))/metrics
  grep -q "Z,$killed_rank,[0-9]*,$killed_pid,$1," $logs/worker_health.csv || fail "its health is not on record"
  grep -q "Z,$killed_rank,[0-9]*,$1,\"work\",\"process $killed_pid\",\"it was killed\"" $logs/error_log.csv ||
    fail "$1: its death is not on record: $(cat $logs/error_log.csv)"
  grep -q "rank $killed_rank: $1 -> killed, process $killed_pid " $logs/state_transitions.log || fail "nor in the states"
  [ "$(grep -c ' -> killed' $logs/state_transitions.log)" = 1 ] || fail "others were not killed"
}

kmers_killed() {
  local phase=$1 options=(-k 21 --canonical -o four.tsv ../reads.fa)
  killed_in "$2" "$phase" "$many" --workers 1 --memory 64MiB --table four.table "${options[@]}"
  [ ! -e four.tsv ] && [ ! -e four.table ] || fail "there is a result after a kill in $phase"
  found_in_three_logs "$phase" four.tsv.logs
  ranks 4 -q "${options[@]}" 2>err || fail "the next start: $phase"
  same ../one.tsv four.tsv
}
case_a_rank_that_is_killed_in_any_phase_is_found_in_three_logs_and_the_next_start_ends_right() {
  reads reads.fa 4000 120
  "$one" -q --workers 2 --memory 64MiB -k 21 --canonical -o one.tsv reads.fa
  in_each kmers_killed counting exchanging summing gathering writing
}

# What all jobs of a test are asked for.
how=()
kmers_resumed() {
  local phase=$1 options=(--resume -k 21 --canonical "${how[@]}" --table four.table -o four.tsv ../reads.fa ../more.fa.gz ../few.fa)
  killed_in "$2" "$phase" "$many" --workers 1 --memory 64MiB "${options[@]}"
  [ ! -e four.tsv ] && [ ! -e four.table ] || fail "there is a result after a kill in $phase"
  found_in_three_logs "$phase" four.tsv.logs
  [ "$(find place -name .keep | wc -l)" = 2 ] || fail "not both sessions are kept after a kill in $phase"
  ranks 4 -q --memory 32MiB "${options[@]}" 2>err || fail "the next start: $phase"
  words | grep -q 'notice: going on with what 2 nodes have' || fail "not gone on with: $(words)"
  for done_before in counting exchanging summing gathering; do
    [ $done_before != "$phase" ] || break
    [ "$(grep -c -- "-> $done_before, done before" four.tsv.logs/metrics/state_transitions.log)" = 4 ] ||
      fail "$phase: $done_before once more"
  done
  [ $phase = counting ] || [ $phase = writing ] || grep -q -- "-> $phase, as planned" four.tsv.logs/metrics/state_transitions.log ||
    fail "$phase was not done"
  same ../one.tsv four.tsv
  same_table ../one.table four.table
}
few_kmers_resumed() {
  local options=(--resume -k 7 -o four.tsv ../few.fa)
  killed_in "$2" "$1" "$many" --workers 1 --memory 64MiB "${options[@]}"
  ranks 4 -q "${options[@]}" 2>err || fail "the next start: $1"
  words | grep -q 'notice: going on with what 2 nodes have' || fail "not gone on with: $(words)"
  same ../few.tsv four.tsv
}
lines_resumed() {
  local options=(--resume -k 31 --canonical --count occurrences --min-count 2 -o four.tsv ../reads.fa ../more.fa.gz)
  killed_in "$2" "$1" "$many" --workers 1 --memory 64MiB "${options[@]}"
  ranks 4 -q "${options[@]}" 2>err || fail "the next start: $1"
  words | grep -q 'notice: going on with what 2 nodes have' || fail "not gone on with: $(words)"
  same ../lines.tsv four.tsv
}
case_a_rank_that_is_killed_leaves_its_count_to_the_next_start_which_goes_on() {
  reads reads.fa 40000 120
  gzip -c genome.fa >more.fa.gz
  head -n 6 reads.fa >few.fa
  "$one" -q --workers 2 --memory 64MiB -k 21 --canonical --table one.table -o one.tsv reads.fa more.fa.gz few.fa
  "$one" -q --workers 2 --memory 64MiB -k 7 -o few.tsv few.fa
  in_each kmers_resumed counting exchanging summing gathering writing
  for phase in counting exchanging summing gathering writing; do rm -r $phase; done
  in_each few_kmers_resumed summing gathering writing
}
case_a_rank_that_is_killed_leaves_its_super_k_mers_to_the_next_start_which_goes_on() {
  reads reads.fa 40000 120
  gzip -c genome.fa >more.fa.gz
  head -n 6 reads.fa >few.fa
  how=(--count occurrences)
  "$one" -q --workers 2 --memory 64MiB -k 21 --canonical "${how[@]}" --table one.table -o one.tsv reads.fa more.fa.gz few.fa
  "$one" -q --workers 2 --memory 64MiB -k 31 --canonical "${how[@]}" --min-count 2 -o lines.tsv reads.fa more.fa.gz
  in_each kmers_resumed counting exchanging summing gathering writing
  for phase in counting exchanging summing gathering writing; do rm -r $phase; done
  in_each lines_resumed exchanging summing gathering
}
case_a_count_that_other_inputs_or_other_ranks_ask_for_begins_anew() {
  reads reads.fa 4000 120
  killed_in 1 summing "$many" --workers 1 --memory 64MiB --resume -k 21 -o four.tsv reads.fa
  code=0
  SCRATCH_FAKE_NODES=1 ranks 3 -q --resume -k 21 -o four.tsv reads.fa 2>err || fail "three ranks"
  words | grep -q 'notice: a new start: 0 of 1 nodes have something of this job' || fail "other words: $(words)"
  "$one" -q --workers 2 --memory 64MiB -k 21 -o one.tsv reads.fa
  same one.tsv four.tsv
  nothing_of_sessions place
  killed_in 1 summing "$many" --workers 1 --memory 64MiB --resume -k 21 -o four.tsv reads.fa
  rm -r "$(find place -name 'session_*' -print -quit)"
  head -n 2000 reads.fa >less && mv less reads.fa
  ranks 4 -q --resume -k 21 -o four.tsv reads.fa 2>err || fail "other reads"
  words | grep -q 'notice: a new start: 0 of 2 nodes have something of this job' || fail "other words: $(words)"
  "$one" -q --workers 2 --memory 64MiB -k 21 -o one.tsv reads.fa
  same one.tsv four.tsv
  nothing_of_sessions place
  # The same counts, but other files between ranks.
  killed_in 1 summing "$many" --workers 1 --memory 64MiB --resume -k 21 --count occurrences --direct -o four.tsv reads.fa
  ranks 4 -q --resume -k 21 --count occurrences -o four.tsv reads.fa 2>err || fail "without --direct: $(words)"
  words | grep -q 'notice: a new start: 0 of 2 nodes have something of this job' || fail "other words: $(words)"
  "$one" -q --workers 2 --memory 64MiB -k 21 --count occurrences -o one.tsv reads.fa
  same one.tsv four.tsv
  nothing_of_sessions place
}

# gives_up_damage <file> <offset> <words> <program and arguments ...>: a byte of it is another; the next start says so, and
# the one behind it begins anew.
gives_up_damage() {
  local file=$1 offset=$2 said=$3 code=0
  shift 3
  printf x | dd of="$file" bs=1 seek="$offset" conv=notrunc 2>/dev/null
  mpirun -n 4 "$@" 2>err || code=$?
  [ $code != 0 ] || fail "$file is damaged, and all is well"
  words | grep -q 'notice: going on with what 2 nodes have' || fail "not gone on with: $(words)"
  words | grep -q "$said" || fail "other words: $(words)"
  mpirun -n 4 "$@" 2>err || fail "the start behind it"
  words | grep -q 'notice: a new start: 0 of 2 nodes have something of this job' || fail "not a new start: $(words)"
  nothing_of_sessions place
}
case_damage_that_a_start_goes_on_with_is_found_and_the_one_behind_it_is_new() {
  reads reads.fa 4000 120
  "$one" -q --workers 2 --memory 64MiB -k 21 -o one.tsv reads.fa
  local counting=("$many" --workers 1 --memory 64MiB -q --resume -k 21 -o four.tsv reads.fa)
  killed_in 1 summing "${counting[@]}"
  gives_up_damage "$(find place -name 'partition.*' | sort | head -n 1)" 2000 'checksum mismatch' "${counting[@]}"
  same one.tsv four.tsv
  # Super-k-mers of the rank that was killed: what came from the other node, and what the other rank of its own has for it.
  "$one" -q --workers 2 --memory 64MiB -k 21 --count occurrences -o one.tsv reads.fa
  counting+=(--count occurrences)
  local file
  for file in '*/rank_1/received/partition.1.from_W2' '*/rank_0/share/piece_0.lane_0'; do
    killed_in 1 summing "${counting[@]}"
    file=$(find place -path "$file")
    gives_up_damage "$file" $(($(stat -c %s "$file") * 3 / 8)) 'checksum mismatch' "${counting[@]}"
    same one.tsv four.tsv
  done
  records 20000
  "$sorting" sort -q -o one records
  local sorting_them=("$sort_on_many" sort --memory 32MiB -q --resume -o four records)
  killed_in 3 validation "${sorting_them[@]}"
  gives_up_damage "$(find place -path '*/output/part_0003')" 50 'does not hold the records' "${sorting_them[@]}"
  cmp <(cat one/part_*) <(cat four/part_*) >&2 || fail "other records, or another order"
}

# asked_to_stop_in <phase>: in the middle of what the library does there, the last rank for certain.
asked_to_stop_in() {
  local job pid code=0
  rm -rf four.*
  stopped_in 3 "$1" "$many" --workers 1 --memory 64MiB -k 21 "${how[@]}" -o four.tsv reads.fa
  # shellcheck disable=SC2046
  kill -TERM $(find place -name worker_health.csv -exec sed -n "s/.*Z,[0-3],[01],\([0-9]*\),$1,.*/\1/p" {} + | sort -u)
  kill -CONT "$pid"
  wait $job || code=$?
  [ $code != 0 ] && [ ! -e four.tsv ] || fail "$1: it was done"
  for node in 0 1; do
    grep -q -- '-> stopped, a signal' four.tsv.logs/node_$node/metrics/state_transitions.log || fail "$1: node $node"
    [ "$(wc -l <four.tsv.logs/node_$node/metrics/error_log.csv)" = 1 ] ||
      fail "$1: an error: node $node: $(cat four.tsv.logs/node_$node/metrics/error_log.csv)"
  done
  ! grep -r killed four.tsv.logs || fail "$1: somebody was killed"
  nothing_of_sessions place
}
# The others of those tests: nobody is said to be killed who was not, and nothing to have failed.
case_a_job_that_is_asked_to_stop_has_no_killed_rank_in_its_logs() {
  reads reads.fa 4000 120
  export OMPI_MCA_odls_base_sigkill_timeout=5  # it waits for so long: a second may be too short on a busy machine
  asked_to_stop_in counting
  asked_to_stop_in summing
  how=(--count occurrences)
  asked_to_stop_in counting
  asked_to_stop_in summing
}

# one_line <exit code> <words>
one_line() {
  [ "$code" = "$1" ] || fail "exit code $code"
  [ "$(words | wc -l)" = 1 ] || fail "not one line"
  words | grep -q -- "$2" || fail "other words: $(words)"
  [ ! -e four.tsv ] && [ ! -e four.table ] || fail "there is a result"
  nothing_of_sessions place
}
refused() {
  code=0
  "$@" >out 2>err || code=$?
}

case_ranks_with_other_arguments_are_one_line() {
  genome
  refused mpirun -n 3 "$many" -k 21 -o four.tsv genome.fa : -n 1 "$many" -k 22 -o four.tsv genome.fa
  one_line 2 'rank 3 was started with other arguments than rank 0'
}

case_what_is_wrong_is_one_line_from_one_rank() {
  reads reads.fa 400 120
  fastq reads.fa >whole.fq
  head -c -30 whole.fq >cut.fq
  : >empty.fa
  refused ranks 4 -o four.tsv nowhere.fa
  one_line 1 'cannot open "nowhere.fa": No such file'
  refused ranks 4 -o four.tsv cut.fq
  one_line 1 'rank 3 (.*): "cut.fq" is truncated'
  grep -q 'Z,3,1,counting,.*is truncated' four.tsv.logs/metrics/error_log.csv || fail "not in the log"
  refused ranks 4 -o four.tsv empty.fa
  one_line 1 '"empty.fa" is empty'
  refused ranks 4 -o four.tsv - </dev/null
  one_line 2 'ranks cannot share the standard input'
  refused ranks 4 -k 99 -o four.tsv reads.fa
  one_line 2 '-k: '
  refused ranks 4 -o nowhere/four.tsv reads.fa
  one_line 1 'nowhere/four.tsv'
  refused mpirun -n 4 "$sort_on_many" sort --place . --place .. -o four.tsv reads.fa
  one_line 2 '--place: a node has one place'
  refused mpirun -n 4 "$sort_on_many" sort --lines -o four.tsv - </dev/null
  one_line 2 'ranks cannot share the standard input'
  refused mpirun -n 4 "$sort_on_many" sort --record 64 --key 60:65 -o four.tsv reads.fa
  one_line 2 'the key ends at byte 65'
  refused mpirun -n 4 "$sort_on_many" sort -u -o four.tsv reads.fa
  one_line 2 '--lines'
  head -c 9000000 /dev/zero >long
  refused mpirun -n 4 "$sort_on_many" sort --lines --memory 24MiB -o four.tsv long
  one_line 1 'rank [0-3] (.*): .*long has a line of more than .*--memory'
}

case_a_node_without_room_is_one_line() {
  unshare $own_mounts true 2>/dev/null || { echo "skipped: nothing can be mounted"; exit 77; }
  if [ -z "${inside:-}" ]; then
    rm -r "$here"
    inside=1 TMPDIR=/tmp exec unshare $own_mounts --propagation private bash "$source/tests/programs/mpi/cases.sh" "${programs[@]}"
  fi
  reads reads.fa 20000 120
  mkdir small
  mount -t tmpfs -o size=3m none small
  trap 'umount "$here/small"; rm -rf "$here"' EXIT
  for need in 8MiB 1; do
    local options=(--workers 1 --memory 16MiB --need $need -k 31 --count occurrences -o four.tsv reads.fa)
    refused mpirun -n 2 "$many" "${options[@]}" : -n 2 env TMPDIR="$here/small" "$many" "${options[@]}"
    if [ $need = 1 ]; then
      one_line 1 'rank [23] (.*): .*No space left on device'
    else
      one_line 1 'rank 2 (.*): .*not enough free space'
    fi
    nothing_of_sessions small
  done
  grep -q 'Z,[23],[01],[a-z]*,.*"No space left on device"' four.tsv.logs/metrics/error_log.csv || fail "not in the log"
}

records() { "$sorting" generate --text -n "$1" -o records; }
sorts() { mpirun -n "$1" "$sort_on_many" sort --memory 32MiB "${@:2}" 2>err || fail "$*"; }
sorted_as_it_must_be() {
  [ -f expected ] || sort records >expected
  cat "$1"/part_* | cmp - expected || fail "other than sort"
  "$sorting" check "$1" >out || fail "not sorted"
}

case_four_ranks_sort_what_one_machine_sorts() {
  records 400000
  sorts 4 -o four records
  sorted_as_it_must_be four
  "$sorting" sort -q -o one records
  "$sorting" check one | grep -v partitions >one.seen
  "$sorting" check four | grep -v partitions >four.seen
  same one.seen four.seen
  grep '^rank ' err
  [ "$(grep -c '^rank [0-3]: peak .*; [1-9][0-9]* bytes sent; .* s of processor' err)" = 4 ] || fail "not a line of each rank"
  grep -q 'validation,3,1,' four.logs/metrics/phase_timings.csv || fail "no timing"
  SCRATCH_FAKE_NODES=3 sorts 3 --round 4096 --to-file -o file records
  same file expected
  "$sorting" generate --text --keys equal -n 20000 -o records
  rm expected
  SCRATCH_FAKE_NODES=5 sorts 5 -o equal records
  sorted_as_it_must_be equal
  "$sorting" generate --record 33 --key 20:29 -n 100000 -o records
  sorts 4 --record 33 --key 20:29 --to-file -o file records
  "$sorting" sort -q --record 33 --key 20:29 --to-file -o expected records
  same file expected
  # Lines: of usual lengths, of which some come again from another rank's share; and odd ones.
  "$sorting" generate --lines -n 150000 -o some.txt
  mkdir odd
  python3 -c '
import random
random.seed(3)
with open("odd/lines", "wb") as out:
    for _ in range(60000): out.write(bytes(random.choices(b"\0\r\xff ab", k=random.randint(0, 6))) + b"\n")
    for n in 300000, 300000, 2000000: out.write(b"a" * n + b"b\r\n")
    out.write(b"an end that lacks")'
  : >odd/none
  head -n 50000 some.txt >odd/more
  for options in '' -r -u '-r -u'; do
    LC_ALL=C sort $options odd/more odd/lines some.txt >expected
    sorts 4 --lines $options --to-file -o file some.txt odd
    same file expected
    [[ $options != *u* ]] || grep -q '^left out: [0-9]* lines that came before$' err || fail "nothing was left out"
  done
  grep -q '^lines: 260004$' err || fail "other lines: $(grep ^lines err)"
  sorts 4 --lines -o nothing odd/none
  [ "$(cat nothing/part_*)" = '' ] || fail "something of nothing"
  nothing_of_sessions place
}

# SCRATCH_IO is what these tests say otherwise.
case_files_of_ranks_that_stay_in_memory_go_through_the_page_cache() {
  local job pid asked engine
  records 20000
  sort records >expected
  for asked in '' uring; do
    export SCRATCH_IO=$asked
    engine=$([ -z "$asked" ] && echo posix || echo best)
    stopped_in 3 sorting "$sort_on_many" sort --memory 32MiB -q --to-file -o four records
    [ "$(find place -name metadata.json -exec grep -l "\"engine\":\"$engine\"" {} + | wc -l)" = 2 ] ||
      fail "not $engine: $(find place -name metadata.json -exec grep -o '"engine":"[a-z]*"' {} +)"
    kill -CONT "$pid"
    wait $job || fail "$engine: it failed"
    same four expected
    rm four
  done
}

# What is sent where all see the output, and where the second node does not; the same comes out.
case_ranks_that_see_the_output_put_their_parts_there_and_send_none() {
  unshare $own_mounts true 2>/dev/null || { echo "skipped: nothing can be mounted"; exit 77; }
  records 200000
  sort records >expected
  mkdir out
  local blind=(unshare $own_mounts --propagation private bash -c 'mount -t tmpfs none "$0" && exec "$@"' "$here/out")
  for kind in --to-file ''; do
    sorts 4 $kind -o out/seen records
    few=$(sent)
    mpirun -n 2 "$sort_on_many" sort --memory 32MiB $kind -o out/unseen records : \
      -n 2 "${blind[@]}" "$sort_on_many" sort --memory 32MiB $kind -o out/unseen records 2>err || fail "unseen: $(words)"
    much=$(sent)
    echo "sent of 20 MB: $few bytes, $much where two ranks do not see the output"
    [ "$few" -lt 11000000 ] || fail "half of the records were to be exchanged, and nothing else"
    [ "$much" -gt 18000000 ] || fail "the other node's parts were not sent"
    for sorted in out/seen out/unseen; do
      find $sorted -type f | sort | xargs cat | cmp - expected >&2 || fail "$sorted: other than sort"
    done
    grep -q '^delivering,3,1,.*,0,0,0$' out/unseen.logs/metrics/phase_timings.csv || fail "a rank put what it does not see"
    ! grep -q '^delivering,3,1,.*,0,0,0$' out/seen.logs/metrics/phase_timings.csv || fail "a rank put nothing"
    [ "$(find out -mindepth 1 -maxdepth 1 | wc -l)" = 4 ] || fail "something else is there: $(ls -a out)"
    rm -r out/*
  done
  sorts 4 --to-file -o out/packed.gz records
  gzip -dc out/packed.gz | cmp - expected >&2 || fail "other than sort"
  nothing_of_sessions place
}

# Room that goes when all have begun to put their parts there: what has no place is kept in one, whole.
case_an_output_without_room_for_one_rank_is_kept_whole() {
  unshare $own_mounts true 2>/dev/null || { echo "skipped: nothing can be mounted"; exit 77; }
  if [ -z "${inside:-}" ]; then
    rm -r "$here"
    inside=1 TMPDIR=/tmp exec unshare $own_mounts --propagation private bash "$source/tests/programs/mpi/cases.sh" "${programs[@]}"
  fi
  local job pid options
  records 200000
  sort records >expected
  for options in --to-file --resume '--to-file --resume'; do
    mkdir small
    mount -t tmpfs -o size=24m none small
    trap 'umount "$here/small"; rm -rf "$here"' EXIT
    # shellcheck disable=SC2086
    stopped_in 3 delivering "$sort_on_many" sort --memory 32MiB -q $options --logs logs -o small/sorted records
    dd if=/dev/zero of=small/filler bs=64K 2>/dev/null || true
    kill -CONT "$pid"
    code=0
    wait $job || code=$?
    [ "$code" = 1 ] || fail "$options: exit code $code"
    [ "$(words | grep -vc notice)" = 1 ] || fail "$options: not one line: $(words)"
    words | grep -q 'cannot write .*: No space left on device; it is kept as' || fail "$options: other words: $(words)"
    kept=$(words | sed -n 's/.*it is kept as //p')
    cat "$kept"/part_* | cmp - expected >&2 || fail "$options: not all of it is kept"
    [ ! -e small/sorted ] || fail "$options: there is a result"
    rm small/filler
    if [[ $options = *--resume ]]; then
      # shellcheck disable=SC2086
      mpirun -n 4 "$sort_on_many" sort --memory 32MiB -q $options --logs logs -o small/sorted records 2>err || fail "again: $(words)"
      words | grep -q 'notice: going on with what 2 nodes have' || fail "not gone on with: $(words)"
      find small/sorted -type f | sort | xargs cat | cmp - expected >&2 || fail "$options: other than sort"
      nothing_of_sessions place
    fi
    umount small
    rm -rf small place/*
  done
  trap 'rm -rf "$here"' EXIT
}

# Damage to a part of the last rank, before it reads that back: bytes from a place on are others.
damaged() {
  local job pid
  stopped_in 3 validation "$sort_on_many" sort --memory 32MiB "${@:2}" -o four.tsv records
  printf '\xff\xff\xff' | dd of="$(find place -path '*/output/part_0003')" bs=1 seek="$1" conv=notrunc 2>/dev/null
  kill -CONT "$pid"
  code=0
  wait $job || code=$?
}
case_a_part_that_is_damaged_is_noticed() {
  records 20000
  damaged 50
  one_line 1 'rank 0 (.*): the output does not hold the records of the input: 20000 with checksum .*, not 20000 with '
  damaged 5000
  one_line 1 'rank 0 (.*): the output is not sorted at record [1-9]'
  damaged 5000 --lines -u
  one_line 1 'rank 0 (.*): the output is not sorted at line [1-9]'
}

case_a_sort_takes_the_same_memory_for_more_records() {
  records 200000
  mpirun -n 4 "$sort_on_many" sort --memory 24MiB -o small records 2>err || fail "small"
  small=$(peak)
  records 1200000
  mpirun -n 4 "$sort_on_many" sort --memory 24MiB -o large records 2>err || fail "large"
  echo "peak of a rank: $small and $(peak) tenths of a MiB"
  [ "$(peak)" -le $((small + 80)) ] || fail "memory grew from $small to $(peak) tenths of a MiB"
  "$sorting" check large >out || fail "not sorted"
}

# sort_killed <phase> <rank> <phases done before> <options and input ...>
sort_killed() {
  local phase=$1
  killed_in "$2" "$phase" "$sort_on_many" sort --memory 32MiB --resume -o four "${@:4}"
  # When all is gathered the first rank needs no other one.
  [ ! -e four ] || [ "$phase" = delivering ] || fail "there is a result after a kill in $phase"
  found_in_three_logs "$phase" four.logs
  sorts 4 --resume -o four "${@:4}"
  words | grep -q 'notice: going on with what 2 nodes have' || fail "not gone on with: $(words)"
  for done_before in $3; do
    [ "$(grep -c -- "-> $done_before, done before" four.logs/metrics/state_transitions.log)" = 4 ] ||
      fail "$phase: $done_before once more"
  done
  cat four/part_* | cmp - ../expected || fail "other than sort after a kill in $phase"
}
early_sort_killed() { sort_killed "$1" "$2" '' ../records; }
late_sort_killed() {
  case $1 in
    sorting | output | validation) sort_killed "$1" "$2" 'sampling partitioning' --lines -u ../twice ;;
    *) sort_killed "$1" "$2" 'sampling partitioning' ../records ;;
  esac
}
file_killed() {
  killed_in 3 "$1" "$sort_on_many" sort --memory 32MiB --resume --to-file -o four.out ../records
  [ ! -e four.out ] || fail "there is a result after a kill in $1"
  sorts 4 --resume --to-file -o four.out ../records
  words | grep -q 'notice: going on with what 2 nodes have' || fail "not gone on with: $(words)"
  same four.out ../expected
}
case_a_rank_that_is_killed_leaves_its_sort_to_the_next_start_which_goes_on() {
  records 200000
  sort records >expected
  cat records records >twice
  in_each early_sort_killed sampling partitioning
  in_each late_sort_killed exchanging sorting output validation gathering delivering
  rm -r gathering delivering
  in_each file_killed gathering delivering
}

swept_sort() {
  killed_in 3 "$1" "$sort_on_many" sort --memory 32MiB -o four ../records
  [ ! -e four ] || fail "there is a result after a kill in $1"
  sorts 4 -q -o four ../records
  cat four/part_* | cmp - ../expected || fail "other than sort after a kill in $1"
}
case_a_sort_that_does_not_resume_sweeps_what_a_killed_one_left() {
  records 100000
  sort records >expected
  in_each swept_sort partitioning output
}

case_$case
