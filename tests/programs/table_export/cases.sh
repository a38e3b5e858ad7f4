#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cases.sh <table_export> <table_export_reader> <reader.py> <case>: one case; what it asserts is its name.
export_rows=$1 reader=$2 python_reader=$3 case=$4
. "$(dirname "$0")/../common.sh"

# refuses <words of the one line on stderr> <arguments of table_export ...>; stdin is the input
refuses() {
  local words=$1 code=0
  shift
  "$export_rows" -q "$@" >out 2>err || code=$?
  [ "$code" = 1 ] || fail "exit code $code, not 1, from: $*"
  [ "$(wc -l <err)" = 1 ] || fail "not one line on stderr"
  grep -q -- "$words" err || fail "nothing about: $words"
  nothing_left
}

# csv_rows <from> <to>: with quotes, doubled quotes, and newlines within quotes
csv_rows() {
  awk -v from="$1" -v to="$2" 'BEGIN {
    for (i = from; i <= to; ++i) {
      if (i % 3 == 0) printf "%d,\"a \"\"word\"\", and\na line %d\"\n", i, i
      else if (i % 3 == 1) printf "%d,plain %d\n", i, i
      else printf "%d,\n", i
    }
  }'
}

# binary_rows <rows>: as COPY ... (FORMAT binary) writes an int4 and a text or null
binary_rows() {
  need_program python3
  python3 - "$1" <<'END'
import struct, sys
out = sys.stdout.buffer
out.write(b"PGCOPY\n\xff\r\n\0" + struct.pack(">II", 0, 0))
for i in range(int(sys.argv[1])):
    text = b"x" * (i % 50)
    out.write(struct.pack(">hiii", 2, 4, i, -1) if i % 7 == 0 else struct.pack(">hiii", 2, 4, i, len(text)) + text)
out.write(struct.pack(">h", -1))
END
}

# Keeps a session, reads it back in three ways, and removes it.
# agrees <rows> <arguments of table_export ...>; the input is in the file `input`
agrees() {
  need_program python3
  local rows=$1
  shift
  "$export_rows" t --keep "$@" input >out 2>err || fail "exit code $?"
  session=$(cat out)
  grep -q "^t: $rows rows, $(stat -c %s input) bytes" err || fail "not $rows rows, or other bytes than the input's"
  "$reader" "$session" --copy >copy 2>err || fail "the reader"
  cmp copy input || fail "other bytes come out than went in"
  "$reader" "$session" >out || fail "the reader that counts"
  grep -q "^$rows rows, " out || fail "the reader counts other rows"
  python3 "$python_reader" "$session" >out || fail "the reader in Python"
  [ "$(awk '{ n += $2 } END { print n + 0 }' out)" = "$rows" ] || fail "Python sees other rows"
  while read -r file _ _ bytes _ checksum; do
    [ "$(stat -c %s "$session/$file")" = "$bytes" ] || fail "$file has other bytes"
    ! command -v xxhsum >/dev/null || xxhsum -H3 "$session/$file" 2>/dev/null | grep -q "${checksum#xxh3:}" ||
      fail "$file has another checksum"
  done <out
  rm -rf "$session"
}

