#!/bin/sh
# SPDX-License-Identifier: MIT
#
# control.sh <compiler>: of two headers the one that forgets an include is named, and no other.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/scratch"
printf '#pragma once\n#include <string>\ninline std::string word() { return "a"; }\n' >"$work/scratch/whole.hpp"
printf '#pragma once\ninline std::string other() { return word(); }\n' >"$work/scratch/half.hpp"
if out=$("$(dirname "$0")/alone.sh" "$1" "$work" 2>&1); then
  echo "half.hpp was not found"
  exit 1
fi
[ "$(printf '%s\n' "$out" | grep '^not alone')" = "not alone: scratch/half.hpp" ] || { printf '%s\n' "$out"; exit 1; }
