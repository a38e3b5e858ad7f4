#!/bin/bash
# SPDX-License-Identifier: MIT
#
# counting.sh <kmer_frequency> <scratchctl> <case>: one case; what it asserts is its name.
counting=$1 scratchctl=$2 case=$3
source=$(cd "$(dirname "$0")/../../.." && pwd)
. "$source/tests/programs/resume/common.sh"

# reads <files> <reads of each>: reads_1.fa, reads_2.fa, ...
reads() {
  gzip -dc "$source/examples/data/lambda_virus.fa.gz" >genome
  for i in $(seq "$1"); do
    "$counting" --simulate-reads "$2" --read-length 120 --error-rate 0.02 --seed "$i" -o "reads_$i.fa" genome
  done
}

canonical=(--canonical --count occurrences --sorted)
resuming=("$counting" -q --workers 2 --resume "${canonical[@]}" -o counts)

# as_it_must_be <arguments ...>: what is in counts is what one table of all inputs has.
as_it_must_be() {
  [ -f expected ] || "$counting" -q --workers 2 "${canonical[@]}" -o expected "$@" || fail "not without --resume"
  cmp counts expected || fail "other counts than without --resume"
}

case_a_count_that_goes_on_with_none_says_so_and_is_the_same() {
  reads 3 5000
  : >nothing.fa
  printf 'ACGT' >noname.fa
  gzip reads_2.fa
  goes_on "${resuming[@]}" reads_*
  [ "$(cat err)" = "kmer_frequency: notice: a new start: nothing of this job is unfinished" ] || fail "not that one line"
  as_it_must_be reads_*
  nothing_left
}

case_what_is_counted_is_not_counted_again() {
  reads 5 20000
  killed input_1 "${resuming[@]}" reads_?.fa
  find "$(session)" -name 'input_[01]' -printf '%i %f %T@\n' | sort >before
  killed input_3 "${resuming[@]}" reads_?.fa
  says 'notice: going on with the session .*session_'
  find "$(session)" -name 'input_[01]' -printf '%i %f %T@\n' | sort | cmp - before || fail "they were counted again"
  goes_on "${resuming[@]}" reads_?.fa
  [ "$(wc -l <err)" = 1 ] || fail "more than a line"
  as_it_must_be reads_?.fa
  nothing_left
}

case_the_summary_of_a_count_that_went_on_is_that_of_the_whole() {
  reads 4 20000
  tr A N <reads_2.fa >letters.fa
  summary() { grep -E '^(rows|bases|other letters|k-mers|skipped|distinct|over threshold)' "$1"; }
  for words in "--count occurrences" "--occurrence-bits 1 -k 9"; do
    # shellcheck disable=SC2086
    "$counting" $words -o expected reads_?.fa letters.fa 2>whole
    # shellcheck disable=SC2086
    killed input_2 "$counting" --resume $words -o counts reads_?.fa letters.fa
    # shellcheck disable=SC2086
    goes_on "$counting" --resume $words -o counts reads_?.fa letters.fa
    says 'going on with'
    summary whole >facts
    grep -q 'other letters.*N' facts || fail "no other letters"
    summary err | cmp - facts || fail "other numbers: $(cat facts)"
    sort expected >sorted && sort counts | cmp - sorted || fail "other counts"
  done
  nothing_left
}

# A k-mer that is in each of the inputs once is in all of them several times.
case_a_least_count_is_of_the_sum_over_all_inputs() {
  echo '>a
ACGTACCAGTACCATTTACGACCATTGACGAGCATTACGA' >one.fa
  for i in 2 3; do cp one.fa "reads_$i.fa"; done
  echo '>other
TTGGCATTGACACCATGGATACCCAGATTTTACAGGACCC' >>one.fa
  for counted in rows occurrences; do
    goes_on "$counting" -q --resume -k 31 --count $counted --sorted --min-count 3 --table table -o counts one.fa reads_?.fa
    "$counting" -q -k 31 --count $counted --sorted --min-count 3 -o expected one.fa reads_?.fa
    [ "$(wc -l <expected)" = 10 ] && cmp counts expected || fail "other counts"
    "$scratchctl" count table | grep -q '20 distinct, total 40' || fail "other counts in the table"
  done
  nothing_left
}

