#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cases.sh <scratchctl> <sessions> <case>: one case; what it asserts is its name.
scratchctl=$1 sessions=$2 case=$3
. "$(dirname "$0")/../common.sh"
SCRATCH_DIR=$here/nowhere
mkdir -m 0700 root

# says <exit code> <arguments ...>: to the files out and err
says() {
  local expected=$1 code=0
  shift
  "$scratchctl" "$@" >out 2>err || code=$?
  [ "$code" = "$expected" ] || fail "exit code $code, not $expected, from: $*"
  if [ "$expected" = 0 ] && [ -s err ]; then fail "something on stderr from: $*"; fi
}

# refuses <words of the one line on stderr> <arguments ...>
refuses() {
  local words=$1
  shift
  says 1 "$@"
  [ "$(wc -l <err)" = 1 ] || fail "not one line on stderr from: $*"
  grep -q -- "$words" err || fail "nothing about: $words"
}

has() { grep -Eq -- "$1" out || fail "nothing about: $1"; }

# json <expression of j>: must be true of the JSON in out
json() {
  need_program python3
  python3 -c "import json, sys; j = json.load(open('out')); sys.exit(not ($1))" || fail "not so: $1"
}

dead() { ("$sessions" "$here/root" dead || true) 2>/dev/null; }
unfinished() { ("$sessions" "$here/root" unfinished || "$sessions" "$here/root" go_on || true) 2>/dev/null; }
kept() { "$sessions" "$here/root" kept; }
live() { # [kind]; leaves live_path, live_job, and descriptor 3 that ends it
  mkfifo end
  "$sessions" "$here/root" "${1:-live}" <end >live_path &
  live_job=$!
  exec 3>end
  for _ in $(seq 200); do
    if [ -s live_path ] && { [ "${1:-live}" = writing ] || [ -f "$(cat live_path)/plain" ]; }; then break; fi
    sleep 0.05
  done
  live_path=$(cat live_path)
}
end_live() { exec 3>&-; wait "$live_job"; }

# Everything about all files that looking could change.
state() { find root -printf '%p %i %s %T@ %C@ %m\n' | sort; }

case_ls_tells_the_living_from_the_dead_and_the_kept() {
  path=$(dead) kept_path=$(kept)
  live
  says 0 ls root
  has "^live +in_progress +4\.8 MiB +[0-9]+s +$live_job +live +$live_path\$"
  has "^kept +completed .* kept +$kept_path\$"
  has "^dead +in_progress .* dead +$path\$"
  has '^3 sessions, 14\.3 MiB; a sweep would free 4\.8 MiB of 1 dead'
  says 0 ls root --json
  json "sorted((s['label'], s['alive'], s['kept'], s['status']) for s in j['places'][0]['sessions']) ==
        [('dead', False, False, 'in_progress'), ('kept', False, True, 'completed'), ('live', True, False, 'in_progress')]"
  json "[s for s in j['places'][0]['sessions'] if s['alive']][0]['pid'] == $live_job"
  json "all(s['bytes'] > 5e6 and s['age_seconds'] >= 0 and s['path'].startswith(j['places'][0]['root'])
            for s in j['places'][0]['sessions'])"
  end_live
}

case_jobs_says_how_far_the_work_is_and_whether_its_owner_lives() {
  path=$(unfinished) kept_path=$(kept)
  live
  says 0 jobs root
  has "^unfinished +in_progress +sorting 30 % \(3 of 10\) +4\.8 MiB +[0-9]+s +dead +1 +$path\$"
  has "^live +in_progress +- +4\.8 MiB +[0-9]+s +alive +0 +$live_path\$"
  has "^kept +completed .* dead +0 +$kept_path\$"
  has '^3 jobs; 1 can be gone on with$'
  says 0 jobs root --json
  json "sorted((s['label'], s['owner_alive'], s['resumed'], s['progress']) for s in j['places'][0]['sessions']) ==
        [('kept', False, 0, None), ('live', True, 0, None),
         ('unfinished', False, 1, {'done': 3, 'total': 10, 'what': 'sorting'})]"
  end_live
  mkdir -m 0700 empty
  says 0 jobs empty
  has '^0 jobs$'
}

