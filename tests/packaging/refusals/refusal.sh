#!/bin/sh
# SPDX-License-Identifier: MIT
#
# refusal.sh <compiler> <include> <words> <flags ...>: the compiler's first error has these words; without words there is
# none.
set -u
cxx=$1 include=$2 words=$3
shift 3
said=$(printf '#include <scratch/version.hpp>\n' | LC_ALL=C "$cxx" "$@" -I "$include" -fsyntax-only -x c++ - 2>&1)
code=$?
if [ -z "$words" ]; then
  [ "$code" = 0 ] || { echo "$said"; exit 1; }
  exit 0
fi
[ "$code" != 0 ] || { echo "it was not refused"; exit 1; }
printf '%s\n' "$said" | grep 'error' | head -n 1 | grep -F -e "$words" || { echo "$said"; exit 1; }
