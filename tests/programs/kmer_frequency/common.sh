# SPDX-License-Identifier: MIT
#
# Sourced by the tests of kmer_frequency: <script> <fact> <program> <source directory>
fact=$1
program=$2
source=$3
. "$(dirname "$0")/../common.sh"
work=$here
unset SCRATCH_DIR
TMPDIR=$work/place
export TMPDIR

# Roots stay; in them are neither sessions nor files.
left_behind() { find "$work/place" ! -type d -o -name 'session_*'; }
must_leave_nothing() { [ -z "$(left_behind)" ] || fail "left behind: $(left_behind)"; }

count() { "$program" --workers 2 --quiet "$@"; }
same() { cmp "$1" "$2" >&2 || { diff "$1" "$2" | head -n 5 >&2; fail "$1 and $2 differ"; }; }

# make_reads [number]: of 48,502 bases of phage lambda, with errors, letters that are no bases, and small ones.
make_reads() {
  gzip -dc "$source/examples/data/lambda_virus.fa.gz" >genome.fa
  "$program" --simulate-reads "${1:-4000}" --read-length 120 --error-rate 0.02 --seed 7 -o simulated.fa genome.fa
  {
    awk 'NR % 14 == 0 { print substr($0, 1, 50) "N" substr($0, 52); next } NR % 10 == 2 { print tolower($0); next } 1' simulated.fa
    printf '>short\nACGT\n>repeats\n%s\n' "$(printf 'ACACACACACACACACACACACACACACACACACACACACACAC%.0s' 1 2 3 4 5 6)"
    printf '>letters\nACGTRYKMACGTACGTACGTACGTACGTNNNNNNNNNNACGATCAGCATCAGCATCATTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTACGAC\n'
  } >reads.fa
}
