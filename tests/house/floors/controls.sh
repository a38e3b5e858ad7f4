#!/bin/sh
# SPDX-License-Identifier: MIT
#
# controls.sh <cmake> <include directory> <directory to work in>: breaks each rule in a copy of the headers, and fails
# unless the checks say so in the words expected.
set -eu
cmake=$1 include=$2 work=$3
here=$(cd "$(dirname "$0")" && pwd)
missed=0

# broken <floors | system_calls> <words expected> <header> <line to add>
broken() {
  rm -rf "$work"
  mkdir -p "$work"
  cp -r "$include/scratch" "$work/scratch"
  mkdir -p "$(dirname "$work/scratch/$3")"
  [ -e "$work/scratch/$3" ] || printf '// SPDX-License-Identifier: MIT\n%s\n' "$(
    awk -v word="$(basename "$3" .hpp)" '/^[0-9]/ {f = $0} $0 ~ word {sub(" ", ": ", f); print "// floor " f; exit}' \
      "$include/scratch/order.txt")" >"$work/scratch/$3"
  printf '%s\n' "$4" >>"$work/scratch/$3"
  case $1 in
    floors) out=$("$cmake" -D ORDER="$include/scratch/order.txt" -D INCLUDE="$work" -P "$here/floors.cmake" 2>&1) && out="no complaint" ;;
    system_calls) out=$("$here/system_calls.sh" "$work" 2>&1) && out="no complaint" ;;
  esac
  if printf '%s' "$out" | tr -s ' \n' ' ' | grep -qF -- "$2"; then
    echo "caught: $4 in $3"
  else
    echo "MISSED: $4 in $3: $out"
    missed=1
  fi
}

broken floors "error.hpp (floor 0) includes space.hpp (floor 1)" error.hpp '#include <scratch/space.hpp>'
broken floors "which stands to its right on floor 0" version.hpp '#include <scratch/bytes.hpp>'
broken floors "stands in the other wing of floor 5" count_table.hpp '#include <scratch/session_dir.hpp>'
broken floors "xxhash_h is included by" bytes.hpp '#include <xxhash.h>'
broken floors "count_table.hpp reaches nlohmann/json.hpp" count_table.hpp '#include <nlohmann/json.hpp>'
broken floors "chunk_writer.hpp reaches nlohmann/json.hpp" chunk_writer.hpp '#include <nlohmann/json.hpp>'
broken floors "workspace.hpp reaches nlohmann/json.hpp" space.hpp '#include <nlohmann/json.hpp>'
broken floors "scratch.hpp reaches nlohmann/json.hpp" detail/session/json.hpp '#include <nlohmann/json.hpp>'
broken floors "workspace.hpp reaches detail/count/merge/claim_name.hpp: tables register as guests" space.hpp \
  '#include <scratch/detail/count/merge/claim_name.hpp>'
broken floors "ours are included as <scratch/...>" bytes.hpp '#include "error.hpp"'
broken floors "scratch.hpp does not reach annex.hpp" annex.hpp '#pragma once'
broken floors "annex has no README.md" annex/annex.hpp '#pragma once'
broken floors "includes a header of detail/count/format, which detail/session/README.md does not name" \
  detail/session/life.hpp '#include <scratch/detail/count/format/layout.hpp>'
broken floors "stands on no floor" cellar.hpp '#pragma once'
broken system_calls "System calls outside" bytes.hpp 'inline void f() { ::close(3); }'
broken system_calls "System calls outside" bytes.hpp 'inline void f() { fsync(3); }'
broken system_calls "System calls outside" bytes.hpp 'inline bool f() { return std::filesystem::exists("/"); }'
broken system_calls "syscalls.hpp:" detail/kernel/syscalls.hpp 'inline void f() { ::fsync(3); }'
broken system_calls "the seam" bytes.hpp '#ifdef SCRATCH_SYSCALLS_HEADER'
rm -rf "$work"
exit $missed
