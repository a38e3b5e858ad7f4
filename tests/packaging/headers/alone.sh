#!/bin/sh
# SPDX-License-Identifier: MIT
#
# alone.sh <compiler> <include directory> [definitions]: compiles each header below the directory by itself, and names
# those that need another one first.
set -eu
include=$2
compile="$1 -x c++ -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I $include"
shift 2
export compile="$compile $*"
headers=$(cd "$include" && find scratch -name '*.hpp' | sort)
[ -n "$headers" ] || { echo "no headers below $include"; exit 1; }
printf '%s\n' "$headers" | xargs -P 2 -n 1 sh -c 'echo "#include <$0>" | $compile - || { echo "not alone: $0"; exit 1; }'
