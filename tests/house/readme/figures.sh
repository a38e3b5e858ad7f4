#!/bin/sh
# SPDX-License-Identifier: MIT
#
# figures.sh <source tree> [page]: each figure of the README's table of performance, or of another page's table of figures,
# and each size in it, stands in the rows of benchmarks/README.md that it is taken from. A line of `rows` is how a row of
# the one begins, and what those of the other contain.
set -eu
source=$1
readme=${2:-$source/README.md}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/rows" <<'END'
counting 100 M keys;**uniform keys, 64 MiB, 1 thread**;absl::flat_hash_map | 17.9
the same with 2 threads;absl::flat_hash_map | 16.1
counting 20 M keys;SQLite, batches of 1 M
merging two tables;SQLite ATTACH
looking up;LMDB |;SQLite | 3
31-mers;kmer_frequency`, 128 MiB;**KMC over ours**
external sort;**ratio for records** | **7
chunks written to disk;disk write (fio
chunks read from disk;disk read, verified
chunks written to tmpfs;tmpfs write (fio
chunks read from tmpfs;tmpfs read, verified
create and close;create and close
sweep of 10,000;sweep 10,000
registering a chunk;register 100,000
sixteen tables;`merge` in pairs
every 31-mer of 30,000 rows;| `GROUP BY substr()` |
those of two rows or more;`GROUP BY substr() HAVING
four ranks, k-mers of 4.8 M reads;31-mers of 4.8 M reads
four ranks, 100 M records;100 M records of
END

awk '/^## (Performance|Figures)$/ { within = 1; next } /^## / { within = 0 } within && /^\| / && !/^\| what \|/' "$readme" >"$work/table"
[ -s "$work/table" ] || { echo "no table of performance in $readme"; exit 1; }
failed=0
while IFS='|' read -r _ what against figures _; do
  row=$(echo "$what" | sed 's/^ *//; s/ *$//')
  wanted=$(while IFS= read -r line; do case $row in "${line%%;*}"*) echo "${line#*;}" && break ;; esac; done <"$work/rows")
  [ -n "$wanted" ] || { echo "FAILED: where is this from: $row"; failed=1; continue; }
  echo "$wanted" | tr ';' '\n' >"$work/wanted"
  grep '^|' "$source/benchmarks/README.md" | grep -F -f "$work/wanted" >"$work/from" || :
  numbers=$(echo "$figures" | grep -oE '[0-9]+(\.[0-9]+)?' || :; echo "$what $against" | grep -oE '[0-9]+ MiB( |$)' | grep -oE '[0-9]+' || :)
  [ -n "$numbers" ] || { echo "FAILED: no figure: $row"; failed=1; }
  for number in $numbers; do
    if ! grep -qE "(^|[^0-9.])$(echo "$number" | sed 's/\./\\./')([^0-9.]|\$)" "$work/from"; then
      echo "FAILED: $row: $number is not in benchmarks/README.md"
      failed=1
    fi
  done
done <"$work/table"
exit "$failed"
