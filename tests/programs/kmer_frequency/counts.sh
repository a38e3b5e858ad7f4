#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What is counted, against programs that count likewise: <fact> <program> <source directory>. kmc takes a second of
# processor time however little it counts: it counts for all k when SCRATCH_SOAK=1.
. "$(dirname "$0")/common.sh"
case ${SCRATCH_SOAK:-0} in
  0 | '') soaking=false ;;
  *) soaking=true ;;
esac
# among <k ...>: whether k is one of these, or all are meant.
among() { $soaking || case " $* " in *" $k "*) ;; *) return 1 ;; esac; }

each_way() {
  for k in 15 21 31 33 47 63; do
    for strands in plain canonical; do
      "$@" || exit 1
    done
  done
}
# For Python, which takes its time.
few_reads() { if $soaking; then make_reads; else make_reads 1500; fi; }
ours() {
  if [ "$strands" = canonical ]; then set -- --canonical "$@"; fi
  count -k "$k" "$@"
}

like_jellyfish() {
  if [ "$strands" = canonical ]; then canonical=-C; else canonical=; fi
  jellyfish count -m "$k" -s 4M $canonical -o theirs.jf reads.fa
  jellyfish dump -c -t theirs.jf | sort >theirs.tsv
  ours --count occurrences --sorted -o ours.tsv reads.fa
  same theirs.tsv ours.tsv
}

like_kmc() {
  if [ "$strands" = canonical ]; then canonical=; else canonical=-b; fi
  mkdir -p kmc
  kmc -k"$k" -ci1 -cs4000000000 -m2 -t2 $canonical -fa reads.fa theirs kmc >kmc.log 2>&1 || fail "$(tail kmc.log)"
  kmc_tools -hp transform theirs dump -s theirs.tsv
  ours --count occurrences --sorted -o ours.tsv reads.fa
  same theirs.tsv ours.tsv
}

like_plain_rows() {
  python3 "$source/tests/programs/kmer_frequency/oracle.py" "$k" 0 rows "$strands" reads.fa >theirs.tsv 2>skipped
  ours --sorted -o ours.tsv reads.fa
  same theirs.tsv ours.tsv
}

# What five kinds of input are made of: reads.fa.
short_reads() {
  gzip -dc "$source/examples/data/lambda_virus.fa.gz" >genome.fa
  "$program" --simulate-reads 14000 --read-length 100 --error-rate 0.01 --seed 1 -o reads.fa genome.fa
}
long_accurate_reads() {
  gzip -dc "$source/examples/data/lambda_virus.fa.gz" >genome.fa
  for length in 8000 15000 22000; do
    "$program" --simulate-reads 60 --read-length $length --error-rate 0.001 --seed $length -o some.fa genome.fa
    cat some.fa >>reads.fa
  done
}
a_genome_in_one_row() {
  python3 -c '
import random
random.seed(5)
genome = "".join(random.choices("ACGT", k=600000))
print(">all\n" + genome + "ACGT" * 9 + genome[1000:90000] + "N" * 7 + genome[::-1])' >reads.fa
}
many_rows_of_one_base() {
  awk 'BEGIN { for (i = 0; i < 100; ++i) row = row "A"; for (i = 0; i < 300000; ++i) print ">" i "\n" row }' >reads.fa
}
odd_letters() { make_reads; }

# The same as jellyfish and as kmc, and for k = 1 as Python counts letters too.
# like_others <input> [more k for kmc ...]
like_others() {
  need_program jellyfish kmc kmc_tools python3
  "$1"
  shift
  python3 - reads.fa >theirs.tsv <<END
import sys
rows = "".join(line for line in open(sys.argv[1]) if not line.startswith(">")).upper()
for base, other in ("AT", "CG"):
    if n := rows.count(base) + rows.count(other):
        print(base, n, sep="\t")
END
  count -k 1 --canonical --count occurrences --sorted -o ours.tsv reads.fa
  same theirs.tsv ours.tsv
  strands=canonical
  for k in 1 15 16 21 31 32 33 47 63; do
    like_jellyfish
    if among 1 31 63 "$@"; then like_kmc; fi
    # Less memory than there are super-k-mers, and workers of the other kind.
    ours --count occurrences --sorted --memory 24MiB --workers 1 -o ours.tsv reads.fa
    same theirs.tsv ours.tsv
  done
  strands=plain
  for k in 1 15 16 21 31 32 33 47 63; do
    like_jellyfish
    if among 16 33 "$@"; then like_kmc; fi
    ours --count occurrences --sorted --processes -o ours.tsv reads.fa
    same theirs.tsv ours.tsv
  done
  must_leave_nothing
}

