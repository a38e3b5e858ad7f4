# SPDX-License-Identifier: MIT
#
# awk -f filter.awk groups.txt FILE: what Doxygen reads in place of a header or a page. The public names of a header are
# in the group that groups.txt has for it, what every type of a kind has needs no words in the headers, the inline
# namespace is left out, what is said of a crash has a title, and links out of the reference are words.
NR == FNR {
  if ($0 !~ /^#/) for (i = 2; i <= NF; ++i) group[$i] = substr($1, 1, length($1) - 1)
  next
}
FNR == 1 {
  header = FILENAME
  sub(/^.*\/include\/scratch\//, "", header)
  sub(/\.hpp$/, "", header)
}
FILENAME ~ /\.md$/ { gsub(/\((benchmarks\/README|\.github\/CONTRIBUTING)\.md\)/, "") }

# A header that no group has is an unknown command, which ends the lane.
/^namespace scratch(::inline SCRATCH_ABI)? \{$/ {
  print "namespace scratch { /** " (header in group ? "@addtogroup " group[header] : "@is_in_no_group_of_groups.txt") " */ /** @{ */"
  next
}
/^\}  \/\/ namespace scratch(::inline SCRATCH_ABI)?$/ { print "/** @} */ }"; next }

function words(text) {
  if (before !~ /^ *\/\/\//) $0 = "/** " text " */ " $0
}
{ line = $0 }
/^ +class iterator (: public detail::Postfix<iterator> )?\{/ { sub(/ : public detail::Postfix<iterator>/, ""); words("A single pass."); within = 1 }
within && /^ +(using|[A-Za-z_:<>&]+ operator(\*|\+\+)|(explicit )?iterator\()/ { words("As every input iterator has it.") }
/ operator==\(.*(= default;|std::default_sentinel_t)/ || / operator<=>\(/ { words("By value.") }
/^ +\};/ { within = 0 }
/^ +[A-Za-z0-9]+\([A-Za-z0-9]+&&[ a-z]*\) noexcept/ || /operator=\([A-Za-z0-9]+&&/ {
  words("Takes its place: what was moved from can only be assigned to, or go.")
}
/^ +[A-Za-z0-9]+\(const [A-Za-z0-9]+&\).*= default;/ || /operator=\(const [A-Za-z0-9]+&\).*= default;/ { words("A copy.") }
/\) (const)?&& (noexcept )?\{/ { words("The same, of an object that goes with the statement.") }
/ end\(\) const \{ return \{\}; \}/ { words("Where it ends.") }
/^[A-Za-z]+\(.*\) -> [A-Za-z]+<P>;$/ || (before ~ /^template/ && /^[A-Za-z]+\(.*\) -> /) { words("So that the place's type need not be said.") }
# Doxygen does not miss the words of a concept.
/^namespace detail \{$/ { private = 1 }
/^\}  \/\/ namespace detail$/ { private = 0 }
/^\/\/\/ / { documented = 1 }
/^concept / && !documented && !private { $0 = "/** @undocumented_concept */ " $0 }
/^$/ { documented = 0 }
{ sub(/^ *\/\/\/ After a crash: /, "/// @crash ") }
{ print; before = line }
