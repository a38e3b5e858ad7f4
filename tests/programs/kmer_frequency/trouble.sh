#!/bin/sh
# SPDX-License-Identifier: MIT
#
# When things go wrong: <fact> <program> <source directory>
. "$(dirname "$0")/common.sh"

# refuses <words of the line> <arguments ...>: it ends with a failure, says why in one line, and leaves nothing.
refuses() {
  words=$1
  shift
  for how in "" --processes; do
    code=0
    "$program" --workers 2 $how "$@" >out 2>err || code=$?
    [ "$code" = 1 ] || [ "$code" = 2 ] || fail "it ended with $code for $*: $(cat err)"
    [ "$(wc -l <err)" = 1 ] || fail "not one line for $*: $(cat err)"
    grep -q "^kmer_frequency: .*$words" err || fail "no \"$words\" for $*: $(cat err)"
    [ ! -s out ] || fail "it wrote something for $*: $(head -n 3 out)"
    [ ! -e result.tsv ] || fail "result.tsv is there for $*"
    must_leave_nothing
  done
}

# The rows go through a FIFO, so that the program is surely at work when something happens to it.
start_reading() {
  make_reads
  mkfifo rows
  "$program" --workers 3 --memory 60MiB -o result.tsv "$@" - <rows 2>err &
  parent=$!
  exec 3>rows
  cat simulated.fa >&3
  session=
  while [ -z "$session" ]; do
    session=$(find "$TMPDIR" -name 'session_*' -type d | head -n 1)
    kill -0 $parent || fail "it ended: $(cat err)"
  done
}
workers() { cat "/proc/$parent/task/$parent/children"; }
wait_for_workers() { while [ "$(workers | wc -w)" != 3 ]; do kill -0 $parent || fail "it ended: $(cat err)"; done; }
is_running() { [ -e "/proc/$1" ] && ! grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }

