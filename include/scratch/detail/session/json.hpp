// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Reading metadata.json, whoever wrote it. This is the only header that includes nlohmann/json.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/detail/text/json_text.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// How deep brackets nest, without parsing: what is in strings does not count.
inline std::size_t nesting(std::string_view text) {
  std::size_t depth = 0, deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

/// @param oldest format that is read
/// @throws Error `corrupt` for what is not such a text, too large or too deep; `unsupported_version`
inline nlohmann::json parse_metadata(std::string_view text, const std::filesystem::path& file,
                                     int oldest = metadata_format) {
  if (text.size() > longest_metadata)
    throw_error(errc::corrupt, "read", file, "it has " + readable_size(text.size()) + ", at most 256 MiB are read");
  if (const std::size_t depth = nesting(text); depth > deepest_metadata)
    throw_error(errc::corrupt, "read", file,
                "it nests " + std::to_string(depth) + " deep, at most " + std::to_string(deepest_metadata));
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw_error(errc::corrupt, "read", file, error.what());
  }
  const auto format = json.is_object() ? json.find("format") : json.end();
  if (!json.is_object() || format == json.end() || !format->is_number_integer())
    throw_error(errc::corrupt, "read", file, "it is not an object with a \"format\"");
  if (*format < oldest || *format > metadata_format)
    throw_error(errc::unsupported_version, "read", file,
                "format " + format->dump() + ", this library reads " + std::to_string(metadata_format));
  return json;
}

inline nlohmann::json read_metadata(int directory, const std::filesystem::path& path) {
  return parse_metadata(read_metadata_text(directory, path), path / metadata_name);
}

/// The head as it stands in the file, `end_of_head` included; written anew where somebody else wrote the file.
/// O(head). @throws Error as `read_metadata`
inline std::string read_head_text(int directory, const std::filesystem::path& path) {
  const std::filesystem::path file = path / metadata_name;
  const Fd open = open_existing(directory, metadata_name.data(), O_RDONLY, file);
  metadata_size(open.get(), file);
  std::string text;
  for (std::size_t want = 4096; want <= longest_metadata; want *= 8) {
    const std::size_t have = text.size();
    text.resize(want);
    const sys::Moved moved = sys::pread_all(open.get(), std::as_writable_bytes(std::span(text).subspan(have)), have);
    if (moved.error != 0) throw_error(moved.error, "read", file);
    text.resize(have + moved.size);
    const std::size_t newline = text.find('\n');
    if (newline != text.npos && text.size() - newline + 1 >= end_of_head.size()) {
      if (newline == 0 || text.compare(newline - 1, end_of_head.size(), end_of_head) != 0) break;
      return text.substr(0, newline - 1 + end_of_head.size());
    }
    if (text.size() < want) break;
  }
  nlohmann::json json = read_metadata(directory, path);
  json.erase("chunks");
  std::string head = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  head.pop_back();
  return head + std::string(end_of_head);
}

/// metadata.json without its chunks. @throws Error as `read_metadata`
inline nlohmann::json read_head(int directory, const std::filesystem::path& path, int oldest = metadata_format) {
  return parse_metadata(read_head_text(directory, path) + "]}", path / metadata_name, oldest);
}

/// What is there under a key if it is text, else nothing: a file is not believed.
inline std::string text_at(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

inline std::int64_t number_at(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

inline std::uint64_t unsigned_at(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