case_ls_finds_the_roots_of_this_user_below_a_directory_and_in_the_usual_places() {
  mkdir -p -m 0700 "base/app-$(id -u)" base/app-4294967294 "base/other-$(id -u)"
  "$sessions" "$here/base/app-$(id -u)" kept >path
  says 0 ls base
  has "$(cat path)\$"
  has '^1 session, '
  SCRATCH_DIR=$here/base says 0 ls --json
  json "'$(cat path)' in [s['path'] for p in j['places'] for s in p['sessions']]"
  SCRATCH_DIR=$here/base says 0 ls shm:app
  has "$(cat path)\$"
  SCRATCH_DIR=$here/base says 0 ls tmp:app
  has "$(cat path)\$"
}

case_ls_shows_root_the_sessions_of_everybody_when_asked() {
  mkdir -p -m 0700 base "base/app-$(id -u)" base/app-65534
  "$sessions" "$here/base/app-$(id -u)" kept >path
  if [ "$(id -u)" != 0 ]; then
    refuses 'only root may' ls base --all-users
    return
  fi
  "$sessions" "$here/base/app-65534" kept >their_path
  chown -R 65534 base/app-65534
  says 0 ls base
  has '^1 session, '
  says 0 ls base --all-users
  has '^2 sessions, '
  has "$(cat path)\$"
  has "$(cat their_path)\$"
  for place in "" shm:app; do
    SCRATCH_DIR=$here/base says 0 ls $place --all-users --json
    json "(65534, '$(cat their_path)') in [(s['uid'], s['path']) for p in j['places'] for s in p['sessions']]"
  done
  refuses 'cannot be trusted' ls base/app-65534
  says 0 watch base/app-65534 --all-users --times 1
  has '^1 session, '
}

case_sessions_in_a_pgsql_tmp_are_found_and_swept() {
  mkdir -m 0700 pgsql_tmp
  path=$("$sessions" "$here/pgsql_tmp" pgsql 2>/dev/null || true)
  [ -d "$path" ] || fail "no session in pgsql_tmp"
  : >pgsql_tmp/pgsql_tmp123.0
  says 0 ls pgsql_tmp
  has "^dead .* in_server +$path\$"
  says 0 show "$path"
  has '^label +in_server'
  says 0 verify "$path"
  says 0 sweep pgsql_tmp
  has '1 removed'
  [ "$(ls pgsql_tmp)" = pgsql_tmp123.0 ] || fail "not just the session went"
}

case_du_has_a_row_for_each_area() {
  path=$(kept)
  says 0 du "$path"
  has '^sorting +1 +1000 B'
  has '^total +4 '
  says 0 du "$path" --json
  json "[(a['area'], a['files']) for a in j['areas']] == [('', 3), ('sorting', 1)] and j['total']['files'] == 4"
  json "j['total']['bytes'] == sum(a['bytes'] for a in j['areas']) > 5001003"
}

case_show_says_what_metadata_says() {
  path=$(dead)
  says 0 show "$path"
  has '^state +dead'
  has '^user +\{"job":7\}'
  has '^ *0  chunk_0.bin +5000000 +5  xxh3:[0-9a-f]{16}$'
  has '^ *1  sorting/chunk_1.bin +1000 +1  xxh3:'
  says 0 show "$path" --json
  json "j['label'] == 'dead' and j['alive'] is False and len(j['chunks']) == 2 and j['user'] == {'job': 7}"
  json "j['path'] == '$path' and j['status'] == 'in_progress'"
}

case_verify_reads_every_checksum() {
  path=$(kept)
  says 0 verify "$path"
  has '^ok +chunk_0.bin +chunk'
  has '^ok +sorting/chunk_1.bin +chunk'
  has '^ok +counts +count table'
  has '^- +plain +no checksum'
  has '^3 checked, 0 damaged, 1 without a checksum'
  for file in chunk_0.bin sorting/chunk_1.bin counts; do
    says 0 verify "$path/$file"
    has '^1 checked, 0 damaged'
  done
  (cd "$path/sorting" && "$scratchctl" verify chunk_1.bin >/dev/null) || fail "a relative path"
  says 0 verify "$path" --json
  json "j['ok'] and j['checked'] == 3 and j['damaged'] == 0 and len(j['files']) == 4"
}

