#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cases.sh <external_sort> <table_export> <table_export_reader> <scratchctl> <kmer_frequency> <case>: one case; what it
# asserts is its name.
sorting=$1 export_rows=$2 reader=$3 scratchctl=$4 counting=$5 case=$6
source=$(cd "$(dirname "$0")/../../.." && pwd)
. "$source/tests/programs/resume/common.sh"

generate() { "$sorting" generate "$@"; }

sorted_as_it_must_be() {
  [ -f expected ] || sort records >expected
  cat sorted/part_* | cmp - expected || fail "other than sort"
}

case_a_start_that_goes_on_with_none_says_so() {
  generate -n 100000 --text -o records
  goes_on "$sorting" sort -q --resume -o sorted records
  [ "$(cat err)" = "external_sort: notice: a new start: nothing of this job is unfinished" ] || fail "not that one line"
  sorted_as_it_must_be
  nothing_left
}

case_what_is_sorted_is_not_sorted_again() {
  generate -n 1000000 --text -o records
  killed 'chunk_0000.sorted' "$sorting" sort -q --resume -o sorted records
  find "$(session)" -name 'chunk_0000.sorted' -printf '%i\n' | sort >before
  goes_on "$sorting" sort -q --resume -o sorted records
  says 'notice: going on with the session .*session_'
  [ "$(wc -l <err)" = 1 ] || fail "more than a line"
  find sorted -name 'part_*' -printf '%i\n' | sort >after
  [ -s before ] && [ -z "$(comm -23 before after)" ] || fail "other files than those that were there"
  sorted_as_it_must_be
  nothing_left
}

case_inputs_that_changed_are_a_new_start() {
  generate -n 500000 --text -o records
  killed 'slice.*' "$sorting" sort -q --resume -o sorted records
  old=$(session)
  generate -n 500000 --text --seed 2 -o records
  goes_on "$sorting" sort -q --resume -o sorted records
  says 'a new start: the input has changed since the earlier run'
  says "removed what an earlier run left unfinished: .*/$(basename "$old"), [0-9]"
  [ "$(wc -l <err)" = 2 ] || fail "not two lines"
  sorted_as_it_must_be
  nothing_left
}

case_other_options_are_a_new_start() {
  generate -n 500000 --text -o records
  killed 'slice.*' "$sorting" sort -q --resume -o sorted records
  goes_on "$sorting" sort -q --resume --memory 100MiB -o sorted records
  says 'a new start: the earlier run had other options'
  sorted_as_it_must_be
  nothing_left
}

case_another_job_stays_as_it_is() {
  generate -n 500000 --text -o records
  generate -n 500000 --text --seed 2 -o other
  killed 'slice.*' "$sorting" sort -q --resume -o never other
  goes_on "$sorting" sort -q --resume -o sorted records
  says 'nothing of this job is unfinished'
  [ -d "$(session)" ] || fail "the other job's session went"
  goes_on "$sorting" sort -q -o again records
  [ -d "$(session)" ] || fail "a start without --resume took it"
  goes_on "$sorting" sort -q --resume -o never other
  says 'going on with'
  nothing_left
}

case_a_job_that_lives_is_left_alone() {
  generate -n 300000 --text -o records
  mkfifo pipe
  "$sorting" sort -q --resume -o - records >pipe 2>first_err &
  first=$!
  exec 3<pipe
  head -c 100 <&3 >/dev/null
  refuses "this job is being done by process $first, in .*session_" "$sorting" sort -q --resume -o - records
  cat <&3 >/dev/null
  wait $first || fail "the first ended with $?"
  nothing_left
}

# Whoever comes second is refused, finds it gone, or starts anew when the first has ended.
case_two_that_go_on_at_once_do_it_once() {
  generate -n 300000 --text -o records
  sort records >expected
  for attempt in 1 2 3 4 5 6; do
    killed 'slice.*' "$sorting" sort -q --resume -o - records
    two_at_once "$sorting" sort -q --resume -o - records
    for i in $well; do cmp "out.$i" expected || fail "other than sort"; done
    nothing_left
  done
}

case_whoever_still_works_for_a_dead_owner_is_waited_for_and_then_named() {
  need_program flock
  generate -n 500000 --text -o records
  killed 'slice.*' "$sorting" sort -q --resume -o sorted records
  mkfifo end
  flock -s "$(session)" cat end &
  holder=$!
  exec 3>end
  refuses 'is dead, but somebody else still uses it' "$sorting" sort -q --resume -o sorted records
  exec 3>&-
  wait $holder
  goes_on "$sorting" sort -q --resume -o sorted records
  says 'going on with'
  sorted_as_it_must_be
  nothing_left
}

