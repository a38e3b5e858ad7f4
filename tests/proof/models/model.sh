#!/bin/sh
# SPDX-License-Identifier: MIT
#
# model.sh <model.pml> holds|fails [-DNAME=VALUE ...]: looks at every interleaving of a protocol's model.
#
# "holds" passes when there is no error and the search was complete; "fails", for an ablation, when an assertion is
# violated or a process hangs.
set -eu
model=$1 expected=$2
shift 2
command -v spin >/dev/null || { echo "skipped: there is no spin"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
spin "$@" -a "$model" >spin.log || { cat spin.log; exit 1; }
# What is found out is found soon: most of that would be the compiler's time.
if [ "$expected" = fails ]; then optimised=-O0; else optimised=-O2; fi
${CC:-cc} $optimised -w -DSAFETY -o pan pan.c
# Most of its time it looks for a state among all others: large pages spare it a quarter.
GLIBC_TUNABLES=glibc.malloc.hugetlb=1 ./pan -m1000000 >pan.log 2>&1 || true
grep -E 'pan:[0-9]+:|errors:|states, stored' pan.log || { cat pan.log; exit 1; }
if grep -qE 'max search depth too small|out of memory|Search not completed' pan.log && [ "$expected" = holds ]; then
  echo "the search was not complete"
  exit 1
fi
errors=$(sed -n 's/.*errors: //p' pan.log)
case $expected in
  holds) [ "$errors" = 0 ] ;;
  fails) [ "$errors" != 0 ] ;;
  *) exit 2 ;;
esac
