// SPDX-License-Identifier: MIT
// floor 0: words
//
// Patterns over file names: `*` any bytes, `?` one byte, `[a-z_]` one of these, `[!0-9]` none of these, `\` takes the
// next byte as it is. Names hold no '/', so no byte is special to `*`. A '[' that is never closed is itself.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Matches one byte against the set that begins at `glob[at] == '['` and moves `at` behind it; nullopt: never closed.
inline std::optional<bool> matches_set(char byte, std::string_view glob, std::size_t& at) {
  const auto value = [](char c) { return static_cast<unsigned char>(c); };
  std::size_t i = at + 1;
  const bool inverted = i < glob.size() && (glob[i] == '!' || glob[i] == '^');
  if (inverted) ++i;
  bool found = false;
  for (const std::size_t first = i; i < glob.size(); ++i) {
    if (glob[i] == ']' && i > first) {
      at = i + 1;
      return found != inverted;
    }
    if (glob[i] == '\\' && i + 1 < glob.size()) ++i;
    const char low = glob[i];
    char high = low;
    if (i + 2 < glob.size() && glob[i + 1] == '-' && glob[i + 2] != ']') {
      i += 2;
      if (glob[i] == '\\' && i + 1 < glob.size()) ++i;
      high = glob[i];
    }
    found = found || (value(low) <= value(byte) && value(byte) <= value(high));
  }
  return std::nullopt;
}

/// Whether all of `name` matches. O(name x glob) at worst, whatever the number of stars.
inline bool matches_glob(std::string_view name, std::string_view glob) {
  std::size_t n = 0, g = 0;
  std::size_t star = glob.npos, star_name = 0;  // the last star, and where its text ends for now
  while (n < name.size()) {
    bool same = false;
    std::size_t next = g;
    if (g < glob.size()) {
      if (glob[g] == '*') {
        star = g++;
        star_name = n;
        continue;
      }
      next = g + 1;
      if (glob[g] == '?') {
        same = true;
      } else if (glob[g] == '[') {
        std::size_t behind = g;
        const std::optional<bool> in_set = matches_set(name[n], glob, behind);
        same = in_set ? *in_set : name[n] == '[';
        if (in_set) next = behind;
      } else {
        if (glob[g] == '\\' && g + 1 < glob.size()) next = g + 2;
        same = name[n] == glob[next - 1];
      }
    }
    if (same) {
      g = next;
      ++n;
    } else if (star != glob.npos) {
      g = star + 1;
      n = ++star_name;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

}  // namespace scratch::inline SCRATCH_ABI::detail
