#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cases.sh <external_sort> <case>: one case; what it asserts is its name. Exit code 77: cannot run here.
program=$1
source=$(cd "$(dirname "$0")/../../.." && pwd)
. "$source/tests/programs/common.sh"

generate() { "$program" generate "$@"; }
sort_records() { "$program" sort -q "$@" 2>err || fail "external_sort sort $* exited with $?"; }

# refuses <words that the one line on stderr has> <arguments of sort ...>
refuses() {
  local words=$1 code=0
  shift
  "$program" sort -q "$@" >out 2>err || code=$?
  [ "$code" = 1 ] || fail "exit code $code, not 1, from: sort $*"
  [ "$(wc -l <err)" = 1 ] || fail "not one line on stderr"
  grep -q -- "$words" err || fail "nothing about: $words"
  [ ! -s out ] || fail "something on stdout"
  nothing_left
}

# Sorts records.txt and compares with the sort that everybody has.
agrees_with_sort() {
  sort_records "$@" -o sorted records.txt
  sort records.txt >expected
  cat sorted/part_* | cmp - expected || fail "other than LC_ALL=C sort: $*"
  [ -z "$(ls -A sorted | grep -v '^part_')" ] || fail "more than parts in the output: $(ls -A sorted)"
  nothing_left
  rm -r sorted
}

case_text_records_come_out_as_from_sort() {
  generate -n 200000 --text -o records.txt
  agrees_with_sort
  agrees_with_sort --workers 1
  agrees_with_sort --workers 3 --place shm
  agrees_with_sort --workers 5 --memory 64MiB --place "$here/elsewhere"
}

case_little_memory_takes_many_partitions() {
  generate -n 300000 --text -o records.txt
  agrees_with_sort --memory 24MiB --workers 2
  "$program" sort --memory 24MiB -o sorted records.txt 2>err
  [ "$(ls sorted | wc -l)" = 8 ] || fail "$(ls sorted | wc -l) partitions"
}

case_memory_stays_within_what_was_given() {
  generate -n 1500000 -o records
  for memory in 32 64 128; do
    for how in '--workers 2' '--workers 3' '--workers 2 --place shm'; do
      # shellcheck disable=SC2086
      "$program" sort --memory ${memory}MiB $how -o sorted records 2>err || fail "exit code $?"
      peak=$(sed -n 's/^peak memory \([0-9]*\).* MiB/\1/p' err)
      [ "$peak" -lt $memory ] || fail "peak memory of $peak MiB with --memory ${memory}MiB $how"
      rm -r sorted
    done
  done
}

case_equal_and_few_keys_are_sorted_by_what_follows_them() {
  for keys in equal few ascending descending; do
    generate -n 150000 --text --keys $keys -o records.txt
    agrees_with_sort
    agrees_with_sort --memory 24MiB
  done
}

# equal_records <thousands>: one record, again and again.
equal_records() {
  generate -n 1 --text -o one
  yes "$(cat one)" | head -n "${1}000" >records.txt
}

# One partition gets all of them: it is sorted in chunks, which are merged in several rounds.
case_equal_records_are_sorted() {
  equal_records 150
  agrees_with_sort --memory 24MiB
}

case_one_record_and_a_few_are_sorted() {
  for n in 1 2 3 7; do
    generate -n $n --text -o records.txt
    agrees_with_sort --workers 4
  done
}

case_binary_records_come_out_in_order_and_complete() {
  generate -n 100000 --seed 7 -o records
  sort_records -o sorted records
  [ "$("$program" check --any-order records)" = "$("$program" check sorted | grep -v '^sorted')" ] ||
    fail "other records in the output than in the input"
  "$program" check sorted | grep -q '^sorted' || fail "not sorted"
  "$program" check records >out && fail "the input passes for sorted" || [ $? = 3 ] || fail "not exit code 3"
  grep -q '^not sorted: record' out || fail "no word about which record"
  nothing_left
}

# Each worker writes to files of all partitions at once, and as many workers read them: their product is what a limit meets.
case_fewer_open_files_mean_fewer_workers_and_a_word() {
  generate -n 200000 --text -o records.txt
  sort records.txt >expected
  for limit in 64 128 256 1024; do
    for how in '--workers 31 --memory 512MiB' '--workers 64 --memory 1GiB' '--workers 5 --memory 64MiB'; do
      # shellcheck disable=SC2086
      (ulimit -n $limit && exec "$program" sort -q $how -o sorted records.txt) 2>err || fail "exit code $? with $how, $limit files"
      cat sorted/part_* | cmp - expected || fail "other than sort: $how, $limit files"
      rm -r sorted
      [ "$how" = '--workers 64 --memory 1GiB' ] || continue
      grep -q 'workers instead of 64: ' err || fail "no word about fewer workers, $limit files"
      [ $limit != 64 ] || grep -q 'workers instead of 64: .*ulimit -n' err || fail "other words: $(cat err)"
    done
  done
  nothing_left
}