case $fact in
  bad_input_is_one_line)
    make_reads
    gzip -c reads.fa >reads.fa.gz
    gzip -c simulated.fa >simulated.fa.gz
    : >empty.fa
    gzip -c empty.fa >empty.fa.gz
    head -c 20000 reads.fa.gz >truncated.fa.gz
    head -c $(($(wc -c <reads.fa.gz) - 3)) reads.fa.gz >almost.fa.gz
    echo 'a letter to somebody' >letter.txt
    printf '\n\n\n' >lines.fa
    printf '@one\nACGTACGT\n+\nIIIIIIII\n@two\nACGTAC' >cut.fq
    printf '@one\nACGTACGT\n+\nIIII' >cut_qualities.fq
    { printf '\177' && head -c 100000 /dev/urandom; } >noise.fa.gz  # begins like no FASTA, FASTQ or gz
    # All of its bases, and the wrong sum: noise in the middle may look like a stream that only ends early.
    head -c $(($(wc -c <reads.fa.gz) - 8)) reads.fa.gz >damaged.fa.gz
    printf 'damaged!' >>damaged.fa.gz

    refuses 'cannot open "nowhere.fa": No such file' nowhere.fa
    refuses 'cannot open "nowhere.fa": No such file' -o result.tsv reads.fa nowhere.fa
    refuses '"empty.fa" is empty' empty.fa
    refuses '"empty.fa.gz" is empty' empty.fa.gz
    refuses '"-" is empty' - </dev/null
    refuses '"truncated.fa.gz" is truncated' -o result.tsv truncated.fa.gz
    refuses '"almost.fa.gz" is truncated' -o result.tsv simulated.fa.gz almost.fa.gz
    refuses 'cannot read "damaged.fa.gz"' -o result.tsv damaged.fa.gz
    refuses '"letter.txt" is neither FASTA nor FASTQ' letter.txt
    refuses '"noise.fa.gz" is neither FASTA nor FASTQ' noise.fa.gz
    refuses '"lines.fa" is neither FASTA nor FASTQ' lines.fa
    refuses '"cut.fq" is truncated' cut.fq
    refuses '"cut_qualities.fq" is truncated' cut_qualities.fq
    refuses 'is a directory' "$work"
    refuses 'no reads are given'
    refuses 'standard input can be read once' - -
    ;;
  bad_options_are_one_line)
    make_reads
    refuses '-k: .*0 not in range' -k 0 reads.fa
    refuses '-k: .*64 not in range 1 to 63' -k 64 reads.fa
    refuses '-k: ' -k many reads.fa
    refuses 'take 130 bits, and keys have 128' -k 63 --occurrence-bits 4 reads.fa
    refuses 'take 129 bits' -k 40 --occurrence-bits 49 reads.fa
    refuses 'needs --occurrence-bits 0' -k 11 --occurrence-bits 4 --count occurrences reads.fa
    refuses 'count: ' --count words reads.fa
    refuses '"memory" is neither shm, tmp nor a directory that is there' --place memory reads.fa
    [ ! -e memory ] || fail "it is there now"
    refuses 'excludes' --min-count 3 --max-appearance-nrow 3 reads.fa
    refuses 'wrong' --wrong reads.fa
    refuses 'no sequence has the 100000 bases' --simulate-reads 5 --read-length 100000 genome.fa
    ;;
  a_place_that_cannot_be_swept_is_said_and_the_work_goes_on)
    need_program flock
    make_reads
    mkdir -m 700 root
    flock root "$program" --workers 2 --quiet --memory 40MiB --place "$work/root" -o result.tsv reads.fa 2>err ||
      fail "it ended with $?"
    [ "$(wc -l <err)" = 1 ] && grep -q 'notice: what earlier runs left stays: .*/root' err || fail "$(cat err)"
    [ -s result.tsv ] && [ -z "$(ls -A root)" ] || fail "left: $(ls -A root)"
    ;;
  too_little_room_is_one_line)
    make_reads
    mkdir output
    refuses '256.0 KiB is too little: 1 worker takes at least [0-9]* MiB' --memory 256KiB reads.fa
    refuses 'not enough free space .*1.0 PiB needed' --need 1024TiB reads.fa
    refuses 'quota exceeded' --quota 200KiB --memory 40MiB -o result.tsv reads.fa
    code=0
    "$program" --quota 3MiB --memory 40MiB -o result.tsv reads.fa 2>err || code=$?
    [ "$code" = 1 ] || fail "it ended with $code"
    grep -q 'quota exceeded.*; it is kept as ' err || fail "$(cat err)"
    rm -r "$(dirname "$(sed -n 's/.*it is kept as //p' err)")"
    refuses 'cannot .*"/proc/kmers"' --place /proc/kmers reads.fa
    refuses 'cannot .*"nowhere/result.tsv"' -o nowhere/result.tsv reads.fa
    refuses 'cannot .*"output"' -o output reads.fa
    refuses 'cannot .*"nowhere/table"' --table nowhere/table reads.fa
    code=0
    "$program" reads.fa >/dev/full 2>err || code=$?
    [ "$code" = 1 ] || fail "it ended with $code"
    grep -q 'cannot write to the standard output: No space left.*; it is kept as ' err || fail "$(cat err)"
    kept=$(sed -n 's/.*it is kept as //p' err)
    "$program" --table table reads.fa >nothing 2>&1
    [ "$(head -c 4 "$kept" | od -An -tx1)" = "$(head -c 4 table | od -An -tx1)" ] || fail "no table is kept: $kept"
    rm -r "$(dirname "$kept")"
    must_leave_nothing
    ;;
  a_full_file_system_is_one_line)
    # A file system of 1 MiB, seen by nobody else.
    unshare $own_mounts true 2>/dev/null || { echo "skipped: no mount namespaces"; exit 77; }
    make_reads
    mkdir small
    code=0
    unshare $own_mounts sh -c "mount -t tmpfs -o size=1m small small && { '$program' --memory 40MiB --need 0 --place small/place -o result.tsv reads.fa; code=\$?; find small/place -mindepth 1 -name 'session*' >left; exit \$code; }" 2>err || code=$?
    [ "$code" = 1 ] || fail "it ended with $code: $(cat err)"
    [ "$(wc -l <err)" = 1 ] || fail "not one line: $(cat err)"
    grep -q 'No space left on device' err || fail "$(cat err)"
    [ ! -s left ] || fail "left behind: $(cat left)"
    [ ! -e result.tsv ] || fail "result.tsv is there"
    ;;
  several_places_share_the_tables_of_processes)
    start_reading --processes --workers 12 --memory 400MiB --place "$work/place/a" --place "$work/place/b"
    while [ "$(workers | wc -w)" != 12 ]; do kill -0 $parent || fail "it ended: $(cat err)"; done
    for worker in $(workers); do tr '\0' '\n' <"/proc/$worker/cmdline" | sed -n '/^--join$/{n;p}'; done | sort | uniq -c >joined
    [ "$(wc -l <joined)" = 2 ] && grep -q 'place/a/session_' joined && grep -q 'place/b/session_' joined || fail "$(cat joined)"
    exec 3>&-
    wait $parent || fail "it failed: $(cat err)"
    grep -q 'notice: .*place/b is on the device of .*place/a' err || fail "no notice: $(cat err)"
    [ "$(grep -c '^place .*/place/[ab]/session_' err)" = 2 ] || fail "not both places: $(cat err)"
    must_leave_nothing
    count --sorted -o wanted.tsv simulated.fa
    sort result.tsv >sorted.tsv
    same wanted.tsv sorted.tsv
    rm result.tsv
    refuses 'two have the name' --place "$work/place/a" --place "$work/place/a" reads.fa
    ;;
  one_table_is_in_the_place_with_the_most_room)
    unshare $own_mounts true 2>/dev/null || { echo "skipped: no mount namespaces"; exit 77; }
    make_reads
    count --sorted -o wanted.tsv reads.fa
    mkdir small large
    cat >mounted <<END