case_csv_comes_out_as_it_went_in() {
  csv_rows 1 20000 >input
  agrees 20000
  agrees 20000 --chunk-size 10KB
  { echo '"id","a ""name""
of two lines"'; cat input; } >named && mv named input
  agrees 20000 --header --chunk-size 64KiB
}

case_several_places_hold_a_table_together_and_readers_see_it_in_order() {
  csv_rows 1 20000 >input
  mkdir -m 700 a b c
  "$export_rows" t --keep --place "$here/a" --place "$here/b" --place "$here/c" --chunk-size 5KB input >out 2>err ||
    fail "exit code $?: $(cat err)"
  id=$(basename "$(cat out)")
  for place in a b c; do
    [ "$(ls "$place/$id" | grep -c '^chunk_')" -gt 5 ] || fail "few chunks in $place"
    "$reader" "$here/$place/$id" --copy >copy 2>said || fail "the reader of $place: $(cat said)"
    cmp copy input || fail "the reader of $place sees other rows"
    need_program python3
    python3 "$python_reader" "$here/$place/$id" >seen || fail "the reader in Python of $place"
    [ "$(awk '{ rows += $2 } END { print rows }' seen)" = 20000 ] || fail "the reader in Python sees a part: $(tail -n 1 seen)"
  done
  [ "$(ls a/$id b/$id c/$id | grep '^chunk_' | sort | uniq -d | wc -l)" = 0 ] || fail "two chunks have one name"
  mv c/$id aside
  ! "$reader" "$here/a/$id" --copy >copy 2>said || fail "read without one of them"
  [ "$(wc -l <said)" = 1 ] && grep -q "c/$id" said || fail "not said what is missing: $(cat said)"
  rm -rf a/$id b/$id aside
  # While it is written, and held by who reads.
  "$export_rows" t --place "$here/a" --place "$here/b" --chunk-size 5KB \
    --reader "'$reader' \"\$SESSION_DIR\" --copy >copy 2>said" input >out 2>err || fail "exit code $?: $(cat err)"
  cmp copy input || fail "the reader saw other rows"
  [ -z "$(ls -A a b c | grep -v :)" ] || fail "left: $(ls -A a b c)"
  refuses "two have the name" t --place "$here/a" --place "$here/a" input
}

case_text_is_a_row_a_line() {
  printf '1\ta "quote\n2\t\\N\n3\t\\.\n' >input
  agrees 3 --format text
}

case_binary_comes_out_as_it_went_in() {
  binary_rows 50000 >input
  agrees 50000
  agrees 50000 --chunk-size 100KB
  binary_rows 0 >input
  agrees 0
}

case_chunks_hold_whole_rows_and_are_not_larger_than_asked() {
  csv_rows 1 3000 >input
  "$export_rows" t --keep --chunk-size 1000B input >out 2>err || fail "exit code $?"
  session=$(cat out)
  [ "$(ls "$session" | grep -c '^chunk_')" -gt 40 ] || fail "few chunks"
  for chunk in "$session"/chunk_*.bin; do
    [ "$(stat -c %s "$chunk")" -le 1000 ] || fail "$chunk is larger"
    head -n 1 "$chunk" | grep -Eq '^[0-9]+,' || fail "$chunk begins within a row"
    tail -c 1 "$chunk" | od -An -c | grep -q '\\n' || fail "$chunk ends within a row"
  done
}

case_a_row_longer_than_a_chunk_has_one_of_its_own() {
  { echo 1,a; printf '2,"%s"\n' "$(head -c 5000000 /dev/zero | tr '\0' x)"; echo 3,b; } >input
  "$export_rows" t --keep --chunk-size 1KiB input >out 2>err || fail "exit code $?"
  [ "$(stat -c %s "$(cat out)"/chunk_*.bin | tr '\n' ' ')" = "4 5000005 4 " ] || fail "other chunks"
}

case_many_jobs_for_one_table_and_others_do_not_collide() {
  for i in 1 2 3 4 5 6; do csv_rows "$i" $((i * 3000)) >"input.$i"; done
  for i in 1 2 3 4 5 6; do
    table=customer
    [ $((i % 2)) = 0 ] || table=orders
    "$export_rows" $table --chunk-size 20KB --reader "'$reader' --copy \"\$SESSION_DIR\" >copy.$i 2>/dev/null" "input.$i" \
      >"out.$i" 2>"err.$i" &
  done
  for job in $(jobs -p); do wait "$job" || fail "a job ended with $?: $(cat err.*)"; done
  for i in 1 2 3 4 5 6; do cmp "input.$i" "copy.$i" || fail "job $i gave its reader other rows"; done
  [ "$(sort -u out.? | wc -l)" = 6 ] || fail "sessions were shared"
  nothing_left
}

case_a_reader_reads_while_the_status_is_in_progress() {
  need_program python3
  mkfifo pipe
  "$export_rows" t --chunk-size 100B --reader "'$reader' \"\$SESSION_DIR\" --copy >copy 2>said" pipe >out 2>err &
  job=$!
  exec 3>pipe
  csv_rows 1 100 >&3
  for _ in $(seq 600); do [ -s out ] && break; sleep 0.05; done
  session=$(cat out)
  python3 "$python_reader" "$session" >seen 2>lost 3>&- &
  follower=$!
  seen_rows() { awk '{ n += $2 } END { print n + 0 }' seen; }
  for _ in $(seq 600); do [ "$(seen_rows)" -ge 90 ] && break; sleep 0.05; done
  [ "$(seen_rows)" -ge 90 ] || fail "Python sees $(seen_rows) of 100 rows while the export runs"
  grep -q '"status":"in_progress"' "$session/metadata.json" || fail "not in progress"
  csv_rows 101 200 >&3
  exec 3>&-
  wait "$job" || fail "exit code $?"
  csv_rows 1 200 | cmp - copy || fail "the reader saw other rows"
  wait "$follower" || true  # the session may go before it has seen the end
  nothing_left
}

case_a_kept_session_is_read_after() {
  csv_rows 1 1000 >input
  "$export_rows" t --keep -q input >out
  grep -q '"status":"completed"' "$(cat out)/metadata.json" || fail "not completed"
  "$reader" "$(cat out)" | grep -q '^1000 rows' || fail "other rows"
}

case_a_reader_that_joined_holds_the_session() {
  csv_rows 1 5000 >input
  # Slow enough to be behind: the exporter does not wait for this one.
  mkfifo go
  "$export_rows" t --chunk-size 1KB --reader "cat go >/dev/null" input >out 2>err &
  job=$!
  for _ in $(seq 200); do [ -s out ] && break; sleep 0.05; done
  { "$reader" "$(cat out)" --copy 2>/dev/null; echo $? >code; } | { sleep 1; cat >copy; } &
  behind=$!
  sleep 0.5
  echo >go
  wait "$job" || fail "exit code $?"
  wait "$behind"
  [ "$(cat code)" = 0 ] || fail "the reader lost its session"
  cmp copy input || fail "the reader saw other rows"
  nothing_left
}

case_a_killed_exporter_is_noticed_and_swept() {
  mkfifo pipe
  "$export_rows" t --chunk-size 100B pipe >out 2>err &
  job=$!
  exec 3>pipe
  csv_rows 1 100 >&3
  for _ in $(seq 200); do [ -s out ] && ls "$(cat out)" | grep -q chunk_1 && break; sleep 0.05; done
  session=$(cat out)
  "$reader" "$session" >said 2>err_reader &
  behind=$!
  sleep 0.3
  kill -9 "$job"
  wait "$job" 2>/dev/null || true
  code=0
  wait "$behind" || code=$?
  [ "$code" = 1 ] || fail "the reader ended with $code"
  grep -q 'its process died' err_reader || fail "the reader said: $(cat err_reader)"
  exec 3>&-
  csv_rows 1 10 >input
  "$export_rows" other input >out 2>err || fail "exit code $?"
  nothing_left
}

case_a_reader_that_fails_fails_the_export() {
  csv_rows 1 10 >input
  refuses 'reader ended with exit code 3' t --reader 'exit 3' input
  refuses 'reader was killed by signal 9' t --reader 'kill -9 $$' input
}

case_bad_input_is_one_line_and_leaves_nothing() {
  refuses 'cannot open none' t none
  refuses 'cannot read place' t place
  refuses 'the input is empty (stdin)' t </dev/null
  : >empty
  refuses 'the input is empty (empty)' t empty
  refuses 'the input is empty' t --format binary empty
  refuses 'ends within its header' t --format binary --allow-empty empty
  "$export_rows" t --allow-empty empty >out 2>err || fail "an empty table was refused"
  binary_rows 1000 >whole
  for size in 5 11 18; do
    head -c $size whole >cut
    refuses 'ends within its header' t cut
  done
  for size in 19 5000 $(($(stat -c %s whole) - 1)) $(($(stat -c %s whole) - 2)); do
    head -c "$size" whole >cut
    refuses 'the input is cut short' t --chunk-size 1KB cut
  done
  { cat whole; echo more; } >long
  refuses 'goes on after its end mark' t long
  csv_rows 1 10 >rows
  refuses 'not in COPY.s binary format' t --format binary rows
  refuses 'header is for csv' t --header whole
  printf '1\ta\n2\tb' >cut
  refuses 'its last line has no newline' t --format text cut
  printf '1,a\n2,"b\n' >cut
  refuses 'ends within quotes' t cut
  { head -c 19 whole; printf '\x7f\x00'; } >many
  refuses 'claims to have 32512 fields' t many
  { head -c 19 whole; printf '\x00\x01\x00\x00\x00\x00\x00\x02'; printf '\x00\x00\x00\x00\x00\x00\x00\x00'; } >uneven
  refuses 'has 2 fields, those before it 1' t uneven
  { head -c 19 whole; printf '\x00\x01\x80\x00\x00\x00'; } >negative
  refuses 'claims to have 2147483648 bytes' t negative
}

case_little_space_is_one_line_and_leaves_nothing() {
  csv_rows 1 20000 >input
  refuses 'quota' t --quota 100KB input
  refuses 'not enough free space' t --need 900TB input
}

case_an_unwritable_place_is_one_line() {
  csv_rows 1 10 >input
  refuses 'Not a directory' t --place "$here/input/below" input
  local code=0
  "$export_rows" -q t --place nowhere input 2>err || code=$?
  [ "$code" = 2 ] || fail "exit code $code for a word that is no place"
  grep -q '"nowhere" is neither shm, tmp nor a directory that is there' err || fail "other words"
  [ ! -e nowhere ] || fail "it is there now"
  SCRATCH_DIR=relative refuses 'SCRATCH_DIR is relative' t input
  [ "$(id -u)" != 0 ] || exit 0
  mkdir -m 0500 closed
  refuses 'Permission denied' t --place "$here/closed/below" input
}

case_a_failed_export_tells_its_reader() {
  binary_rows 1000 >whole
  head -c 9999 whole >cut
  refuses 'cut short' t --reader "'$reader' \"\$SESSION_DIR\" >said 2>err_reader; true" cut
  grep -q 'the export failed: the input is cut short' err_reader || fail "the reader said: $(cat err_reader)"
}

case_a_full_file_system_is_one_line_and_leaves_nothing() {
  unshare -rm true 2>/dev/null || exit 77
  csv_rows 1 200000 >input
  unshare -rm bash -c '
    mount -t tmpfs -o size=1m none "$1/place" || exit 77
    code=0
    "$2" t -q --chunk-size 100KB "$1/input" >"$1/out" 2>"$1/err" || code=$?
    find "$1/place" -mindepth 2 >"$1/left"
    exit $code' - "$here" "$export_rows" && code=0 || code=$?
  [ $code != 77 ] || exit 77
  [ $code = 1 ] || fail "exit code $code"
  [ "$(wc -l <err)" = 1 ] && grep -q 'No space left' err || fail "not one line about space"
  [ ! -s left ] || fail "left behind: $(cat left)"
}

case_a_place_that_cannot_be_swept_is_said_and_the_work_goes_on() {
  need_program flock
  csv_rows 1 10 >input
  mkdir -m 700 root
  flock root "$export_rows" t -q --format csv --place "$here/root" input >out 2>err || fail "exit code $?"
  [ "$(wc -l <err)" = 1 ] && grep -q 'notice: what earlier runs left stays: .*/root' err || fail "not one line about it"
  [ -z "$(ls -A root)" ] || fail "left: $(ls -A root)"
}

"case_$case"