case_verify_finds_each_kind_of_damage_and_ends_with_3() {
  path=$(kept)
  cp -r "$path" pristine
  damages() { # <file> <command that damages it>
    eval "$2"
    says 3 verify "$path"
    has "^DAMAGED  $1 "
    has '1 damaged'
    says 3 verify "$path" --json
    json "not j['ok'] and [f['file'] for f in j['files'] if not f['ok']] == ['$1'] and
          all(f.get('error') for f in j['files'] if not f['ok'])"
    if [ -f "$path/$1" ] && [ "$1" != metadata.json ]; then says 3 verify "$path/$1"; fi
    rm -f "$path/$1"
    cp -p "pristine/$1" "$path/$1"
  }
  damages chunk_0.bin 'printf x | dd of="$path/chunk_0.bin" bs=1 seek=4999999 conv=notrunc 2>/dev/null'
  damages chunk_0.bin 'truncate -s 4999999 "$path/chunk_0.bin"'
  damages chunk_0.bin 'echo >>"$path/chunk_0.bin"'
  damages chunk_0.bin 'rm "$path/chunk_0.bin"'
  damages sorting/chunk_1.bin 'printf x | dd of="$path/sorting/chunk_1.bin" bs=1 conv=notrunc 2>/dev/null'
  damages counts 'printf "\377" | dd of="$path/counts" bs=1 seek=100 conv=notrunc 2>/dev/null'
  damages counts 'truncate -s 70 "$path/counts"'
  damages metadata.json 'echo "{" >"$path/metadata.json"'
  says 0 verify "$path"
}

case_count_shows_the_highest_counts_or_those_of_keys() {
  path=$(kept)
  says 0 count "$path/counts"
  has '^32-bit keys, 1000 distinct, total 500500, content 0x[0-9a-f]{16}$'
  sed -n 3p out | grep -Eq '^1000 +0x00000000000003e8 +1000$' || fail "not the highest first"
  [ "$(wc -l <out)" = 12 ] || fail "not ten"
  says 0 count "$path/counts" --top 3 --json
  json "j['counts'] == [{'key': k, 'count': k} for k in (1000, 999, 998)] and j['key_bits'] == 32"
  json "j['distinct'] == 1000 and j['total'] == 500500"
  says 0 count "$path/counts" 7 0x10 5000 --json
  json "[(c['key'], c['count']) for c in j['counts']] == [(7, 7), (16, 16), (5000, 0)]"
  refuses 'is no key' count "$path/counts" seven
  refuses 'is no key' count "$path/counts" -- -1
  refuses 'is no key' count "$path/counts" 99999999999999999999
  refuses '4294967296 as a key' count "$path/counts" 4294967296
  says 1 count "$path/chunk_0.bin"
  says 1 count "$path/none"
}

case_count_shows_how_many_keys_have_each_count() {
  path=$(kept)
  says 0 count "$path/counts" --histogram --json
  json "j['histogram'] == [{'count': k, 'keys': 1} for k in range(1, 1001)] and j['distinct'] == 1000"
  says 0 count "$path/counts" --histogram
  has '^32-bit keys, 1000 distinct'
  sed -n 3p out | grep -Eq '^ *1 +1$' || fail "not the lowest first"
  [ "$(wc -l <out)" = 1002 ] || fail "not one line each"
  "$sessions" "$here" tables
  says 0 count a --histogram --json
  json "j['histogram'] == [{'count': 1, 'keys': 50}, {'count': 2, 'keys': 50}, {'count': 7, 'keys': 1}]"
}

case_count_takes_keys_as_options_and_without_them_the_file_may_come_last() {
  path=$(kept)
  says 0 count --key 7 --key 0x10 "$path/counts" --json
  json "[(c['key'], c['count']) for c in j['counts']] == [(7, 7), (16, 16)]"
  says 0 count "$path/counts" 1 --key 5000 --json
  json "[(c['key'], c['count']) for c in j['counts']] == [(1, 1), (5000, 0)]"
  refuses 'is no key' count "$path/counts" --key seven
}

