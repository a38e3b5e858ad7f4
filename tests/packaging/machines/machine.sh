#!/bin/sh
# SPDX-License-Identifier: MIT
#
# machine.sh runs|refused <source tree> <headers of dependencies> <directory> <compiler> <emulator, or env> [flags]
# README's program and one that counts, compiled for another machine, run there and leave nothing; or are refused.
set -eu
case=$1 source=$2 headers=$3 there=$4 cxx=$5 emulator=$6
shift 6
for program in $cxx $emulator; do
  command -v "$program" >/dev/null || { echo "skipped: no $program"; exit 77; }
done
# compiled <options ...>
compiled() {
  $cxx -std=c++20 -Wall -Wextra -Wpedantic -Wshadow -Werror "$@" -I "$source/include" -isystem "$headers" \
    "$source/tests/packaging/machines/counting.cpp"
}
case $case in
  runs)
    program=$there/counting_$cxx
    compiled "$@" -O0 -static -pthread -o "$program"
    TMPDIR=$there $emulator "$program" >"$program.out"
    grep -Fqx 'every key was counted' "$program.out" || { cat "$program.out"; exit 1; }
    grep '^nothing is left of ' "$program.out" || { cat "$program.out"; exit 1; }
    grep -Fqx 'chunk_0.bin: 8000000 bytes, xxh3:5326afa0ecffdb6f' "$program.out" || { cat "$program.out"; exit 1; }
    ;;
  refused)
    if compiled "$@" -fsyntax-only >"$there/refused.out" 2>&1; then echo "it was compiled"; exit 1; fi
    grep 'error' "$there/refused.out" | head -n 1 | grep -F 'compile with -D_FILE_OFFSET_BITS=64' || {
      cat "$there/refused.out"
      exit 1
    }
    ;;
esac
