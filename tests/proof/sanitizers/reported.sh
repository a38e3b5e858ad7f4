#!/bin/sh
# SPDX-License-Identifier: MIT
#
# reported.sh PROGRAM DEFECT WORDS: the program must fail, and say these words.
if [ -z "${ASAN_OPTIONS:-}${TSAN_OPTIONS:-}" ]; then
  echo "skipped: the lane's options are not set, run ctest --preset"
  exit 77
fi
if said=$("$1" "$2" 2>&1); then
  echo "the program ended well: $said"
  exit 1
fi
case $said in
  *"$3"*) echo "$said" | grep -m 1 -e "$3" ;;
  *) echo "it failed, but not with \"$3\": $said"; exit 1 ;;
esac