# a: 1 to 100, the odd ones once, the others twice, and 1000 seven times; b: 51 to 150 twice.
case_count_says_how_two_tables_differ() {
  "$sessions" "$here" tables
  says 0 count a --joined b --json
  json "j['joined'] == {'in_both': 50, 'only_here': 51, 'only_there': 50, 'different': 126}"
  json "(j['counts'][0]['key'], j['counts'][0]['count'], j['counts'][0]['other']) == (1000, 7, 0)"
  json "[(c['key'], c['count'], c['other']) for c in j['counts'][1:4]] == [(2, 2, 0), (4, 2, 0), (6, 2, 0)]"
  json "len(j['counts']) == 10"
  says 0 count a --joined b --top 1000 --json
  json "len(j['counts']) == 126 and {c['key'] for c in j['counts']} >= {1, 51, 101, 150, 1000} and not {52, 100} & {c['key'] for c in j['counts']}"
  says 0 count a --joined b 52 51 1000 5 7000 --json
  json "[(c['count'], c['other']) for c in j['counts']] == [(2, 2), (1, 2), (7, 0), (1, 0), (0, 0)]"
  says 0 count a --joined b --top 1
  has '^50 keys in both, 51 only here, 50 only in the other; 126 have other counts$'
  has '^KEY +HEX +COUNT +OTHER$|^ *KEY  HEX +COUNT  OTHER$'
  has '^1000 +0x00000000000003e8 +7 +0$'
  says 0 count a --joined a
  has '^101 keys in both, 0 only here, 0 only in the other; 0 have other counts$'
  [ "$(wc -l <out)" = 2 ] || fail "more than that"
  cp "$(dirname "$0")/../../count/golden/version_3_128" wide
  refuses 'wide has keys of 128 bits, and a of 64' count a --joined wide
  says 0 count wide --joined wide
  refuses 'text is not a count table' count a --joined "$(echo text >text; echo text)"
  says 1 count a --joined none
}

case_count_gives_all_of_a_table_in_parts() {
  "$sessions" "$here" tables
  for i in $(seq 1 100); do printf '%s\t%s\n' "$i" $((2 - i % 2)); done >expected
  printf '1000\t7\n' >>expected
  says 0 count a --part 0/1
  sort -n out | cmp - expected || fail "other counts"
  : >all
  for i in 0 1 2 3 4; do
    says 0 count a --part $i/5
    cat out >>all
    [ "$(wc -l <out)" -lt 60 ] || fail "one part has most of them"
  done
  sort -n all | cmp - expected || fail "not each once"
  says 0 count "$(dirname "$0")/../../count/golden/version_3_128" --part 0/1
  [ "$(grep -Ec '^[0-9a-f]{32}	[0-9]+$' out)" = 701 ] || fail "not all keys of 128 bits"
  for wrong in 1 1/1 5/4 -1/4 1/0 a/b 1/ 0x1/2 ''; do
    says 2 count a "--part=$wrong"
    [ "$(wc -l <err)" = 1 ] || fail "not one line for $wrong"
  done
  says 2 count a --part 0/1 --json
  says 2 count a --part 0/1 --histogram
  says 2 count a --histogram --joined b
  says 2 count a 7 --histogram
}

