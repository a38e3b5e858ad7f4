#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What is counted, against programs that count likewise: <fact> <program> <source directory>
. "$(dirname "$0")/common.sh"

each_way() {
  for k in 15 21 31; do
    for strands in plain canonical; do
      "$@" || exit 1
    done
  done
}
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

case $fact in
  equal_to_jellyfish)
    need_program jellyfish
    make_reads
    each_way like_jellyfish
    ;;
  equal_to_kmc)
    need_program kmc kmc_tools
    make_reads
    each_way like_kmc
    ;;
  rows_are_counted_once)
    need_program python3
    make_reads
    each_way like_plain_rows
    ;;
  occurrences_have_numbers)
    need_program python3
    make_reads
    for how in "2 3 canonical" "5 2 plain" "7 1 canonical" "3 8 plain" "13 6 canonical" "28 8 plain" "32 0 canonical"; do
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
    for how in "12 0 canonical" "9 3 plain"; do
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
    jellyfish count -m 15 -s 4M -C -o theirs.jf reads.fa
    jellyfish histo theirs.jf | tr ' ' '\t' >theirs.tsv
    count -k 15 --canonical --count occurrences --histogram reads.fa | cut -f 1,2 >ours.tsv
    same theirs.tsv ours.tsv
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
