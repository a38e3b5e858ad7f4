#!/bin/sh
# SPDX-License-Identifier: MIT
#
# One result, whatever way it comes about: <fact> <program> <source directory>
. "$(dirname "$0")/common.sh"

k=21
wanted() { count -k $k --canonical --sorted --workers 1 -o wanted.tsv reads.fa; }
gives_it() {
  count -k $k --canonical --sorted -o given.tsv "$@"
  same wanted.tsv given.tsv
  rm given.tsv
  must_leave_nothing
}

# keeps_to <MiB> <arguments ...>: what the system says of the program and what it started, at most 16 MiB above.
keeps_to() {
  most=$1
  shift
  python3 - "$most" "$program" -q --memory "${most}MiB" "$@" <<END || fail "$most $*"
import resource, subprocess, sys
subprocess.run(sys.argv[2:], check=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
print(peak, "MiB of", sys.argv[1], file=sys.stderr)
sys.exit(peak > int(sys.argv[1]) + 16)
END
}

make_reads
wanted
case $fact in
  any_number_of_workers)
    for k in 21 55; do
      wanted
      for n in 1 2 3 7; do
        gives_it --workers $n reads.fa
        gives_it --workers $n --processes reads.fa
      done
      gives_it --direct reads.fa
      gives_it --direct --processes reads.fa
    done
    ;;
  any_place)
    gives_it --place shm reads.fa
    gives_it --place tmp reads.fa
    gives_it --place "$work/place/my place" --processes reads.fa
    mkdir "$work/place/elsewhere"
    SCRATCH_DIR=$work/place/elsewhere gives_it reads.fa
    ;;
  any_memory)
    for k in 21 63; do
      wanted
      gives_it --memory 2GiB reads.fa
      gives_it --memory 40MiB reads.fa
      gives_it --memory 40MiB --processes reads.fa
    done
    ;;
  memory_is_kept)
    need_program python3
    "$program" --simulate-reads 300000 --read-length 100 --error-rate 0.02 --seed 9 -o many.fa genome.fa
    within() {
      most=$1
      shift
      keeps_to "$most" -k 31 --canonical "$@" -o given.tsv many.fa
    }
    for most in 24 64 128; do
      within $most --workers 2 --count occurrences
      within $most --workers 2 --count occurrences -k 63
      within $most --workers 2 --count rows
      within $most --workers 1 --count occurrences -k 14
    done
    within 128 --workers 16 --count occurrences
    ;;
  a_row_longer_than_memory)
    need_program python3
    # A hundred times the same million: each k-mer a hundred times, those of the seams once less.
    python3 - >row.fa <<END