case_a_session_of_a_newer_version_is_named_and_stays() {
  generate -n 500000 --text -o records
  killed 'slice.*' "$sorting" sort -q --resume -o sorted records
  newer=$(session)
  sed -i 's/^{"format":[0-9]*/{"format":99/' "$newer/metadata.json"
  goes_on "$sorting" sort -q --resume -o sorted records
  says 'a session cannot be gone on with: .*unsupported format version.*format 99'
  says 'a new start: nothing of this job'
  sorted_as_it_must_be
  [ "$(session)" = "$newer" ] || fail "it went, or another is left"
}

case_a_signal_leaves_what_is_done_and_says_how_to_go_on() {
  generate -n 1000000 --text -o 'my records'
  ln -s 'my records' records
  for signal in INT TERM HUP; do
    rm -rf place/*
    # A shell's background job ignores SIGINT.
    stopped $signal 'slice.*' env --default-signal=INT "$sorting" sort -q --resume -o sorted 'my records'
    [ "$code" = $((128 + $(kill -l $signal))) ] || fail "exit code $code after $signal"
    says "notice: stopped: what is done stays in .*$(basename "$(session)"); go on with: "
    [ -z "$(find . -maxdepth 1 -name '.scratch*')" ] || fail "something stands beside"
  done
  sed -n 's/.*go on with: //p' err >again
  goes_on sh ./again
  says 'going on with'
  sorted_as_it_must_be
  nothing_left
}

case_damage_is_found_and_the_start_behind_it_is_new() {
  generate -n 1000000 --text -o records
  killed 'chunk_0000.sorted' "$sorting" sort -q --resume -o sorted records
  printf x | dd of="$(find "$(session)" -name 'chunk_0000.sorted' | head -n 1)" bs=1 seek=5 conv=notrunc 2>/dev/null
  refuses 'the output \(is not sorted\|does not hold the records\)' "$sorting" sort -q --resume -o sorted records
  [ ! -e sorted ] || fail "an output directory is left"
  goes_on "$sorting" sort -q --resume -o sorted records
  says 'a new start: the earlier run met what going on cannot mend'
  sorted_as_it_must_be
  nothing_left
  [ -z "$(find . -maxdepth 1 -name '.scratch*')" ] || fail "something stands beside"
}

case_jobs_show_how_far_it_is_and_how_often_it_was_resumed() {
  generate -n 1000000 --text -o records
  killed 'slice.0' "$sorting" sort -q --resume -o sorted records
  "$scratchctl" jobs place/* >out
  grep -Eq "^external_sort +in_progress +[a-z]+ [0-9]+ % \([0-9] of 6\) .* dead +0 +.*$(session)\$" out || fail "not that row"
  grep -q '1 can be gone on with' out || fail "no word about going on"
  killed 'chunk_0000.sorted' "$sorting" sort -q --resume -o sorted records
  "$scratchctl" jobs place/* >out
  grep -Eq " dead +1 +.*$(session)\$" out || fail "not resumed once"
}

case_an_output_with_parts_in_it_is_refused_before_the_work() {
  generate -n 1000 --text -o records
  mkdir sorted
  echo mine >sorted/part_0000
  refuses 'has parts in it already' "$sorting" sort -q --resume -o sorted records
  [ "$(cat sorted/part_0000)" = mine ] || fail "it was changed"
  nothing_left
}

# Each rename of the end is a death: of parts out of the session, of the whole set, of one part after the other.
case_a_death_while_the_names_are_given_loses_no_part() {
  need_program strace
  generate -n 100000 --text -o records
  sort records >expected
  for way in new there replaced; do
    prepare() {
      rm -rf sorted
      [ $way = new ] || mkdir sorted
      [ $way != replaced ] || { echo old >sorted/part_0000; echo old >sorted/part_9999; }
    }
    command=("$sorting" sort -q --resume --workers 1 -o sorted records)
    [ $way != replaced ] || command+=(--replace)
    prepare
    strace -f -qq -e trace=renameat2 -o calls "${command[@]}" 2>/dev/null || fail "it does not run under strace"
    calls=$(wc -l <calls)
    for back in 0 1 2 5 8 9 10 15 16 17 18 30; do
      prepare
      { strace -f -qq -o traced -e trace=renameat2 -e "inject=renameat2:signal=KILL:when=$((calls - back))" \
        "${command[@]}" >out 2>err || true; } 2>/dev/null
      if [ -n "$(find place -name .keep)" ]; then
        goes_on "${command[@]}"
      else # it died when all was done
        "$scratchctl" sweep place/* >out
        rmdir sorted/.scratch-result-* 2>/dev/null || true
      fi
      sorted_as_it_must_be
      [ "$(ls -A sorted | grep -Ev '^part_|^.part_manifest$' || true)" = "" ] || fail "more in it: $(ls -A sorted)"
      [ ! -e sorted/part_9999 ] || fail "an old part is left"
      [ -z "$(find . -maxdepth 1 -name '.scratch*')" ] || fail "something stands beside"
      nothing_left
    done
  done
}

case_a_sorted_file_without_a_place_stays_and_the_same_command_delivers_it() {
  generate -n 300000 --text -o records
  sort records >expected
  mkfifo result
  head -c 100 result >/dev/null &
  refuses 'cannot .*result.*: Broken pipe; it is kept as ' "$sorting" sort -q --resume --to-file -o result records
  says 'not done: what is done stays in .*; go on with: '
  find place -name 'part_*' -printf '%i\n' | sort >before
  [ -s before ] || fail "no part stays"
  cat result >sorted_once &
  reader=$!
  goes_on "$sorting" sort -q --resume --to-file -o result records
  wait $reader
  says 'going on with'
  cmp sorted_once expected || fail "other than sort"
  nothing_left
}

case_a_command_that_goes_on_is_started_again_by_itself() {
  generate -n 1000000 --text -o records
  "$scratchctl" run --retry 2 --place "$here/place" -- "$sorting" sort -q --resume -o sorted records >out 2>err &
  job=$!
  while kill -0 $job 2>/dev/null && [ -z "$(find place -name 'slice.*' -print -quit)" ]; do sleep 0.002; done
  kill -9 "$(pgrep -P $job)"
  wait $job || fail "exit code $?"
  says 'was killed by signal 9 (Killed): again, 1 of 2'
  says 'going on with the session'
  sorted_as_it_must_be
  nothing_left
}

case_the_commands_of_the_readme_do_what_it_says() {
  generate -n 10000 --text -o records.txt
  cp records.txt records
  seq 1000 >orders.csv
  for day in 1 2; do
    "$counting" --simulate-reads 500 --seed $day -o day_$day.fa "$source/examples/data/lambda_virus.fa.gz"
  done
  for program in "$sorting" "$export_rows" "$scratchctl" "$counting"; do PATH=$(dirname "$program"):$PATH; done
  sh -e "$source/examples/resume.sh" >out 2>err || fail "exit code $?"
  grep -Eq '^orders +completed .* dead ' out || fail "no such job"
  sorted_as_it_must_be
  "$counting" -q day_?.fa | sort >expected_counts
  gzip -dc kmers.tsv.gz | sort | cmp - expected_counts || fail "other counts"
}

case_rows_from_stdin_cannot_be_gone_on_with() {
  code=0
  echo 1 | "$export_rows" t --resume >out 2>err || code=$?
  [ "$code" = 2 ] && [ "$(wc -l <err)" = 1 ] || fail "exit code $code, or not one line"
  says 'cannot go on with what came through stdin'
  mkfifo pipe
  refuses 'pipe again, as --resume must: it is no file' "$export_rows" t --resume pipe
  nothing_left
}

rows() { seq "$1" | sed 's/$/,some text of the row/'; }

case_several_places_of_a_sort_or_an_export_go_on_together_and_none_is_passed_over() {
  generate -n 1000000 --text -o records
  rows 3000000 >rows.csv
  mkdir -m 700 place/a place/b
  places=(--place "$here/place/a" --place "$here/place/b")
  for what in sort export; do
    if [ $what = sort ]; then
      job=("$sorting" sort -q --resume "${places[@]}" -o sorted records) seen='slice.*'
    else
      job=("$export_rows" t -q --resume --keep --chunk-size 1MB "${places[@]}" rows.csv) seen='chunk_3?.bin'
    fi
    killed "$seen" "${job[@]}"
    mv place/b aside
    refuses 'place/b' "${job[@]}"
    [ ! -e sorted ] || fail "there is a result"
    rm -rf place/b
    mv aside place/b
    goes_on "${job[@]}"
    says 'going on with'
    if [ $what = sort ]; then
      sorted_as_it_must_be
      nothing_left
      rm -r sorted
    else
      "$reader" "$(echo place/a/session_*)" --copy 2>/dev/null | cmp - rows.csv || fail "other bytes"
    fi
  done
}

case_an_export_goes_on_behind_the_chunks_that_are_there() {
  { echo 'id,"te
xt"'; rows 3000000; } >rows.csv
  for how in file command; do
    input=(rows.csv)
    [ $how = file ] || input=(-- cat rows.csv)
    killed 'chunk_3.bin' "$export_rows" t -q --resume --header --chunk-size 1MB "${input[@]}"
    find "$(session)" -name 'chunk_[0-3].bin' -printf '%i %f\n' | sort >before
    head -c 1000 rows.csv >"$(session)/chunk_9999.bin"  # as of one who died before he had it on record
    goes_on "$export_rows" t --resume --header --chunk-size 1MB --keep "${input[@]}"
    [ ! -e "$(session)/chunk_9999.bin" ] || fail "a chunk is left that nobody reads"
    says 'going on with the session'
    says "^t: 3000000 rows, $(stat -c %s rows.csv) bytes"
    "$reader" "$(session)" --copy 2>/dev/null | cmp - rows.csv || fail "other bytes"
    find "$(session)" -name 'chunk_[0-3].bin' -printf '%i %f\n' | sort | cmp - before || fail "chunks were written again"
    "$scratchctl" verify "$(session)" >out || fail "damage"
    rm -rf place/*
  done
}

case_an_export_to_several_places_goes_on_behind_the_chunks_that_all_of_them_have() {
  rows 3000000 >rows.csv
  mkdir -m 700 place/a place/b
  exporting=("$export_rows" t --resume --keep --chunk-size 1MB --place "$here/place/a" --place "$here/place/b")
  for how in file command; do
    input=(rows.csv)
    [ $how = file ] || input=(-- cat rows.csv)
    killed 'chunk_3?.bin' "${exporting[@]}" "${input[@]}"
    for place in a b; do [ -n "$(find place/$place -name 'chunk_*')" ] || fail "no chunk in $place"; done
    find place -name 'chunk_[0-4].bin' -printf '%i %f\n' | sort >before
    # One that died before its chunk was on record; and a record that is lost: what stands behind it comes again.
    for place in a b; do head -c 1000 rows.csv >"$(echo place/$place/session_*)/chunk_9999.bin"; done
    sed -i '$d' place/a/session_*/chunks.jsonl
    goes_on "${exporting[@]}" "${input[@]}"
    [ -z "$(find place -name chunk_9999.bin)" ] || fail "a chunk is left that nobody reads"
    says 'going on with the session'
    says "^t: 3000000 rows, $(stat -c %s rows.csv) bytes"
    "$reader" "$(echo place/b/session_*)" --copy 2>/dev/null | cmp - rows.csv || fail "other bytes"
    find place -name 'chunk_[0-4].bin' -printf '%i %f\n' | sort | cmp - before || fail "chunks were written again"
    rm -rf place/?/*
  done
}

case_a_command_that_writes_other_rows_is_refused_and_then_a_new_start() {
  rows 1000000 >rows.csv
  killed 'chunk_3.bin' "$export_rows" t -q --resume --chunk-size 1MB -- cat rows.csv
  sed -i '50000s/some/more/' rows.csv
  refuses 'cat does not write what it wrote: not that which is in chunk_[01].bin' \
    "$export_rows" t -q --resume --chunk-size 1MB -- cat rows.csv
  goes_on "$export_rows" t -q --resume --chunk-size 1MB --keep -- cat rows.csv
  says 'a new start: the earlier run met what going on cannot mend'
  "$reader" "$(session)" --copy 2>/dev/null | cmp - rows.csv || fail "other bytes"
}

case_a_table_file_that_changed_is_a_new_start() {
  rows 1000000 >rows.csv
  killed 'chunk_3.bin' "$export_rows" t -q --resume --chunk-size 1MB rows.csv
  rows 1000 >rows.csv
  goes_on "$export_rows" t -q --resume --chunk-size 1MB rows.csv
  says 'a new start: the input has changed since'
  says 'removed what an earlier run left unfinished'
  nothing_left
}

"case_$case"