case_count_shows_keys_of_128_bits_as_32_digits_and_takes_them_so() {
  cp "$(dirname "$0")/../../count/golden/version_3_128" table
  local long=0000000000000004fffffffffffffffd
  says 0 count table --top 1
  has '^128-bit keys, 701 distinct, total [0-9]+, content 0x[0-9a-f]{16}$'
  has '^00000000000000010000000000000001 +9223372036854775807$'
  says 0 count table --top 1 --json
  json "j['counts'] == [{'key': '0' * 15 + '1' + '0' * 15 + '1', 'count': 2**63 - 1}] and j['key_bits'] == 128"
  says 0 count table $long 0x${long^^} 00000000-0000-0004-ffff-fffffffffffd 4 0x4 5 --json
  json "[c['count'] for c in j['counts']] == [3, 3, 3, 2, 2, 0] and j['counts'][0]['key'] == '$long'"
  refuses 'is no key: 32 hexadecimal digits' count table ${long}0
  refuses 'is no key' count table g${long#0}
  refuses 'is no key' count table 99999999999999999999
  says 0 verify table
  has '^ok +.*table +count table$'
}

case_sweep_takes_the_dead_alone() {
  path=$(dead) kept_path=$(kept)
  live
  mkdir root/mine
  state >before
  says 0 sweep --dry-run root
  has "^would remove $path \(4\.8 MiB\)"
  has '^dry run: 1 removed \(4\.8 MiB\), 1 live, 1 kept, 0 too young, 1 foreign, 0 failed'
  state | cmp - before || fail "a dry run changed something"
  says 0 sweep --older-than 1h root
  has ' 1 too young'
  says 0 sweep --older-than 10000d root
  has ' 1 too young'
  says 0 sweep root --json
  json "j['removed'] == 1 and j['live'] == 1 and j['kept'] == 1 and j['foreign'] == 1 and j['failed'] == []"
  json "[s['path'] for s in j['sessions']] == ['$path'] and j['bytes_freed'] > 5e6 and not j['dry_run']"
  [ ! -e "$path" ] && [ -d "$live_path" ] && [ -d "$kept_path" ] && [ -d root/mine ] || fail "the wrong ones went"
  says 0 sweep --kept root
  [ ! -e "$kept_path" ] && [ -d "$live_path" ] || fail "--kept"
  end_live
  [ "$(ls -A root)" = mine ] || fail "left behind: $(ls -A root)"
}

case_watch_lists_again_and_again() {
  dead >path
  says 0 watch root --every 10ms --times 3
  [ "$(grep -c "$(cat path)" out)" = 3 ] || fail "not three times"
  says 0 watch root --every 10ms --times 3 --json
  [ "$(wc -l <out)" = 3 ] || fail "not three lines"
  head -n 1 out >one && mv one out
  json "j['places'][0]['sessions'][0]['label'] == 'dead'"
}

case_looking_changes_nothing() {
  path=$(dead)
  : >"$path/.scratch-tmp-0123456789abcdef"
  live
  state >before
  for what in 'ls root' 'ls' "du $path" "show $path" "verify $path" "verify $path/counts" "verify $path/chunk_0.bin" \
    "count $path/counts" 'watch root --times 2 --every 1ms' "du $live_path" "show $live_path" "verify $live_path" \
    "count $live_path/counts"; do
    # shellcheck disable=SC2086
    says 0 $what
    # shellcheck disable=SC2086
    says 0 $what --json
  done
  state | diff before - || fail "something changed"
  end_live
}

case_names_and_labels_do_not_steer_a_terminal() {
  path=$(kept)
  printf x >"$path/$(printf 'a\033[2Jb')"
  sed -i 's/"label":"kept"/"label":"\\u001b[31mred"/' "$path/metadata.json"
  for what in ls du show verify; do
    [ $what != ls ] && argument=$path || argument=root
    says 0 $what "$argument"
    ! grep -q "$(printf '\033')" out || fail "$what lets an escape through"
  done
  says 0 ls root --json
  json "j['places'][0]['sessions'][0]['label'] == '\\x1b[31mred'"
}

case_bad_input_is_one_line() {
  path=$(kept)
  : >file
  refuses 'no place none' ls none
  refuses 'is no directory' ls file
  refuses 'no place none' sweep none
  refuses 'the session is gone' du root/session_x_0123456789abcdef
  refuses 'invalid name' show root
  refuses 'invalid name' verify root
  refuses 'the session is gone' verify root/session_x_0123456789abcdef
  refuses 'has no checksum' verify file
  refuses 'has no checksum' verify "$path/plain"
  refuses 'file is not a count table' count file
  refuses 'chunk_0.bin is not a count table' count "$path/chunk_0.bin"
  refuses 'is a directory' count root
  echo '{' >"$path/metadata.json"
  refuses 'corrupt\|damaged' show "$path"
  says 0 ls root
  has '^kept +unknown '
  [ "$(id -u)" != 0 ] || return 0
  mkdir -m 0 closed
  refuses 'Permission denied' ls closed
}

case_a_place_that_cannot_be_trusted_is_reported_and_the_others_are_listed() {
  mkdir -p -m 0700 "base/a-$(id -u)" "base/b-$(id -u)"
  "$sessions" "$here/base/a-$(id -u)" kept >a
  "$sessions" "$here/base/b-$(id -u)" kept >b
  chmod 0777 "base/a-$(id -u)"
  says 1 ls base
  has "$(cat b)\$"
  [ "$(wc -l <err)" = 1 ] && grep -q 'cannot be trusted' err || fail "not one line about trust"
  says 1 sweep base --json
  json "len(j['failed']) == 1 and j['kept'] == 1"
}

case_a_place_whose_locks_may_not_hold_is_swept_when_told_so() {
  need_program bindfs
  [ -c /dev/fuse ] && [ "$(id -u)" = 0 ] || { echo "skipped: no FUSE here"; exit 77; }
  dead >path
  unshare -mf --kill-child bash -c '
    bindfs --no-allow-other root root
    "$0" sweep root >out 2>err && exit 1
    "$0" ls root >listed
    "$0" sweep --believe-locks root >swept 2>>err' "$scratchctl" || fail "exit code $?"
  [ "$(wc -l <err)" = 1 ] && grep -q 'on fuse may be' err || fail "not one line about it"
  grep -q '^1 removed' swept || fail "not swept: $(cat swept)"
  [ -z "$(ls -A root)" ] || fail "left: $(ls -A root)"
}

case_rm_removes_one_session_by_its_path_or_its_id() {
  path=$(dead) kept_path=$(kept)
  live
  other=$(dead)
  says 0 rm "$path"
  has "^removed $path \(4\.8 MiB\)"
  refuses "$live_path is alive: process $live_job works in it" rm "$live_path"
  refuses "$kept_path is kept: rm --kept removes it" rm "$kept_path"
  [ ! -e "$path" ] && [ -d "$kept_path" ] && [ -d "$live_path" ] && [ -d "$other" ] || fail "the wrong ones went"
  says 0 rm --kept "$kept_path" --json
  json "[s['path'] for s in j['sessions']] == ['$kept_path'] and j['sessions'][0]['bytes'] > 5e6 and j['failed'] == []"
  [ ! -e "$kept_path" ] || fail "it is still there"
  mkdir -p -m 0700 "base/app-$(id -u)"
  mv "$other" "base/app-$(id -u)"
  id=$(basename "$other")
  SCRATCH_DIR=$here/base says 0 rm "${id#session_}"
  [ -z "$(ls "base/app-$(id -u)")" ] || fail "not by its id"
  refuses 'the session is gone' rm "$path"
  refuses 'no session 4711 in the usual places' rm 4711
  mkdir root/session_mine_0123456789abcdef
  : >root/session_mine_0123456789abcdef/thesis
  refuses 'cannot be trusted\|no session at all' rm root/session_mine_0123456789abcdef
  [ -f root/session_mine_0123456789abcdef/thesis ] || fail "it went"
  end_live
}

case_rm_goes_on_behind_one_that_it_cannot_remove() {
  first=$(dead) second=$(dead)
  echo '{' >"$first/metadata.json"
  says 1 rm "$here/root/session_none_0123456789abcdef" "$first" "$second"
  [ "$(wc -l <err)" = 1 ] && [ "$(wc -l <out)" = 2 ] || fail "not one line each"
  [ -z "$(ls -A root)" ] || fail "left: $(ls -A root)"
}

case_keep_and_unkeep_say_what_a_sweep_may_take() {
  path=$(dead)
  live
  says 0 keep "$path"
  has "^kept $path\$"
  says 0 sweep root
  has '^0 removed .* 1 kept'
  says 0 ls root
  has "^kept +in_progress .* $path\$"
  refuses 'is alive' keep "$live_path"
  refuses 'is alive' unkeep "$live_path"
  says 0 unkeep "$path"
  has "^no longer kept $path\$"
  says 0 show "$path" --json
  json "j['status'] == 'in_progress' and j['kept'] is False and not j.get('previous')"
  says 0 sweep root
  has '^1 removed '
  [ -d "$live_path" ] && [ ! -e "$path" ] || fail "the wrong one went"
  end_live
}

# runs <exit code> <arguments of run ...>
runs() {
  local expected=$1 code=0
  shift
  "$scratchctl" run --place "$here/root" "$@" >out 2>err || code=$?
  [ "$code" = "$expected" ] || fail "exit code $code, not $expected, from: run $*"
  [ -z "$(ls -A root)" ] || fail "left: $(ls -A root)"
}

case_run_gives_its_command_a_session_which_goes_with_it() {
  # shellcheck disable=SC2016
  runs 0 -- sh -c 'echo "$SESSION_DIR"; ls -A "$SESSION_DIR"; : >"$SESSION_DIR/work"; "$0" ls "$(dirname "$SESSION_DIR")"' "$scratchctl"
  has "^$here/root/session_[0-9_]*pid[0-9]+_sh_[0-9a-f]{16}\$"
  has '^metadata.json$'
  has '^live +in_progress .* sh '
  [ ! -s err ] || fail "something on stderr"
  runs 0 --label my.label -- sh -c 'echo $SESSION_DIR'
  has '_my.label_'
  SCRATCH_DIR=$here says 0 run -- sh -c 'echo $SESSION_DIR'
  has "^$here/scratchctl-$(id -u)/session_"
  says 2 run --retry 2
  grep -q 'no command stands after --' err || fail "no word about the command"
}

case_run_ends_as_its_command_does() {
  runs 0 -- true
  runs 7 -- sh -c 'exit 7'
  runs 137 -- sh -c 'kill -9 $$'
  runs 143 -- sh -c 'kill $$'
  runs 127 -- no_such_command_there
  grep -q 'no_such_command_there.*No such file' err || fail "no word about it"
  : >file
  runs 126 -- "$here/file"
  echo | runs 0 -- cat
}

case_run_starts_its_command_again_when_it_was_killed() {
  # shellcheck disable=SC2016
  dies='echo >>"$SESSION_DIR/tries"; n=$(wc -l <"$SESSION_DIR/tries"); echo "$n $SESSION_DIR"; [ $n -gt 2 ] || kill -'
  runs 0 --retry 3 -- sh -c "$dies"'9 $$'
  [ "$(cut -d' ' -f1 out | tr '\n' ' ')" = '1 2 3 ' ] && [ "$(cut -d' ' -f2 out | sort -u | wc -l)" = 1 ] || fail "not thrice in one"
  [ "$(grep -c 'notice: sh was killed by signal 9 (Killed): again, [12] of 3' err)" = 2 ] || fail "not two notices"
  runs 137 --retry 1 -- sh -c "$dies"'9 $$'
  [ "$(wc -l <out)" = 2 ] || fail "not twice"
  runs 134 -- sh -c "$dies"'ABRT $$'
  [ "$(wc -l <out)" = 1 ] || fail "without --retry more than once"
  for signal in INT TERM HUP; do
    runs $((128 + $(kill -l $signal))) --retry 3 -- sh -c "$dies$signal"' $$'
    [ "$(wc -l <out)" = 1 ] || fail "$signal was no wish to stop"
  done
  runs 3 --retry 3 -- sh -c 'echo; exit 3'
  [ "$(wc -l <out)" = 1 ] || fail "an exit code is no kill"
}

case_run_hands_a_signal_on_and_waits() {
  for signal in TERM HUP; do
    rm -f ready
    "$scratchctl" run --retry 5 --place "$here/root" -- \
      sh -c "trap 'echo got it; exit 5' $signal; : >ready; while :; do sleep 0.02; done" >out 2>err &
    job=$!
    for _ in $(seq 400); do [ ! -f ready ] || break; sleep 0.02; done
    kill -$signal $job
    code=0
    wait $job || code=$?
    [ $code = 5 ] && [ "$(cat out)" = 'got it' ] || fail "exit code $code"
    [ -z "$(ls -A root)" ] || fail "left: $(ls -A root)"
  done
}

case_sweep_takes_all_applications_of_a_place_when_told_so() {
  mkdir -p -m 0700 "root/app-$(id -u)" "root/other-$(id -u)" root/app-4294967294
  path=$(dead)
  mkdir -m 0700 aside
  cp -r "$path" "root/app-$(id -u)"
  cp -r "$path" "root/other-$(id -u)"
  cp -r "$path" root/app-4294967294
  says 0 sweep root --dry-run
  has '^dry run: 1 removed '
  says 0 sweep root --all-apps
  has '^3 removed '
  [ ! -e "$path" ] && [ -z "$(ls "root/app-$(id -u)" "root/other-$(id -u)" | grep session_)" ] || fail "not all of ours went"
  [ -n "$(ls root/app-4294967294)" ] || fail "another user's went"
  cp -r root/app-4294967294/session_* "root/app-$(id -u)"
  SCRATCH_DIR=$here/root says 0 sweep shm --all-apps
  has '^1 removed '
  refuses 'is the place of one application' sweep shm:app --all-apps
  refuses 'for the places shm and tmp' sweep root --all-apps --all-users
  [ "$(id -u)" = 0 ] || return 0
  chown -R 65534 "root/other-$(id -u)"
  mv "root/other-$(id -u)" root/other-65534
  mv root/app-4294967294/session_* root/other-65534
  rmdir root/app-4294967294
  chown -R 65534 root/other-65534
  SCRATCH_DIR=$here/root says 0 sweep tmp --all-apps --all-users
  has '^1 removed '
  [ -z "$(ls root/other-65534)" ] || fail "not everybody's"
}

case_a_bad_session_is_a_row_with_its_error_and_the_others_are_shown() {
  path=$(dead) newer=$(kept) fine=$(dead)
  echo '{' >"$path/metadata.json"
  sed -i 's/^{"format":[0-9]*/{"format":99/' "$newer/metadata.json"
  for what in ls jobs; do
    says 0 $what root
    has "^(dead +)?.*unknown .* $path\$"
    has "^(dead +)?.*in_progress .* $fine\$"
    has "not all of it could be read: .*$path/metadata.json.*damaged"
    has "not all of it could be read: .*$newer/metadata.json.*unsupported format version"
    says 0 $what root --json
    json "sum('error' in s for s in j['places'][0]['sessions']) == 2 and len(j['places'][0]['sessions']) == 3"
  done
}

case_what_is_being_written_or_removed_is_in_the_list() {
  path=$(dead)
  mv "$path" root/.scratch-trash-0123456789abcdef
  live writing
  says 0 ls root
  has "^dead +trash +4\.8 MiB .*/\.scratch-trash-0123456789abcdef\$"
  has '^2 sessions, .* and [89]\.[0-9] MiB being written'
  says 0 ls root --json
  json "sorted((s['status'], s['uncommitted'] > 8e6) for s in j['places'][0]['sessions']) == [('in_progress', True), ('trash', False)]"
  says 0 jobs root
  has '^1 job$'
  end_live
}

case_verify_looks_again_before_it_cries_over_a_session_that_is_worked_in() {
  live busy
  for i in $(seq 40); do says 0 verify "$live_path"; done
  has ' 0 damaged'
  says 0 verify "$live_path" --json
  json "j['ok'] and j['checked'] >= 3"
  # The control: what is damaged and stays so is found all the same.
  printf x | dd of="$live_path/sorting/chunk_1.bin" bs=1 conv=notrunc 2>/dev/null
  says 3 verify "$live_path"
  has '^DAMAGED  sorting/chunk_1.bin '
  has ' 1 damaged'
  end_live
}

case_a_hard_link_is_no_damage() {
  path=$(kept)
  mkdir links
  ln "$path/chunk_0.bin" "$path/counts" "$path/plain" links
  says 0 verify "$path"
  has '^ok +chunk_0.bin +chunk'
  has '^- +counts '
  has '^2 checked, 0 damaged, 2 without'
  says 0 verify "$path/chunk_0.bin"
  refuses 'has a second name' verify "$path/counts"
  printf x | dd of=links/chunk_0.bin bs=1 seek=7 conv=notrunc 2>/dev/null
  says 3 verify "$path"
  has '^DAMAGED  chunk_0.bin '
}

case_exit_codes_are_documented() {
  says 0 --help
  has '^Exit codes: 0 .* 1 '
  for code in 2 3 141; do has " $code "; done
  says 2 fly
  [ "$(wc -l <err)" = 1 ] && grep -q '^scratchctl: ' err || fail "not one line"
  says 0 --version
  has '^scratchctl, with scratch [0-9]'
}

case_names_that_are_no_text_come_back_from_json() {
  path=$(kept)
  printf x >"$path/$(printf 'a\377b')"
  says 0 verify "$path" --json
  json "'a%FFb' in [f.get('file_bytes') for f in j['files']]"
}

"case_$case"