import random
some = "".join(random.Random(8).choices("ACGT", k=1000000))
print(">row\n" + some * 100)
END
    for k in 31 55; do
      printf '99\t%d\n100\t%d\n' $((k - 1)) $((1000000 - k + 1)) >expected
      for strands in "" --canonical; do
        # shellcheck disable=SC2086
        keeps_to 32 -k $k $strands --count occurrences --histogram row.fa | cut -f 1,2 >given
        same expected given
      done
      keeps_to 32 -k $k --canonical --occurrence-bits 1 --histogram row.fa | cut -f 1,2 >given
      printf '1\t2000000\n' | same - given
      keeps_to 32 -k $k --workers 1 --processes --count occurrences --histogram row.fa | cut -f 1,2 >given
      same expected given
      must_leave_nothing
    done
    ;;
  any_input)
    gzip -k reads.fa
    gives_it reads.fa.gz
    gives_it - <reads.fa
    gives_it - <reads.fa.gz
    # shellcheck disable=SC2002
    cat reads.fa | gives_it --processes -
    awk '/^>/ { name = substr($0, 2); next } { q = $0; gsub(/./, "I", q); print "@" name "\n" $0 "\n+\n" q }' reads.fa >reads.fq
    gives_it reads.fq
    gzip -k reads.fq
    gives_it reads.fq.gz
    awk '/^>/ { print; next } { for (i = 1; i <= length($0); i += 60) printf "%s\r\n", substr($0, i, 60) }' reads.fa >folded.fa
    gives_it folded.fa
    lines=$(($(grep -n '>read_2000' reads.fa | cut -d : -f 1) - 1))
    head -n $lines reads.fa >first.fa
    tail -n +$((lines + 1)) reads.fa >second.fa
    gzip second.fa
    gives_it first.fa second.fa.gz
    # gzip members one after the other are one stream
    { gzip -c first.fa; cat second.fa.gz; } >both.fa.gz
    gives_it both.fa.gz
    ;;
  order_of_the_table)
    for k in 21 47; do
      wanted
      count -k $k --canonical -o given.tsv reads.fa
      sort given.tsv >sorted.tsv
      same wanted.tsv sorted.tsv
      count -k $k --canonical reads.fa | sort >sorted.tsv
      same wanted.tsv sorted.tsv
      count -k $k --canonical --top 1000000 reads.fa | sort >sorted.tsv
      same wanted.tsv sorted.tsv
      [ "$(count -k $k --canonical --top 3 reads.fa)" = "$(sort -t "$(printf '\t')" -k 2,2nr -k 1,1 wanted.tsv | head -n 3)" ] ||
        fail "not the most frequent: $(count -k $k --canonical --top 3 reads.fa)"
      count -k $k --canonical --min-count 3 --sorted -o given.tsv reads.fa
      awk '$2 >= 3' wanted.tsv >frequent.tsv
      [ -s frequent.tsv ] || fail "no k-mer is frequent"
      same frequent.tsv given.tsv
    done
    ;;
  the_table_can_be_kept)
    need_program python3
    for k in 21 47; do
      wanted
      count -k $k --canonical --table kept.kmr reads.fa >nothing
      [ -s nothing ] && fail "it also wrote lines"
      python3 "$source/tests/count/count_reader.py" kept.kmr >keys || fail "not a table: $(head -c 4 kept.kmr | od -c)"
      python3 - $k keys >given.tsv <<END
import sys
k = int(sys.argv[1])
for line in open(sys.argv[2]):
    key, count = line.split()
    number = int(key, 16 if k > 32 else 10)
    print("".join("ACGT"[number >> 2 * i & 3] for i in reversed(range(k))), count, sep="\t")
END
      same wanted.tsv given.tsv
      must_leave_nothing
    done
    ;;
  reads_are_the_same_every_time)
    again() { "$program" --simulate-reads 500 --read-length 80 --seed 3 -o "$1" genome.fa; }
    again one.fa
    again two.fa
    same one.fa two.fa
    "$program" --simulate-reads 500 --read-length 80 --seed 3 genome.fa >three.fa
    same one.fa three.fa
    [ "$(grep -c '>' one.fa)" = 500 ] || fail "not 500 reads"
    awk '!/>/ && length($0) != 80 { exit 1 }' one.fa || fail "not of 80 bases"
    # The same bytes on every machine.
    [ "$(cksum <one.fa)" = "$(cat "$source/tests/programs/kmer_frequency/reads.cksum")" ] || fail "other reads: $(cksum <one.fa)"
    # Without errors each read is a piece of the genome or of its other strand.
    "$program" --simulate-reads 500 --read-length 80 --error-rate 0 genome.fa >exact.fa
    count -k 80 genome.fa >/dev/null 2>&1 && fail "k = 80"
    count -k 31 --canonical genome.fa | cut -f 1 | sort >genome.kmers
    count -k 31 --canonical exact.fa | cut -f 1 | sort >exact.kmers
    [ -z "$(comm -13 genome.kmers exact.kmers)" ] || fail "reads that are not of the genome"
    ;;
  *) fail "no fact $fact" ;;
esac