# lines_agree <file or directory> <what cat makes of it> <arguments of sort ...>: equal to LC_ALL=C sort, -r, -u and -ru.
lines_agree() {
  local input=$1 text=$2
  shift 2
  for how in '' -r -u -ru; do
    # shellcheck disable=SC2086
    sort $how "$text" >expected
    # shellcheck disable=SC2086
    sort_records --lines $how "$@" --to-file -o sorted "$input"
    cmp sorted expected || fail "other than LC_ALL=C sort $how of $text: $*"
    rm sorted
  done
  nothing_left
}

case_odd_lines_come_out_as_from_sort() {
  : >empty
  printf 'one' >one
  printf '\n' >newline
  printf '\n\n\na\n\n' >empty_lines
  printf 'b\na' >no_end
  printf 'a\r\na\n\r\nb\r\nb' >crlf
  printf 'a\0b\na\na\0\n\0\n\0\0\na\0a\n' >nul
  printf '\377\n\377\377\n\376\n\200\n\177\n\001\na\n' >high
  printf 'aaaaaaaa\naaaaaaaaa\naaaaaaaa\0\naaaaaaa\naaaaaaaab\n' >begin_alike
  yes same | head -n 30000 >equal
  for name in empty one newline empty_lines no_end crlf nul high begin_alike equal; do
    lines_agree $name $name
    lines_agree $name $name --workers 5 --memory 64MiB
  done
}

case_lines_of_all_lengths_come_out_as_from_sort() {
  generate -n 150000 --lines -o lines
  lines_agree lines lines
  lines_agree lines lines --memory 24MiB --workers 2
  lines_agree lines lines --processes --workers 3
  lines_agree lines lines --place shm --workers 1
  generate -n 100000 --lines --keys few | cut -c 1-11 >few
  lines_agree few few --memory 24MiB
  seq 400000 | sed 's|^|https://example.org/one/way/to/|' >alike
  lines_agree alike alike --memory 24MiB
  seq 300000 | sed 's/.*//' >empty_lines
  lines_agree empty_lines empty_lines --memory 24MiB
}

