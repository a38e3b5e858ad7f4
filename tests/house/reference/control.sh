#!/bin/sh
# SPDX-License-Identifier: MIT
#
# control.sh <source tree>: of a copy of the headers the reference is made without a warning; where words are missing, or
# are those of nothing, each is told.
set -eu
source=$1
command -v doxygen >/dev/null || { echo "skipped: there is no doxygen"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Made by the library's own Doxyfile; exit code and words as in the lane.
reference() {
  sed "s|@PROJECT_SOURCE_DIR@|$work|g; s|@PROJECT_BINARY_DIR@|$work/build|; s|@[A-Z_]*@||g" \
    "$source/cmake/Doxyfile.in" >"$work/Doxyfile"
  mkdir -p "$work/build"
  (cd "$work" && doxygen "$work/Doxyfile") >"$work/out" 2>&1
}
mkdir -p "$work/examples"
cp -r "$source/include" "$source/cmake" "$source/README.md" "$work"
cp -r "$source/examples/guide" "$source/examples/tools.md" "$work/examples"
reference || { cat "$work/out"; exit 1; }

plant() { # <header> <sed command>
  sed "$2" "$source/include/scratch/$1" >"$work/include/scratch/$1"
  ! cmp -s "$source/include/scratch/$1" "$work/include/scratch/$1" || { echo "nothing was planted in $1"; exit 1; }
}
end='}  // namespace scratch::inline SCRATCH_ABI'
plant sweep.hpp "s|^$end|inline int planted_function() { return 0; }\n$end|"
plant policy.hpp "s|^$end|enum class PlantedEnum { yes, no };\n$end|"
plant place.hpp "s|^$end|struct PlantedStruct { int member; };\n$end|"
plant merge.hpp "s|^$end|template <class T>\nconcept PlantedConcept = true;\n$end|"
plant workspace.hpp 's|^  /// Makes a plain directory|  int planted_member() const;\n&|'
plant adopt.hpp 's|@param id |@param planted_parameter |'
sed "s|PlantedStruct|PlantedHeader|" "$work/include/scratch/place.hpp" >"$work/include/scratch/planted.hpp"
if reference; then
  echo "nothing of what was planted was found"
  exit 1
fi
for words in 'planted_function.*not documented' 'PlantedEnum.*not documented' 'PlantedStruct.*not documented' \
  undocumented_concept 'planted_member.*not documented' "'planted_parameter'.*not found" is_in_no_group; do
  grep -q "$words" "$work/out" || { echo "not found: $words"; cat "$work/out"; exit 1; }
done
