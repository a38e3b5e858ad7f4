#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Chunks against fio: the same file system, size and 4 MiB blocks, turn by turn in one run; medians and ratios.
#
#   run.sh CHUNK_MOVE [--curve OUT.svg]
#
# CHUNK_MOVE is the built program (bench preset: build/bench/benchmarks/chunk_throughput/chunk_move).
# Environment: SIZE_MIB (1024), ROUNDS (5), SMALL (100000), ON_DISK (the current directory), IN_MEMORY (/dev/shm).
# Needs fio, and gnuplot for the curve.
#
# fio runs with fallocate=none, so that both sides give the file its space while the clock runs.
set -euo pipefail
move=$(realpath "$1")
curve=
if [ "${2:-}" = --curve ]; then curve=$3; fi
size=$((${SIZE_MIB:-1024} << 20))
rounds=${ROUNDS:-5}
small=${SMALL:-100000}
disk=$(mktemp -d "${ON_DISK:-$PWD}/scratch-bench-XXXXXX")
memory=$(mktemp -d "${IN_MEMORY:-/dev/shm}/scratch-bench-XXXXXX")
trap 'rm -rf "$disk" "$memory"' EXIT

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : int((v[NR / 2] + v[NR / 2 + 1]) / 2) }'; }

fio_at() { # fio_at DIR read|write BLOCK OPTIONS...: MiB/s
  local dir=$1 way=$2 block=$3
  shift 3
  if [ "$way" = write ]; then rm -f "$dir/fio.0.0"; fi
  fio --name=fio --directory="$dir" --filename=fio.0.0 --rw="$way" --bs="$block" --size="$size" --fallocate=none \
    --end_fsync=0 --minimal "$@" | awk -F';' -v field="$([ "$way" = write ] && echo 48 || echo 7)" \
    '{ printf "%.0f\n", $field / 1024 }'
}

ours_at() { # ours_at DIR read|write ENGINE STEP: MiB/s, peak MiB, engine
  local dir=$1/chunks
  if [ "$2" = write ]; then rm -rf "$dir" && mkdir "$dir"; fi
  "$move" "$2" "$dir" "$size" "$3" "$4"
}

row() { # row TITLE DIR WAY ENGINE FIO-OPTIONS...
  local title=$1 dir=$2 way=$3 engine=$4 peak name i
  shift 4
  : >"$memory/fio" && : >"$memory/ours"
  if [ "$way" = read ]; then
    [ -e "$dir/fio.0.0" ] || fio_at "$dir" write 4M "$@" >/dev/null
    ours_at "$dir" write "$engine" 4194304 >/dev/null
    sync -f "$dir"
  fi
  for ((i = 0; i < rounds; i++)); do
    fio_at "$dir" "$way" 4M "$@" >>"$memory/fio"
    ours_at "$dir" "$way" "$engine" 4194304 >>"$memory/ours"
  done
  peak=$(awk '{ if ($2 > m) m = $2 } END { print m }' "$memory/ours")
  name=$(cut -d' ' -f3- "$memory/ours" | tail -1)
  awk -v title="$title" -v fio="$(median <"$memory/fio")" -v ours="$(cut -d' ' -f1 "$memory/ours" | median)" \
    -v peak="$peak" -v name="$name" \
    'BEGIN { printf "| %s | %d | %d | %.2f | %s | %s |\n", title, fio, ours, ours / fio, peak, name }'
  rm -rf "$dir/chunks"
  if [ "$way" = read ]; then rm -f "$dir/fio.0.0"; fi
}

echo "$(uname -r), $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), disk $(df --output=fstype "$disk" | tail -1), $(fio --version)"
echo "$((size >> 20)) MiB a chunk, 4 MiB blocks, medians of $rounds alternating runs, sums on (the whole and each block)"
echo
echo "| what | fio MiB/s | chunks MiB/s | ratio | peak MiB | engine |"
echo "|---|---|---|---|---|---|"
direct=(--ioengine=io_uring --direct=1 --iodepth=32)
row "disk write (fio io_uring O_DIRECT QD32)" "$disk" write best "${direct[@]}"
row "disk read, verified" "$disk" read best "${direct[@]}"
row "tmpfs write (fio psync)" "$memory" write best --ioengine=psync
row "tmpfs read, verified" "$memory" read best --ioengine=psync
row "tmpfs write, ring forced" "$memory" write uring --ioengine=psync
row "tmpfs read, ring forced" "$memory" read uring --ioengine=psync
row "disk write, posix forced" "$disk" write posix "${direct[@]}"
row "disk read, posix forced" "$disk" read posix "${direct[@]}"
echo
mkdir "$memory/small"
"$move" small "$memory/small" "$small" best 4096 |
  awk -v n="$small" '{ printf "%d chunks of 4 KiB on tmpfs, each committed and on record: %d a second, peak %d MiB\n", n, $1, $2 }'

if [ -n "$curve" ]; then
  data=$memory/curve
  for block in 4096 16384 65536 262144 1048576 4194304; do
    line=$block
    for one in "$memory posix" "$memory uring" "$disk posix" "$disk uring"; do
      read -r dir engine <<<"$one"
      line+=" $(for _ in 1 2 3; do ours_at "$dir" write "$engine" "$block" | cut -d' ' -f1; done | median)"
      rm -rf "$dir/chunks"
    done
    line+=" $(for _ in 1 2 3; do fio_at "$memory" write "$block" --ioengine=psync; done | median)"
    rm -f "$memory/fio.0.0"
    line+=" $(for _ in 1 2 3; do fio_at "$disk" write "$block" "${direct[@]}"; done | median)"
    rm -f "$disk/fio.0.0"
    echo "$line" >>"$data"
  done
  echo
  echo "block, tmpfs posix, tmpfs ring, disk posix, disk ring, fio psync tmpfs, fio ring disk (MiB/s):"
  cat "$data"
  gnuplot <<PLOT
set terminal svg size 900,520 font "sans,13" background "white"
set output "$curve"
set title "Writing one chunk: throughput over the size of one append()"
set xlabel "bytes in one append() (fio: block size)"
set ylabel "MiB/s"
set logscale x 2
set xtics ("4 KiB" 4096, "16 KiB" 16384, "64 KiB" 65536, "256 KiB" 262144, "1 MiB" 1048576, "4 MiB" 4194304)
set yrange [0:*]
set grid ytics
set key outside right
plot "$data" using 1:2 with linespoints lw 2 title "tmpfs, posix (best)", \
     "$data" using 1:3 with linespoints lw 2 title "tmpfs, ring", \
     "$data" using 1:6 with linespoints dt 2 title "tmpfs, fio psync", \
     "$data" using 1:5 with linespoints lw 2 title "disk, ring (best)", \
     "$data" using 1:4 with linespoints lw 2 title "disk, posix", \
     "$data" using 1:7 with linespoints dt 2 title "disk, fio io_uring"
PLOT
fi