case_the_commands_of_the_readme_do_what_it_says() {
  mkdir more disk1 disk2
  generate -n 2000 --lines -o words.txt
  generate -n 2000 --lines --seed 2 -o more/others.txt
  tail -n 1000 more/others.txt >>words.txt
  generate -n 5000 --record 64 --key 8:16 -o records
  PATH=$(dirname "$program"):$PATH sh -e "$source/examples/sort.sh" >out 2>err || fail "exit code $?"
  sort words.txt more/others.txt | cmp - sorted.txt || fail "other lines"
  sort -ru words.txt | cmp - <(gzip -dc unique.gz) || fail "other unique lines"
  [ "$(sed -n '1p;$p' out)" = "records: 5000
sorted" ] || fail "check says something else"
  nothing_left
}

case_the_help_has_examples_that_are_taken() {
  "$program" --help | sed -n '/^Examples:/,$p' | grep '^  ' >examples
  [ "$(wc -l <examples)" = 4 ] || fail "not four examples"
  mkdir -p bin more disk1 disk2
  ln -s "$program" bin/external_sort
  generate -n 100 --lines -o words.txt
  cp words.txt more
  cp words.txt access.log
  generate -n 100 --record 64 -o records
  PATH=$here/bin:$PATH
  sed "s|/disk|$here/disk|g" examples | sh -e >out 2>err || fail "exit code $?"
  sort -r words.txt more/words.txt | cmp - sorted.txt || fail "other lines"
  sed 's/ .*//' access.log | sort -u | cmp - <(gzip -dc addresses.gz) || fail "other addresses"
  tail -n 1 out | grep -q '^sorted$' || fail "not sorted"
}

# A few are longer than anything that is read or written at once, and than what a worker sorts at a time elsewhere.
case_lines_longer_than_a_chunk_come_out_as_from_sort() {
  generate -n 30000 --lines -o lines
  for size in 70000 300000 1100000 2000000; do
    for letter in a b; do
      head -c $size /dev/zero | tr '\0' $letter
      echo $size
    done
  done >>lines
  lines_agree lines lines --memory 48MiB
  head -c 1500000 /dev/zero | tr '\0' a >one
  lines_agree one one --memory 48MiB
  lines_agree one one --memory 64MiB --workers 4
}

case_a_line_that_memory_does_not_hold_is_refused_with_the_option_that_helps() {
  generate -n 1000 --lines -o lines
  { head -c 20000000 /dev/zero | tr '\0' a; echo; } >>lines
  refuses 'lines has a line of more than .* (--memory, --workers)' --lines --memory 24MiB -o sorted lines
  [ ! -e sorted ] || fail "an output directory is left"
  lines_agree lines lines --memory 256MiB
}

case_lines_of_files_without_an_end_stay_lines_of_their_own() {
  mkdir -p in/a in/b
  printf 'b\nc' >in/a/one
  printf 'a' >in/b/two
  : >in/empty
  printf 'z\n' >in/three
  printf 'a\nb\nc\nz\n' >expected
  for workers in 1 2 5; do
    sort_records --lines --workers $workers --memory 64MiB --to-file -o sorted in
    cmp sorted expected || fail "other lines with $workers workers"
    rm sorted
  done
  nothing_left
}

case_lines_go_to_parts_to_a_file_and_to_stdout() {
  generate -n 60000 --lines -o lines
  sort lines >expected
  sort_records --lines -o sorted lines
  cat sorted/part_* | cmp - expected || fail "other parts"
  "$program" check --lines sorted >out || fail "check does not find it sorted"
  grep -q '^lines: 60000$' out && grep -q '^sorted$' out || fail "check says something else"
  sort_records --lines -o - lines >stdout
  cmp stdout expected || fail "other bytes on stdout"
  sort_records --lines --to-file -o sorted.gz lines
  gzip -dc sorted.gz | cmp - expected || fail "other bytes in gzip"
  nothing_left
  mkdir empty
  : >nothing
  sort_records --lines -o none nothing
  [ "$(ls -A none)" = part_0000 ] && [ ! -s none/part_0000 ] || fail "not one empty part of no lines"
  "$program" sort --lines -o x.gz lines >out 2>err && fail "a directory called .gz" || [ $? = 2 ] || fail "not exit code 2"
  grep -q 'with --to-file' err || fail "no word about --to-file"
}

case_the_standard_input_is_sorted() {
  generate -n 60000 --lines -o lines
  sort lines >expected
  sort_records --lines --to-file -o sorted - <lines
  cmp sorted expected || fail "other lines"
  # shellcheck disable=SC2002
  cat lines | "$program" sort -q --lines -o - - >stdout || fail "exit code $?"
  cmp stdout expected || fail "other lines of a pipe"
  "$program" sort -q --lines --processes -o - - </dev/null >stdout || fail "exit code $?"
  [ ! -s stdout ] || fail "lines of nothing"
  generate -n 1000 --text | "$program" sort -q -o records - || fail "exit code $?"
  "$program" check records | grep -q '^records: 1000$' || fail "other records"
  nothing_left
  "$program" sort --lines --resume -o never - <lines >out 2>err && fail "--resume of stdin" || [ $? = 2 ] || fail "not exit code 2"
  grep -q 'through stdin' err || fail "no word about stdin"
  refuses 'quota' --lines --quota 1MiB -o never - <lines
}

# What was left out is part of what is compared with the input.
case_unique_lines_are_validated_with_those_that_were_left_out() {
  generate -n 200000 --lines --keys few | cut -c 1-12 >lines
  sort -u lines >expected
  "$program" sort --lines -u --memory 24MiB -o sorted lines 2>err || fail "exit code $?"
  cat sorted/part_* | cmp - expected || fail "other than sort -u"
  n=$(wc -l <expected)
  grep -q "^left out: $((200000 - n)) lines\? that came before" err || fail "no word about those that were left out"
  grep -q "^validated: $n lines\? in order.*with what was left out that of the input; 0 duplicate" err || fail "not validated"
  "$program" check --lines -u sorted | grep -q '^sorted' || fail "check -u finds it unsorted"
  cat expected expected | sort >twice
  "$program" check --lines twice | grep -q '^sorted' || fail "check finds it unsorted"
  "$program" check --lines -u twice >out && fail "equal lines pass for unique" || [ $? = 3 ] || fail "not exit code 3"
  tac expected >backwards
  "$program" check --lines -r backwards | grep -q '^sorted' || fail "check -r finds it unsorted"
  nothing_left
}

case_memory_stays_within_what_was_given_for_lines() {
  generate -n 1500000 --lines -o lines
  seq 20000000 | cut -c 1-2 >short
  for memory in 32 64 128; do
    for how in '--workers 2' '--workers 3' '--workers 2 -u' '--workers 2 --place shm'; do
      for input in lines short; do
        # shellcheck disable=SC2086
        "$program" sort --lines --memory ${memory}MiB $how -o sorted $input 2>err || fail "exit code $?"
        peak=$(sed -n 's/^peak memory \([0-9]*\).* MiB/\1/p' err)
        [ "$peak" -lt $memory ] || fail "peak memory of $peak MiB with --memory ${memory}MiB $how of $input"
        rm -r sorted
      done
    done
  done
}

# sort_keyed <record> <from> <to>: by the key, and then by all bytes, in hexadecimal, which has their order.
sort_keyed() {
  xxd -p -c "$1" records | awk -v a="$2" -v b="$3" '{ print substr($0, 2 * a + 1, 2 * (b - a)), $0 }' | sort |
    sed 's/.* //' | xxd -r -p
}

case_records_of_any_size_are_sorted_by_a_key_at_any_place() {
  need_program xxd
  for format in '8 0 8' '16 8 16' '100 20 60' '200 3 4' '1 0 1' '5000 4000 4100'; do
    # shellcheck disable=SC2086
    set -- $format
    for keys in random few; do
      generate -n 20000 --record $1 --key "$2:$3" --keys $keys -o records
      [ "$(stat -c %s records)" = $((20000 * $1)) ] || fail "not 20000 records of $1 bytes"
      sort_keyed "$@" >expected
      sort_records --record $1 --key "$2:$3" --memory 24MiB -o sorted records
      cat sorted/part_* | cmp - expected || fail "other than sort: records of $1, key $2:$3, $keys"
      "$program" check --record $1 --key "$2:$3" sorted | grep -q '^sorted' || fail "check finds them unsorted"
      rm -r sorted
    done
  done
  nothing_left
}

case_a_format_that_cannot_be_is_a_wrong_command_line() {
  generate -n 10 -o records
  wrong() {
    local words=$1 code=0
    shift
    "$program" sort -o sorted "$@" records >out 2>err || code=$?
    [ $code = 2 ] && [ "$(wc -l <err)" = 1 ] || fail "exit code $code, or not one line: $*"
    grep -q -- "$words" err || fail "nothing about $words"
  }
  for key in 10 5:5 7:3 :5 5: a:b -1:5 1:2:3 0x0:5; do wrong '--key: .* is no place: A:B' "--key=$key"; done
  wrong 'the key ends at byte 200, and a record has 100 (--record)' --key 0:200
  wrong '--record' --record 0
  wrong '--lines' --lines --record 10
  wrong '--lines' --lines --key 0:5
  wrong '--lines' -r
  wrong '--lines' -u
  refuses 'does not hold whole records of 300 bytes: 1000 bytes are 3 records and 100 bytes' --record 300 -o sorted records
  head -c 4000000 /dev/zero >large
  refuses 'too little memory: a worker has .* needs that of four records, 7.6 MiB (--memory, --workers)' \
    --record 2000000 --memory 24MiB -o sorted large
}

case_directories_are_read_with_all_below() {
  mkdir -p in/a/b in/c
  generate -n 3000 --text --seed 1 -o in/top
  generate -n 5000 --text --seed 2 -o in/a/b/deep
  generate -n 1 --text --seed 3 -o in/c/one
  : >in/c/empty
  generate -n 100 --text --seed 4 -o beside
  cat in/top in/a/b/deep in/c/one beside >records.txt
  sort records.txt >expected
  sort_records -o sorted in beside
  cat sorted/part_* | cmp - expected || fail "other than sort"
}

case_worker_processes_exchange_partitions() {
  generate -n 200000 --text -o records.txt
  agrees_with_sort --processes --workers 2
  agrees_with_sort --processes --workers 3
  generate -n 100000 --text --keys equal -o records.txt
  agrees_with_sort --processes --workers 2 --memory 48MiB
}

# What finished phases leave is looked at in a kept session.
case_partitions_arrive_under_both_forms_of_name() {
  generate -n 20000 --text -o records.txt
  for how in --processes ''; do
    SCRATCH_KEEP=1 sort_records $how --workers 3 --keep-finished -o sorted records.txt
    ls place/*/session_*/finished >names
    for name in sample.0 sample.2 splitters partition.0 partition.0.from_W1 partition.0.from_W2 partition.1 \
      partition.1.from_W0 partition.2.from_W1; do
      grep -qx "$name" names || fail "no $name among $(tr '\n' ' ' <names)"
    done
    grep -qx "partition.0.from_W0" names && fail "its own partition came from itself"
    rm -r sorted place/*
  done
}

case_each_phase_cleans_up_after_itself() {
  generate -n 50000 --text -o records.txt
  "$program" sort -o sorted records.txt 2>err
  # The report after the phase, up to its total: the areas before it are empty.
  empty_after() {
    sed -n "/^$1: /,/^total/p" err | grep -Eq "^$2 +0 " || fail "$2 is not empty after $1"
  }
  empty_after partitioning sampling
  empty_after received partitioning
  empty_after sorting received
  empty_after output sorting
  empty_after persist output
  sed -n '/^output: /,/^total/p' err | grep -Eq '^total .* 4\.8 MiB' || fail "not just the output after the last phase"
}

case_the_preflight_says_what_is_needed_and_how_that_was_reckoned() {
  generate -n 50000 --text -o records.txt
  "$program" sort -o sorted records.txt 2>err
  grep -Eq '^need .* = partitions 4\.8 MiB \+ being sorted .* \+ samples ' err || fail "no breakdown"
  grep -Eq '^after sampling: need ' err || fail "no second breakdown"
}

# The quota is what the breakdown says: it holds through all phases.
case_the_need_is_enough() {
  generate -n 150000 --text -o records.txt
  need=$("$program" sort --memory 24MiB -o sorted records.txt 2>&1 >/dev/null |
    sed -n 's/^need \([0-9.]*\) MiB = .*/\1/p')
  rm -r sorted
  agrees_with_sort --memory 24MiB --quota "$(awk "BEGIN { print int($need * 1048576 * 1.01) }")"
  equal_records 150
  agrees_with_sort --memory 24MiB --quota 32MiB
}

case_a_full_place_frees_what_finished_phases_left() {
  generate -n 200000 --text -o records.txt
  "$program" sort --memory 24MiB --quota 32MiB --keep-finished -o sorted records.txt 2>err || fail "exit code $?"
  grep -q '^freed .* of finished phases' err || fail "nothing was freed"
  sort records.txt | cmp - <(cat sorted/part_*) || fail "other than sort"
  nothing_left
  rm -r sorted
  sort_records --memory 48MiB --quota 32MiB --keep-finished --processes -o sorted records.txt
  sort records.txt | cmp - <(cat sorted/part_*) || fail "other than sort"
}

case_low_space_is_noticed_while_sorting() {
  generate -n 1000000 --text -o records.txt
  "$program" sort --low-space 1024TiB -o sorted records.txt 2>err || fail "exit code $?"
  grep -q '^only .* left' err || fail "no word about the space"
  rm -r sorted
  "$program" sort --low-space 1 -o sorted records.txt 2>err || fail "exit code $?"
  grep -q '^only .* left' err && fail "one byte is not low" || true
}

case_metrics_tell_seconds_and_bytes_of_each_phase() {
  generate -n 20000 --text -o records.txt
  sort_records --workers 2 --metrics metrics.csv -o sorted records.txt
  [ "$(head -n 1 metrics.csv)" = phase,worker,seconds,records,bytes_read,bytes_written ] || fail "header"
  for phase in sampling partitioning received sorting output; do
    [ "$(grep -c "^$phase,W[01]," metrics.csv)" = 2 ] || fail "$phase: not a line for each worker"
    grep -Eq "^$phase,all,[0-9.e-]+," metrics.csv || fail "$phase: no line for all"
  done
  for line in 'partitioning,all,[^,]*,20000,2000000,2000000' 'sorting,all,[^,]*,20000,2000000,2000000' \
    'persist,all,' 'validation,all,[^,]*,20000,2000000,0'; do
    grep -Eq "^$line" metrics.csv || fail "no line $line in $(cat metrics.csv)"
  done
  [ -z "$(find . -maxdepth 1 -name '.scratch*')" ] || fail "records of the library beside the metrics"
}

case_a_killed_worker_is_named_and_nothing_is_left() {
  generate -n 2000000 -o records
  for attempt in $(seq 20); do
    rm -rf sorted
    "$program" sort -q --processes --workers 2 --memory 48MiB -o sorted records 2>err &
    parent=$!
    sleep 0.0$((attempt % 10))
    # Workers of the first phases live for milliseconds: whoever is found may be gone already.
    while kill -0 $parent 2>/dev/null; do
      worker=$(pgrep -P $parent | head -n 1) || true
      [ -z "$worker" ] || ! kill -9 "$worker" 2>/dev/null || break
    done
    code=0
    wait $parent || code=$?
    [ $code != 0 ] || continue # that worker had ended, and was not waited for yet
    [ $code = 1 ] || fail "exit code $code"
    [ "$(wc -l <err)" = 1 ] || fail "not one line on stderr"
    grep -Eq 'worker [01] \([a-z]+\) was killed by signal 9' err || fail "nothing about the worker"
    nothing_left
    [ ! -e sorted ] || fail "an output directory is left"
    [ -z "$(pgrep -f "$here" || true)" ] || fail "a worker still runs"
    return
  done
  fail "no worker could be killed in time"
}

case_a_killed_sort_is_swept_by_the_next_one() {
  generate -n 1000000 -o records
  "$program" sort -q -o never records 2>/dev/null &
  parent=$!
  for _ in $(seq 1000); do
    [ -z "$(find place -name splitters)" ] || break
    sleep 0.005
  done
  kill -9 $parent
  wait $parent 2>/dev/null || true
  [ -n "$(find place -name 'session_*')" ] || fail "killed too late to leave anything"
  generate -n 10 -o few
  sort_records -o sorted few
  nothing_left
}

case_a_damaged_output_would_be_noticed() {
  generate -n 1000 --text -o records
  sort_records -o sorted records
  "$program" check sorted >before
  part=sorted/part_0000
  tail -c 100 $part >last
  head -c -100 $part >most
  cat last most >$part
  "$program" check sorted >after && fail "a moved record passes" || true
  cmp <(head -n 2 before) <(head -n 2 after) || fail "moving a record changes the checksum"
  cat most >$part
  "$program" check sorted >after || true
  grep '^checksum' before | cmp -s - <(grep '^checksum' after) && fail "a lost record passes" || true
}

case_a_missing_input_is_refused() {
  refuses 'cannot read missing: No such file' -o sorted missing
  generate -n 10 -o there
  refuses 'cannot read missing: No such file' -o sorted there missing
  [ ! -e sorted ] || fail "an output directory is left"
}

case_an_empty_input_is_refused() {
  : >empty
  mkdir nothing
  refuses 'nothing to sort' -o sorted empty
  refuses 'nothing to sort' -o sorted nothing
  [ ! -e sorted ] || fail "an output directory is left"
}

case_a_wrong_record_size_is_refused() {
  head -c 1050 /dev/zero >odd
  mkdir in
  generate -n 5 -o in/good
  cp odd in/odd
  refuses 'odd does not hold whole records of 100 bytes: 1050 bytes are 10 records and 50 bytes' -o sorted odd
  refuses 'in/odd does not hold whole records' -o sorted in
  [ ! -e sorted ] || fail "an output directory is left"
}

case_an_input_that_is_no_file_is_refused() {
  mkfifo pipe
  refuses 'not a file or a directory' -o sorted pipe
}

case_an_unwritable_output_is_refused() {
  generate -n 10 -o records
  : >file
  refuses 'cannot make the output directory .*/file' -o file records
  refuses 'cannot make the output directory' -o missing/below records
  refuses 'cannot make the output directory' -o /proc/sorted records
  [ "$(ls -A | grep -Evx 'err|out|place|records|file' || true)" = "" ] || fail "left: $(ls -A)"
}

case_an_unwritable_place_is_refused() {
  generate -n 10 -o records
  : >file
  refuses '/proc/scratch' --place /proc/scratch -o sorted records
  local code=0
  "$program" sort -q --place nowhere -o sorted records 2>err || code=$?
  [ "$code" = 2 ] || fail "exit code $code for a word that is no place"
  grep -q '"nowhere" is neither shm, tmp nor a directory that is there' err || fail "other words"
  [ ! -e nowhere ] || fail "it is there now"
  refuses '/file' --place "$here/file" -o sorted records
  mkdir open_to_all
  chmod 777 open_to_all
  refuses 'cannot be trusted' --place "$here/open_to_all" -o sorted records
  [ ! -e sorted ] || fail "an output directory is left"
}

case_a_place_that_cannot_be_swept_is_said_and_the_work_goes_on() {
  need_program flock
  generate -n 1000 -o records
  mkdir -m 700 root
  flock root "$program" sort -q --place "$here/root" -o sorted records 2>err || fail "exit code $?"
  [ "$(wc -l <err)" = 1 ] && grep -q 'notice: what earlier runs left stays: .*/root' err || fail "not one line about it"
  [ -z "$(ls -A root)" ] || fail "left: $(ls -A root)"
}

case_an_output_with_parts_in_it_is_refused_and_unchanged() {
  generate -n 10 -o records
  mkdir sorted
  echo mine >sorted/part_0000
  refuses 'has parts in it already' -o sorted records
  [ "$(cat sorted/part_0000)" = mine ] || fail "it was changed"
}

case_other_files_in_the_output_directory_stay() {
  generate -n 1000 --text -o records.txt
  mkdir sorted
  echo mine >sorted/readme
  sort_records -o sorted records.txt
  sort records.txt | cmp - <(cat sorted/part_*) || fail "other than sort"
  [ "$(cat sorted/readme)" = mine ] || fail "it was changed"
}

case_too_little_memory_is_refused() {
  generate -n 10 -o records
  refuses 'too little memory: 16.0 MiB, and a worker needs 21.0 MiB (--memory)' --memory 16MiB -o sorted records
  [ ! -e sorted ] || fail "an output directory is left"
}

case_too_small_a_quota_is_refused_before_anything_is_written() {
  generate -n 100000 -o records
  refuses 'too little space: the quota is 4.0 MiB, needed are' --quota 4MiB -o sorted records
  equal_records 150
  refuses 'keys are so alike that' --quota 24MiB --memory 24MiB -o sorted records.txt
  [ ! -e sorted ] || fail "an output directory is left"
}

need_namespaces() {
  unshare --mount --map-root-user true 2>/dev/null || { echo "skipped: no mount namespaces"; exit 77; }
}

# on_tiny_tmpfs <size> <commands>: mounts one at ./tiny, seen by nobody else.
on_tiny_tmpfs() {
  mkdir -p tiny
  local size=$1
  shift
  need_namespaces
  export -f refuses fail nothing_left sort_records
  export program here
  unshare --mount --map-root-user bash -euc "mount -t tmpfs -o size=$size,mode=700 tmpfs tiny || exit 77; $*"
}

case_too_small_a_place_is_refused() {
  generate -n 100000 -o records
  on_tiny_tmpfs 4m 'refuses "not enough free space.*needed, 4.0 MiB free" --place "$here/tiny" -o sorted records
    [ -z "$(ls -A tiny)" ] || fail "left: $(ls -A tiny)"'
  [ ! -e sorted ] || fail "an output directory is left"
}

case_too_small_an_output_directory_is_refused() {
  generate -n 100000 -o records
  on_tiny_tmpfs 4m 'refuses "not enough free space.*9.5 MiB needed, 4.0 MiB free" -o tiny/sorted records
    [ -z "$(ls -A tiny)" ] || fail "left: $(ls -A tiny)"'
}

# The output lies on another file system: parts are copied there.
case_output_on_another_file_system_is_complete() {
  generate -n 100000 --text -o records.txt
  on_tiny_tmpfs 16m 'sort_records -o tiny/sorted records.txt
    sort records.txt | cmp - <(cat tiny/sorted/part_*) || fail "other than sort"
    nothing_left'
}

# Somebody takes the room that the preflight found.
case_a_place_that_fills_up_while_sorting_leaves_nothing() {
  generate -n 150000 -o records
  on_tiny_tmpfs 24m '(for i in $(seq 4000); do
      [ -z "$(find tiny -name splitters 2>/dev/null)" ] || { head -c 8m /dev/zero >tiny/hog 2>/dev/null; break; }
    done) & code=0
    "$program" sort -q --place "$here/tiny/place" --memory 24MiB -o sorted records 2>err || code=$?
    wait
    [ $code = 0 ] && exit 0
    [ "$(wc -l <err)" = 1 ] || fail "not one line on stderr"
    grep -q "No space left\|not enough free space" err || fail "nothing about space"
    [ -z "$(find tiny -name "session_*")" ] || fail "a session is left"
    [ ! -e sorted ] || fail "an output directory is left"'
}

