#!/bin/bash
# SPDX-License-Identifier: MIT
#
# pgxs.sh <extension's source> <pg_config>: `make`, `make install` and `make installcheck`, as its README says.
set -u
. "$(dirname "$0")/server.sh"
source=$1 config=$2
mkdir -p tree/examples/kmer_frequency
cp -r "$source" tree/examples/
cp "$source"/../kmer_frequency/*.hpp tree/examples/kmer_frequency/
ln -s "$(realpath "$source/../../include")" tree/include
# What is optimised is tested elsewhere.
printf '#!/bin/sh\nexec %s g++ "$@" -O0 -Wno-cpp\n' "$(command -v ccache)" >cxx
chmod +x cxx
export CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1
build() { make -s -C tree/examples/pg_kmer_frequency PG_CONFIG="$config" "$@"; }
expect "make" build -j 2 CXX="$work/cxx"
expect "make install" build install DESTDIR="$work/installed"
make_server "$work/installed$("$config" --pkglibdir)" "$work/installed$("$config" --sharedir)/extension"
[ "$(id -u)" != 0 ] || chown -R postgres tree
expect "make installcheck" as make -s -C tree/examples/pg_kmer_frequency PG_CONFIG="$config" installcheck
[ ! -s tree/examples/pg_kmer_frequency/regression.diffs ] || cat tree/examples/pg_kmer_frequency/regression.diffs
expect "nothing is left" nothing_left
finish