case $fact in
  like_others_in_odd_letters) like_others odd_letters 15 31 47 ;;
  like_others_*) like_others "${fact#like_others_in_}" ;;
  rows_are_counted_once)
    need_program python3
    few_reads
    each_way like_plain_rows
    ;;
  occurrences_have_numbers)
    need_program python3
    few_reads
    for how in "2 3 canonical" "5 2 plain" "7 1 canonical" "3 8 plain" "13 6 canonical" "28 8 plain" "32 0 canonical" \
      "31 4 plain" "33 62 canonical" "47 1 plain" "63 2 canonical"; do
      # shellcheck disable=SC2086
      set -- $how
      python3 "$source/tests/programs/kmer_frequency/oracle.py" "$1" "$2" rows "$3" reads.fa >theirs.tsv 2>skipped
      if [ "$3" = canonical ]; then canonical=--canonical; else canonical=; fi
      "$program" -k "$1" --occurrence-bits "$2" $canonical --sorted -o ours.tsv reads.fa 2>summary
      same theirs.tsv ours.tsv
      [ "$(awk '$1 == "skipped" { print $2 }' summary)" = "$(cat skipped)" ] || fail "skipped: $(cat skipped summary)"
    done
    ;;
  long_rows_are_counted_like_short_ones)
    need_program python3
    python3 -c '
import random
random.seed(1)
print(">long")
print("".join(random.choices("ACGT", k=300000)), "N" * 5, "ACG" * 200, "\n", "acgt" * 300, sep="")
print(">short\nACGTACGTACGTGACT")' >reads.fa
    for how in "12 0 canonical" "9 3 plain" "47 2 canonical"; do
      # shellcheck disable=SC2086
      set -- $how
      python3 "$source/tests/programs/kmer_frequency/oracle.py" "$1" "$2" rows "$3" reads.fa >theirs.tsv 2>skipped
      if [ "$3" = canonical ]; then canonical=--canonical; else canonical=; fi
      "$program" -k "$1" --occurrence-bits "$2" $canonical --sorted -o ours.tsv reads.fa 2>summary
      same theirs.tsv ours.tsv
      [ "$(awk '$1 == "skipped" { print $2 }' summary)" = "$(cat skipped)" ] || fail "skipped: $(cat skipped summary)"
    done
    must_leave_nothing
    ;;
  histogram_is_that_of_jellyfish)
    need_program jellyfish
    make_reads
    for k in 15 47; do
      jellyfish count -m $k -s 4M -C -o theirs.jf reads.fa
      jellyfish histo theirs.jf | tr ' ' '\t' >theirs.tsv
      count -k $k --canonical --count occurrences --histogram reads.fa | cut -f 1,2 >ours.tsv
      same theirs.tsv ours.tsv
    done
    ;;
  histogram_is_drawn)
    need_program gnuplot
    make_reads
    count --histogram-svg 'a drawing.svg' reads.fa
    grep -q '<svg' 'a drawing.svg' || fail "no svg: $(head -c 200 'a drawing.svg')"
    grep -q '</svg>' 'a drawing.svg' || fail "half a svg"
    must_leave_nothing
    ;;
  thresholds_are_those_of_pg_kmersearch)
    need_program python3
    make_reads
    rows=$(grep -c '>' reads.fa)
    # at_least <count> <options ...>
    at_least() {
      python3 "$source/tests/programs/kmer_frequency/oracle.py" 11 0 rows plain reads.fa "$1" >theirs.tsv 2>skipped
      shift
      count -k 11 --sorted "$@" -o ours.tsv reads.fa
      same theirs.tsv ours.tsv
    }
    at_least 3 --min-count 3
    at_least 6 --max-appearance-nrow 5
    at_least $((rows / 1000 + 1)) --max-appearance-rate 0.001
    at_least 3 --max-appearance-rate 0.5 --max-appearance-nrow 2
    at_least $((rows / 1000 + 1)) --max-appearance-rate 0.001 --max-appearance-nrow 2000
    at_least 1 --min-count 0
    ;;
  *) fail "no fact $fact" ;;
esac