# in_places <number of places>: the options that name them.
in_places() {
  for i in $(seq "$1"); do echo "--place $here/disk$i"; done
}

case_files_that_stay_in_memory_go_through_the_page_cache() {
  unset SCRATCH_IO
  generate -n 1000 --text -o records.txt
  for how in '' --processes; do
    "$program" sort $how -o sorted records.txt 2>err || fail "exit code $?"
    grep -q 'engine posix, through the page cache: its files stay in memory' err || fail "another engine"
    cmp <(cat sorted/part_*) <(sort records.txt) || fail "other than sort"
    rm -r sorted
    SCRATCH_IO=uring "$program" sort $how -o sorted records.txt 2>err || fail "exit code $?"
    ! grep -q 'page cache' err || fail "not as the user says"
    rm -r sorted
  done
}

case_several_places_get_equal_shares() {
  generate -n 300000 --text -o records.txt
  generate -n 300000 --lines -o lines
  for n in 2 3; do
    for how in '' --processes; do
      # shellcheck disable=SC2046,SC2086
      agrees_with_sort $(in_places $n) --memory 64MiB $how
      # shellcheck disable=SC2046,SC2086
      lines_agree lines lines $(in_places $n) --memory 64MiB $how
    done
    # shellcheck disable=SC2046
    SCRATCH_KEEP=1 sort_records $(in_places $n) --memory 64MiB --keep-finished --no-validate --to-file -o sorted records.txt
    for area in output/part_ finished/partition.; do
      for i in $(seq $n); do du -cb "disk$i"/session_*/$area* | tail -n 1 | cut -f 1; done | sort -n >bytes
      [ "$(head -n 1 bytes)" -gt 0 ] && [ "$(tail -n 1 bytes)" -lt $(($(head -n 1 bytes) * 5 / 4)) ] ||
        fail "not balanced in $area: $(tr '\n' ' ' <bytes)"
    done
    cmp sorted <(sort records.txt) || fail "other than sort"
    rm -r sorted disk?
  done
}

