#!/bin/sh
# SPDX-License-Identifier: MIT
#
# repository.sh <source tree> <repository to make> [line for its CMakeLists.txt ...]
# A git repository with the library as it stands, committed or not.
set -eu
source=$1 repository=$2
shift 2
rm -rf "$repository"
mkdir -p "$repository"
cd "$source"
cp -r CMakeLists.txt cmake include "$repository"
cd "$repository"
[ $# -eq 0 ] || printf '%s\n' "$@" >>CMakeLists.txt
git init -q -b main .
git add -A
git -c user.name=scratch -c user.email=scratch@localhost commit -q -m "The tree as it stands"