case_a_count_of_inputs_that_changed_is_a_new_start() {
  reads 3 20000
  killed input_1 "${resuming[@]}" reads_?.fa
  old=$(session)
  cp reads_2.fa reads_1.fa
  goes_on "${resuming[@]}" reads_?.fa
  says 'a new start: the input has changed since the earlier run'
  says "removed what an earlier run left unfinished: .*/$(basename "$old"), [0-9]"
  [ "$(wc -l <err)" = 2 ] || fail "not two lines"
  as_it_must_be reads_?.fa
  nothing_left
}

case_a_count_with_other_options_is_a_new_start_and_with_other_memory_is_none() {
  reads 3 20000
  killed input_1 "${resuming[@]}" reads_?.fa
  goes_on "${resuming[@]}" -k 21 reads_?.fa
  says 'a new start: the earlier run had other options'
  says 'removed what an earlier run left unfinished'
  [ "$(wc -l <err)" = 2 ] || fail "not two lines"
  killed input_1 "${resuming[@]}" reads_?.fa
  goes_on "${resuming[@]}" --memory 40MiB --workers 1 reads_?.fa
  says 'going on with'
  as_it_must_be reads_?.fa
  nothing_left
}

case_a_count_that_lives_is_left_alone() {
  reads 2 20000
  mkfifo pipe
  "$counting" -q --resume -o - reads_?.fa >pipe 2>first_err &
  first=$!
  exec 3<pipe
  head -c 100 <&3 >/dev/null
  refuses "this job is being done by process $first, in .*session_" "$counting" -q --resume -o - reads_?.fa
  cat <&3 >/dev/null
  wait $first || fail "the first ended with $?"
  nothing_left
}

# Whoever comes second is refused, finds it gone, or starts anew when the first has ended.
case_two_counts_that_go_on_at_once_do_it_once() {
  reads 3 20000
  for attempt in 1 2 3 4 5 6; do
    killed input_1 "${resuming[@]}" reads_?.fa
    two_at_once "${resuming[@]}" reads_?.fa
    as_it_must_be reads_?.fa
    nothing_left
  done
}

case_a_count_by_a_newer_version_is_named_and_stays() {
  reads 3 20000
  killed input_1 "${resuming[@]}" reads_?.fa
  newer=$(session)
  sed -i 's/^{"format":[0-9]*/{"format":99/' "$newer/metadata.json"
  goes_on "${resuming[@]}" reads_?.fa
  says 'a session cannot be gone on with: .*unsupported format version.*format 99'
  says 'a new start: nothing of this job'
  as_it_must_be reads_?.fa
  [ "$(session)" = "$newer" ] || fail "it went, or another is left"
}

