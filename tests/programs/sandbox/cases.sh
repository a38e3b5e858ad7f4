#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A program under kernels that have not everything, each twice: the same bytes as without a sandbox, and nothing left.
#   cases.sh <lacking> <external_sort> <kmer_frequency> <table_export> <scratchctl> <case>
. "$(dirname "$0")/../common.sh"
lacking=$1
external_sort=$2
kmer_frequency=$3
table_export=$4
scratchctl=$5

# twice <shape> <file> <program> [argument ...]: what it writes to the file is what is in want
twice() {
  shape=$1 file=$2
  shift 2
  for _ in first second; do
    rm -rf "$file"
    code=0
    "$lacking" "$shape" "$@" >out 2>err || code=$?
    [ $code != 77 ] || { cat err; exit 77; }
    [ $code = 0 ] || fail "$shape: exit code $code"
    cmp "$file" want || fail "$shape: other bytes"
    nothing_left
  done
}

sorts() {
  "$external_sort" generate -n 400000 -o in 2>/dev/null
  "$external_sort" sort -q --to-file --memory 48MiB -o want in
  twice "$1" sorted "$external_sort" sort -q --to-file --memory 48MiB -o sorted in
}

sorts_in_processes() {
  twice "$1" sorted "$external_sort" sort -q --to-file --memory 48MiB --processes -o sorted in
}

others() {
  { echo '>genome' && tr -dc ACGT </dev/urandom | head -c 50000 && echo; } >genome.fa
  "$kmer_frequency" -q --simulate-reads 20000 --read-length 100 -o reads.fa genome.fa
  "$kmer_frequency" -q -k 21 --workers 2 --memory 48MiB -o want reads.fa
  twice "$1" counts "$kmer_frequency" -q -k 21 --workers 2 --memory 48MiB -o counts reads.fa
  printf '1,a\n2,b\n3,"c,d"\n' >rows.csv
  for _ in first second; do
    "$lacking" "$1" "$table_export" t -q rows.csv >out 2>err || fail "$1: table_export ended with $?"
    nothing_left
    "$lacking" "$1" "$scratchctl" ls place >out 2>err || fail "$1: scratchctl ended with $?"
  done
}

case_a_program_ends_well_as_under_gvisor() {
  sorts gvisor
  sorts_in_processes gvisor
  others gvisor
}

case_a_program_ends_well_as_under_wsl1() {
  sorts wsl1
  sorts_in_processes wsl1
  others wsl1
}

case_a_program_ends_well_under_an_old_profile_of_docker() {
  sorts docker
  sorts_in_processes docker
  others docker
}

case_a_program_ends_well_where_no_link_is_made() {
  sorts links
  sorts_in_processes links
  others links
}

case_a_program_ends_well_without_any_locks() {
  sorts lustre
  # Worker processes would have to join: that is said, and nothing is left.
  code=0
  "$lacking" lustre "$external_sort" sort -q --to-file --memory 48MiB --processes -o other in >out 2>err || code=$?
  [ $code = 1 ] || fail "exit code $code"
  grep -q 'cannot join the session .*locks are not reliable' err || fail "it does not say why"
  [ ! -e other ] || fail "there is a result"
  nothing_left
  others lustre
}

"case_$6"
