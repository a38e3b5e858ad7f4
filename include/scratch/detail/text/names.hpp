// SPDX-License-Identifier: MIT
// floor 0: words
//
// Every name that stands on disk, and who may choose it.
//
//   <root>/session_<middle>_<16 hex>        a session; <middle> comes from a naming policy
//   <root>/.scratch-trash-<16 hex>          a directory that is being removed
//   in a pgsql_tmp they are pgsql_tmp_scratch-<app>-session_... and ...-trash_..., since PostgreSQL removes what begins
//   with pgsql_tmp; the first `-session_` or `-trash_` ends <app>
//   <session>/metadata.json .lock .keep chunks.jsonl .scratch-*      bookkeeping
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <scratch/detail/text/checksum.hpp>
#include <scratch/error.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr std::string_view reserved_prefix = ".scratch-";
inline constexpr std::string_view metadata_name = "metadata.json";
inline constexpr std::string_view lock_name = ".lock";
inline constexpr std::string_view keep_name = ".keep";
inline constexpr std::string_view chunks_name = "chunks.jsonl";
inline constexpr std::string_view old_chunks_name = "chunks.log";  ///< of version 0.1
inline constexpr std::string_view session_prefix = "session_";
inline constexpr std::string_view trash_prefix = ".scratch-trash-";
inline constexpr std::string_view claim_prefix = ".scratch-claim.";
inline constexpr std::size_t longest_name = 255;
inline constexpr std::size_t longest_label = 48;

/// Whether the library itself keeps something under this name in a session or workspace.
inline bool is_bookkeeping(std::string_view name) {
  return name.starts_with(reserved_prefix) || name == metadata_name || name == lock_name || name == keep_name ||
         name == chunks_name || name == old_chunks_name;
}

/// @throws Error `invalid_name` unless an application may give a file or an area this name
inline void check_file_name(std::string_view name, std::string_view doing) {
  const auto refuse = [&](std::string why) {
    throw_error(errc::invalid_name, doing, std::string(name.substr(0, longest_name)), why);
  };
  if (name.empty()) refuse("the name is empty");
  if (name == "." || name == "..") refuse("\".\" and \"..\" are directories");
  if (name.find('/') != name.npos) refuse("a name holds no '/': use area() for a directory below");
  if (name.find('\0') != name.npos) refuse("a name holds no NUL byte");
  if (name.size() > longest_name) refuse("a name has at most 255 bytes, this one has " + std::to_string(name.size()));
  if (is_bookkeeping(name)) refuse("the library keeps its own records under this name");
}

/// Any bytes made into a part of a file name: [A-Za-z0-9_-] kept, '.' kept inside, the rest '_'; 1 to 48 bytes.
inline std::string clean_label(std::string_view label) {
  std::string clean(label.substr(0, longest_label));
  for (std::size_t i = 0; i < clean.size(); ++i) {
    const char c = clean[i];
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    const bool inside = c == '.' && i > 0 && i + 1 < clean.size();
    if (!plain && !inside) clean[i] = '_';
  }
  return clean.empty() ? "_" : clean;
}

/// What a root's entries are called: `prefix` is empty, or `pgsql_tmp_scratch-<app>-`.
struct SessionGrammar {
  std::string prefix{};

  std::string session(std::string_view middle, std::uint64_t random) const {
    return prefix + std::string(session_prefix) + std::string(middle) + "_" + hex16(random);
  }

  std::string trash(std::uint64_t random) const { return prefix + std::string(trash_word()) + hex16(random); }

  bool is_session(std::string_view name) const {
    if (!name.starts_with(prefix)) return false;
    name.remove_prefix(prefix.size());
    if (!name.starts_with(session_prefix)) return false;
    name.remove_prefix(session_prefix.size());
    return name.size() >= 18 && name[name.size() - 17] == '_' && parse_hex16(name.substr(name.size() - 16));
  }

  bool is_trash(std::string_view name) const {
    if (!name.starts_with(prefix)) return false;
    name.remove_prefix(prefix.size());
    const std::string_view word = trash_word();
    return name.size() == word.size() + 16 && name.starts_with(word) && parse_hex16(name.substr(word.size()));
  }

  /// A session's id: its name without `<prefix>session_`.
  /// @pre `is_session(name)`
  std::string id(std::string_view name) const {
    return std::string(name.substr(prefix.size() + session_prefix.size()));
  }

  std::string_view trash_word() const { return prefix.empty() ? trash_prefix : std::string_view("trash_"); }
};

/// The grammar that a session's name follows, found from the name alone; nothing for what is no session's name.
inline std::optional<SessionGrammar> grammar_of(std::string_view name) {
  constexpr std::string_view pgsql_prefix = "pgsql_tmp_scratch-";
  for (std::size_t at = name.find(session_prefix); at != name.npos; at = name.find(session_prefix, at + 1)) {
    SessionGrammar grammar{std::string(name.substr(0, at))};
    const bool known = at == 0 || (name.starts_with(pgsql_prefix) && name[at - 1] == '-');
    if (known && grammar.is_session(name)) return grammar;
  }
  return std::nullopt;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
