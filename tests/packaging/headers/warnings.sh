#!/bin/sh
# SPDX-License-Identifier: MIT
#
# warnings.sh <compiler> <include directory> <uses.cpp> [options]: each header below the directory, and what programs
# make of them, compile as one unit without the warnings that programs may have on for themselves.
set -eu
include=$2 uses=$3
compile="$1 -x c++ -std=c++20 -fsyntax-only -Wall -Wextra -Weffc++ -Wuseless-cast -Werror -I $include"
shift 3
headers=$(cd "$include" && find scratch -name '*.hpp' | sort)
[ -n "$headers" ] || { echo "no headers below $include"; exit 1; }
# shellcheck disable=SC2086
{ printf '#include <%s>\n' $headers; echo "#include \"$uses\""; } | $compile "$@" -