case_two_places_on_one_device_are_noticed_and_two_names_of_one_refused() {
  generate -n 1000 --text -o records.txt
  # shellcheck disable=SC2046
  sort_records $(in_places 2) -o sorted records.txt
  [ "$(wc -l <err)" = 1 ] && grep -q 'notice: .*disk2 is on the device of .*disk1' err || fail "not one line about it"
  rm -r sorted
  refuses 'two have the name\|is named twice\|one directory' --place "$here/disk1" --place "$here/disk1" -o sorted records.txt
  [ ! -e sorted ] || fail "an output directory is left"
}

# One of two is too small: what it cannot take goes to the other, or the job ends with one line and leaves nothing.
case_a_place_that_fills_up_or_goes_leaves_a_whole_output_or_one_line() {
  generate -n 300000 --text -o records.txt
  sort records.txt >expected
  need_namespaces
  export -f fail
  export program here
  for size in 5m 8m 12m 16m 20m 40m; do
    for how in 'true' 'head -c 64m /dev/zero >tiny/hog' 'mount -o remount,bind,ro tiny'; do
      unshare --mount --map-root-user bash -euc '
        mkdir -p tiny large
        mount -t tmpfs -o size=$0,mode=700 tmpfs tiny || exit 77
        (for i in $(seq 2000); do
          [ -z "$(find large tiny -name splitters 2>/dev/null)" ] || { eval "$1" 2>/dev/null; break; }
        done) &
        code=0
        "$program" sort -q --place "$here/tiny/place" --place "$here/large" --memory 32MiB -o sorted records.txt 2>err || code=$?
        wait
        grep -v "notice: " err >words || true
        if [ $code = 0 ]; then
          cat sorted/part_* | cmp - expected || fail "other than sort: $0, $1"
          [ ! -s words ] || fail "words"
        else
          [ $code = 1 ] && [ "$(wc -l <words)" = 1 ] || fail "exit code $code, or not one line: $0, $1"
          [ ! -e sorted ] || fail "an output directory is left"
        fi
        [ "$1" = true ] || mount -o remount,bind,rw tiny
        left=$(find large tiny/place -name "session_*" 2>/dev/null || true)
        [ "${1#mount}" != "$1" ] || [ -z "$left" ] || fail "left: $left, $0, $1"
        echo "$0 $1: $code" >>ends' $size "$how"
      rm -rf sorted large
    done
  done
  grep -q ': 0$' ends && grep -q ': 1$' ends || fail "not both ends: $(cat ends)"
}