set -e
mount -t tmpfs -o size=1m small small
mount -t tmpfs -o size=64m large large
for places in "small large" "large small"; do
  set -- \$places
  '$program' --workers 2 --memory 40MiB --sorted --place \$1/place --place \$2/place -o given.tsv reads.fa 2>err
  grep -q '^place .*/large/place/session_' err
  ! grep -q notice err
  cmp given.tsv wanted.tsv
  rm given.tsv
  # Where a worker's place is full it is done by another, or there is one line.
  code=0
  '$program' -q --processes --workers 3 --memory 60MiB --need 0 --sorted --place \$1/place --place \$2/place -o given.tsv reads.fa \
    2>err || code=\$?
  if [ \$code = 0 ]; then cmp given.tsv wanted.tsv; rm given.tsv
  else [ \$code = 1 ] && [ ! -e given.tsv ] && grep -q 'No space left' err && [ "\$(wc -l <err)" = 1 ]; fi
  [ -z "\$(find small large -name 'session_*')" ]
  # Of two of which one cannot be used, the other is.
  '$program' -q --workers 2 --memory 40MiB --sorted --place /proc/kmers --place large/place -o given.tsv reads.fa 2>err
  cmp given.tsv wanted.tsv
done
END
    unshare $own_mounts sh -x mounted 2>said || fail "$(cat err) $(tail -n 3 said)"
    ;;
  an_unwritable_place_is_one_line)
    make_reads
    mkdir -m 0777 theirs
    chmod 0777 theirs
    refuses 'cannot .*theirs' --place "$work/theirs" reads.fa
    : >file
    refuses 'cannot .*file' --place "$work/file" reads.fa
    if [ "$(id -u)" != 0 ]; then
      mkdir -m 0500 mine
      refuses 'cannot .*Permission denied' --place "$work/mine" reads.fa
    fi
    ;;
  a_killed_worker_is_named)
    start_reading --processes --events
    wait_for_workers
    # shellcheck disable=SC2046
    set -- $(workers)
    kill -9 "$2"
    cat simulated.fa simulated.fa simulated.fa >&3 2>/dev/null || true
    exec 3>&-
    code=0
    wait $parent || code=$?
    [ "$code" = 1 ] || fail "it ended with $code: $(cat err)"
    grep -q "^kmer_frequency: worker [012] (process $2) was killed by signal 9" err || fail "$(cat err)"
    [ "$(grep -c '^kmer_frequency: ' err)" = 1 ] || fail "$(cat err)"
    for worker in "$@"; do is_running "$worker" && fail "worker $worker runs"; done
    [ ! -e result.tsv ] || fail "there is a result"
    must_leave_nothing
    ;;
  nobody_is_named_where_nobody_was_killed)
    # The control of the one above: the same without the kill.
    start_reading --processes --events
    wait_for_workers
    cat simulated.fa simulated.fa simulated.fa >&3
    exec 3>&-
    wait $parent || fail "it failed: $(cat err)"
    grep -q 'killed' err && fail "$(cat err)"
    [ -s result.tsv ] || fail "there is no result"
    must_leave_nothing
    ;;
  what_a_killed_run_left_goes_with_the_next)
    for how in "" --processes; do
      start_reading $how
      if [ -n "$how" ]; then wait_for_workers; fi
      left=$(workers)
      kill -9 $parent
      wait $parent && fail "it was not killed"
      exec 3>&-
      for worker in $left; do while is_running "$worker"; do sleep 0.05; done; done
      # Worker processes that had joined were the last ones out, and removed it.
      if [ -z "$how" ]; then [ -d "$session" ] || fail "nothing was left to remove"; fi
      "$program" -o result.tsv reads.fa 2>err
      if [ -z "$how" ]; then grep -q 'removed what 1 earlier run had left' err || fail "$(cat err)"; fi
      must_leave_nothing
      rm -f rows result.tsv
    done
    ;;
  progress_is_for_terminals)
    need_program script
    make_reads
    slowly() { { cat simulated.fa; sleep 0.3; cat simulated.fa; sleep 0.3; cat simulated.fa; } | "$program" "$@" -o result.tsv -; }
    slowly 2>err
    tr '\r' '\n' <err | grep -q counting && fail "progress without a terminal: $(cat err)"
    grep -q '^distinct' err || fail "no summary: $(cat err)"
    slowly --quiet 2>err
    [ ! -s err ] || fail "it was not quiet: $(cat err)"
    echo "{ cat simulated.fa; sleep 0.3; cat simulated.fa; sleep 0.3; cat simulated.fa; } | '$program' -o result.tsv -" >command
    script -qec 'sh command' /dev/null >terminal </dev/null
    tr '\r' '\n' <terminal | grep -q 'counting .* rows .*/s' || fail "no progress on a terminal: $(cat terminal)"
    grep -q '^distinct' terminal || fail "no summary: $(cat terminal)"
    ;;
  a_signal_during_the_commit_ends_it)
    need_program python3
    make_reads
    "$program" --simulate-reads 400000 --read-length 150 --error-rate 0.02 --seed 7 -o many.fa genome.fa
    python3 "$(dirname "$0")/interrupt.py" "$program" many.fa || fail "it was not ended"
    [ ! -e result.tsv ] || fail "there is a result"
    must_leave_nothing
    ;;
  help_helps)
    "$program" --help >help || fail "--help failed"
    for word in --canonical --occurrence-bits --processes --max-appearance-rate 'Ctrl-C' SCRATCH_DIR 'Examples' 'Ends with'; do
      grep -q -e "$word" help || fail "--help does not speak of $word"
    done
    "$program" --version | grep -q '^kmer_frequency, with scratch [0-9]' || fail "$("$program" --version)"
    ;;
  *) fail "no fact $fact" ;;
esac