case_a_signal_leaves_what_is_counted_and_says_how_to_go_on() {
  reads 3 20000
  mv reads_1.fa 'my reads.fa'
  for signal in INT TERM HUP; do
    rm -rf place/*
    # A shell's background job ignores SIGINT.
    stopped $signal input_0 env --default-signal=INT "${resuming[@]}" 'my reads.fa' reads_?.fa
    [ "$code" = $((128 + $(kill -l $signal))) ] || fail "exit code $code after $signal"
    says "notice: stopped: what is done stays in .*$(basename "$(session)"); go on with: "
    [ "$(wc -l <err)" = 2 ] || fail "not two lines"
    [ -n "$(find place -name input_0)" ] || fail "the table went"
    [ -z "$(find . -maxdepth 1 -name '.scratch*')" ] || fail "something stands beside"
  done
  sed -n 's/.*go on with: //p' err >again
  goes_on sh ./again
  says 'going on with'
  as_it_must_be 'my reads.fa' reads_?.fa
  nothing_left
}

case_a_count_of_long_k_mers_goes_on_and_its_table_can_be_read() {
  need_program python3
  reads 3 20000
  resuming+=(-k 55 --table table)
  killed input_1 "${resuming[@]}" reads_?.fa
  goes_on "${resuming[@]}" reads_?.fa
  says 'going on with'
  as_it_must_be -k 55 reads_?.fa
  "$scratchctl" count table --top 0 | grep -q "^128-bit keys, $(wc -l <counts) distinct" || fail "other keys"
  "$scratchctl" count table --part 0/1 | python3 -c '
import sys
bases = str.maketrans({f"{digit:x}": "ACGT"[digit >> 2] + "ACGT"[digit & 3] for digit in range(16)})
for line in sys.stdin:
    key, count = line.split()
    print(key.translate(bases)[-55:], count, sep="\t")' | sort | cmp - counts ||
    fail "other counts in the table"
  kmer=$(head -n 1 counts | cut -f 1 | sed 's/A/00/g; s/C/01/g; s/G/10/g; s/T/11/g')
  key=$(python3 -c 'import sys; print("%032x" % int(sys.argv[1], 2))' "$kmer")
  "$scratchctl" count table "$key" | grep -q "$(head -n 1 counts | cut -f 2)" || fail "no such key: $key"
  nothing_left
}

case_damage_of_a_table_is_found_and_the_start_behind_it_is_new() {
  reads 3 20000
  killed input_1 "${resuming[@]}" reads_?.fa
  printf x | dd of="$(find place -name input_0)" bs=1 seek=5000 conv=notrunc 2>/dev/null
  refuses 'checksum mismatch.*input_0' "${resuming[@]}" reads_?.fa
  says 'not done: what is done stays in'
  [ ! -e counts ] || fail "there is a result"
  goes_on "${resuming[@]}" reads_?.fa
  says 'a new start: the earlier run met what going on cannot mend'
  as_it_must_be reads_?.fa
  nothing_left
}

# What is said of an input may be lost with the power.
case_an_input_of_which_nothing_is_known_is_counted_again() {
  reads 3 20000
  killed input_1 "${resuming[@]}" reads_?.fa
  : >"$(find place -name input_0.read)"
  goes_on "${resuming[@]}" reads_?.fa
  says 'going on with'
  as_it_must_be reads_?.fa
  nothing_left
}

case_a_result_without_a_place_stays_and_the_same_command_delivers_it() {
  reads 2 20000
  mkfifo result
  resuming=("$counting" -q --resume --count occurrences --sorted -o result)
  head -c 100 result >/dev/null &
  refuses 'cannot .*"result": Broken pipe; it is kept as ' "${resuming[@]}" reads_?.fa
  says 'not done: what is done stays in .*; go on with: '
  [ -f "$(sed -n 's/.*it is kept as //p' err)" ] || fail "it is not kept there"
  cat result >counts &
  reader=$!
  goes_on "${resuming[@]}" reads_?.fa
  wait $reader
  says 'going on with'
  "$counting" -q --count occurrences --sorted -o expected reads_?.fa
  cmp counts expected || fail "other counts"
  nothing_left
}

case_a_count_that_cannot_be_gone_on_with_is_refused() {
  reads 1 100
  # wrong <words> <arguments ...>
  wrong() {
    local words=$1 code=0
    shift
    "$counting" -q --resume "$@" >out 2>err </dev/null || code=$?
    [ "$code" = 2 ] && [ "$(wc -l <err)" = 1 ] || fail "exit code $code, or not one line"
    says "$words"
  }
  wrong 'cannot go on with what came through stdin' reads_1.fa -
  wrong 'leave out --processes' --processes reads_1.fa
  wrong 'goes on with counting' --simulate-reads 5 -o more.fa reads_1.fa
  mkfifo pipe
  refuses 'pipe again, as --resume must: it is no file' "$counting" -q --resume reads_1.fa pipe
  [ "$(wc -l <err)" = 1 ] || fail "not one line"
  refuses 'cannot read "nowhere.fa": No such file' "$counting" -q --resume nowhere.fa
  nothing_left
}

case_jobs_show_how_far_a_count_is() {
  reads 4 20000
  killed input_2 "${resuming[@]}" reads_?.fa
  "$scratchctl" jobs place/* >out
  grep -Eq "^k31 +in_progress +[a-z]+ [0-9]+ % \([0-9] of 6\) .* dead +0 +.*$(session)\$" out || fail "not that row"
}

# deaths <place arguments ...>: each name that is given or taken away from the last table on is one, in the merge, of its
# claims, of the results.
deaths() {
  command=("${resuming[@]}" --workers 1 --table table "$@" reads_?.fa)
  calls=renameat2,renameat,unlinkat,linkat
  rm -f counts table
  strace -f -qq -e trace=$calls -o calls "${command[@]}" 2>/dev/null || fail "it does not run under strace"
  first=$(grep -n 'input_3"' calls | head -n 1 | cut -d: -f 1)
  all=$(grep -n '"metadata.json") = 0' calls | tail -n 1 | cut -d: -f 1) # what follows is only removed
  grep -q 'scratch-claim.*input_3' calls && [ $((all - first)) -gt 10 ] || fail "other calls: $(cat calls)"
  content() { "$scratchctl" count "$1" --top 0; }
  went_on=0
  for at in $(seq "$first" "$all"); do
    rm -f counts table
    call=$(sed -n "${at}s/^[0-9]* *\([a-z0-9]*\)(.*/\1/p" calls)
    when=$(head -n "$at" calls | grep -c " $call(")
    { strace -f -qq -o traced -e trace=$call -e "inject=$call:signal=KILL:when=$when" "${command[@]}" >out 2>err || true; } 2>/dev/null
    if [ -n "$(find place -name .keep)" ]; then
      goes_on "${command[@]}"
      cat err >>said
      went_on=$((went_on + 1))
    else # it died when all was done
      for place in place/*; do "$scratchctl" sweep "$place" >out; done
      rm -f .scratch-result-*
    fi
    as_it_must_be
    [ "$(content table)" = "$(content expected_table)" ] || fail "another table, killed at $call $when"
    [ -z "$(find . -maxdepth 1 -name '.scratch*')" ] || fail "something stands beside, killed at $call $when"
    nothing_left
  done
  echo "$went_on of $((all - first + 1)) deaths were gone on with"
  [ $went_on -gt 10 ] || fail "only $went_on were gone on with"
}

case_a_death_within_the_merge_counts_everything_once() {
  need_program strace
  reads 4 500
  "$counting" -q "${canonical[@]}" --table expected_table -o expected reads_?.fa
  deaths
}

case_a_death_while_tables_come_from_several_places_counts_everything_once() {
  need_program strace
  reads 4 500
  "$counting" -q "${canonical[@]}" --table expected_table -o expected reads_?.fa
  mkdir -m 700 place/a place/b
  deaths --place "$here/place/a" --place "$here/place/b"
  grep -q 'a new start: the earlier run was about to end' said || fail "it never died between the ends of both"
}

case_several_places_of_a_count_go_on_together_and_none_is_passed_over() {
  reads 16 5000
  mkdir -m 700 place/a place/b
  resuming+=(--place "$here/place/a" --place "$here/place/b")
  killed input_11 "${resuming[@]}" reads_*.fa
  says 'is on the device of .*/place/a'
  for place in a b; do [ -n "$(find place/$place -name 'input_*[0-9]')" ] || fail "no table in $place"; done
  find place -name 'input_[0-9]' -printf '%i %f\n' | sort >before
  mv place/b aside
  refuses 'place/b' "${resuming[@]}" reads_*.fa
  [ ! -e counts ] || fail "there is a result"
  rm -rf place/b
  mv aside place/b
  killed input_14 "${resuming[@]}" reads_*.fa
  says 'going on with'
  find place -name 'input_[0-9]' -printf '%i %f\n' | sort | cmp - before || fail "they were counted again"
  goes_on "${resuming[@]}" reads_*.fa
  as_it_must_be reads_*.fa
  nothing_left
  # Others of the same inputs go from each of their places.
  killed input_11 "${resuming[@]}" reads_*.fa
  goes_on "${resuming[@]}" -k 21 reads_*.fa
  [ "$(grep -c 'removed what an earlier run left unfinished: ' err)" = 2 ] || fail "not from both places"
  nothing_left
}

"case_$case"