# A place that gets too small for more goes on to be read.
case_what_one_place_cannot_take_goes_to_the_others() {
  generate -n 300000 --text -o records.txt
  sort records.txt >expected
  need_namespaces
  export -f fail
  export program here
  unshare --mount --map-root-user bash -euc '
    mkdir tiny large
    mount -t tmpfs -o size=3m,mode=700 tmpfs tiny || exit 77
    for how in "" --processes; do
      "$program" sort -q --place "$here/tiny/place" --place "$here/large" $how --memory 64MiB -o sorted records.txt 2>err ||
        fail "exit code $?"
      cat sorted/part_* | cmp - expected || fail "other than sort"
      rm -r sorted
    done'
}

case_an_output_that_cannot_be_delivered_is_kept_in_all_places() {
  generate -n 100000 --text -o records.txt
  need_namespaces
  export -f fail
  export program here
  unshare --mount --map-root-user bash -euc '
    mkdir small
    mount -t tmpfs -o size=20m,mode=700 tmpfs small || exit 77
    (for i in $(seq 4000); do
      [ -z "$(find disk1 disk2 -name splitters 2>/dev/null)" ] || { head -c 19m /dev/zero >small/hog 2>/dev/null; break; }
    done) &
    code=0
    "$program" sort -q --place "$here/disk1" --place "$here/disk2" --memory 32MiB --to-file -o small/sorted records.txt 2>err || code=$?
    wait
    [ $code = 1 ] || fail "exit code $code"
    [ ! -e small/sorted ] || fail "a part of it was delivered"
    grep "notice: kept: " err | sed "s/.*kept: //" >kept
    [ "$(wc -l <kept)" = 2 ] || fail "not two paths"
    sed "s/$/\/output/" kept | xargs -I% find % -name "part_*" | while read -r part; do echo "$(basename "$part") $part"; done |
      sort | cut -d " " -f 2 | xargs cat | cmp - <(sort records.txt) || fail "what is kept is not all"'
}

declare -F "case_$2" >/dev/null || { echo "no case $2" >&2; exit 1; }
"case_$2"
