// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Reading metadata.json, whoever wrote it.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/chunk/chunk_record.hpp>
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

struct HeadProgress {
  std::uint64_t done = 0, total = 0;
  std::string what = {};
};

/// What a session says of itself, as far as this library asks. A file is not believed: what is no text is none.
struct MetadataHead {
  std::string label{}, status{}, start_time{}, engine{}, host{}, boot_id{};
  std::int64_t pid = 0;
  bool durable = false;
  std::uint64_t previous_owners = 0;
  std::optional<HeadProgress> progress{};
  SetFacts set{};
  std::string user_text{}, previous_text{}, progress_text{};  ///< JSON, where they are what they should be
  std::string text{};  ///< all that it says but its chunks, without the bracket at the end
};

/// Reads metadata.json event by event.
class HeadReader {
 public:
  void begin(char bracket) {
    const bool object = bracket == '{';
    is_object_ = is_object_ || (object && depth_ == 0);
    if (object && is_at("progress")) head_.progress.emplace();
    if (object && depth_ == 2 && key_ == "previous") ++head_.previous_owners;
    if (object ? is_at("user") || is_at("progress") : is_at("previous")) begin_ = head_.text.size();
    value({&bracket, 1});
    ++depth_;
    no_comma();
  }
  void end(char bracket) {
    no_comma();
    if (--depth_ > 0) value({&bracket, 1});
    const bool object = bracket == '}';
    if (object && is_at("user")) head_.user_text = member();
    if (object && is_at("progress")) head_.progress_text = member();
    if (!object && is_at("previous")) head_.previous_text = member();
  }
  void key(std::string_view inside) {
    if (depth_ > 1 && in_chunks_) return;
    const std::string name = unescaped_json(inside);
    if (depth_ == 1) key_ = name;
    if (depth_ == 1) in_chunks_ = name == "chunks";
    if (depth_ == 2) inner_key_ = name;
    value(json_string(name) + ":");
    no_comma();
  }
  void string(std::string_view inside) {
    if (in_chunks_) return;
    const std::string text = unescaped_json(inside);
    if (is_at("label")) head_.label = text;
    if (is_at("status")) head_.status = text;
    if (is_at("start_time")) head_.start_time = text;
    if (is_at("engine")) head_.engine = text;
    if (is_at("host")) head_.host = text;
    if (is_at("boot_id")) head_.boot_id = text;
    if (is_in_progress("what")) head_.progress->what = text;
    if (depth_ == 3 && key_ == "set" && inner_key_ == "members") take_member(text);
    value(json_string(text));
  }
  void word(std::string_view as_written) {
    const bool is_true = as_written == "true";
    if (is_true || as_written == "false") {
      if (is_at("durable")) head_.durable = is_true;
      if (is_in("set", "settled")) head_.set.settled = is_true;
    }
    if (const auto n = integer<std::int64_t>(as_written)) {
      if (is_at("format")) format_ = n;
      if (is_at("pid")) head_.pid = *n;
    }
    if (const auto n = integer<std::uint64_t>(as_written)) {
      if (*n > INT64_MAX && is_at("format")) format_ = INT64_MAX;
      if (is_in_progress("done")) head_.progress->done = *n;
      if (is_in_progress("total")) head_.progress->total = *n;
      if (is_in("set", "index")) head_.set.index = *n;
    }
    value(as_written);
  }

  /// @throws Error `corrupt`, `unsupported_version`
  MetadataHead head(const std::filesystem::path& file, int oldest) && {
    if (!is_object_ || !format_) throw_error(errc::corrupt, "read", file, "it is not an object with a \"format\"");
    if (*format_ < oldest || *format_ > metadata_format)
      throw_error(errc::unsupported_version, "read", file,
                  "format " + std::to_string(*format_) + ", this library reads " + std::to_string(metadata_format));
    if (head_.set.index >= head_.set.members.size()) head_.set = {};
    return std::move(head_);
  }

 private:
  bool is_at(std::string_view key) const { return depth_ == 1 && key_ == key; }
  bool is_in(std::string_view object, std::string_view key) const {
    return depth_ == 2 && key_ == object && inner_key_ == key;
  }
  bool is_in_progress(std::string_view key) const { return is_in("progress", key) && head_.progress; }

  // What is no path stays as it is written, and leads nowhere.
  void take_member(const std::string& text) {
    const std::string quoted = json_string(text);
    head_.set.members.push_back(decode_name(std::string_view(quoted).substr(1, quoted.size() - 2)).value_or(text));
  }
  std::string member() const { return head_.text.substr(begin_); }

  template <class Integer>
  static std::optional<Integer> integer(std::string_view text) {
    Integer n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    return error == std::errc() && end == text.data() + text.size() ? std::optional(n) : std::nullopt;
  }

  void value(std::string_view text) {
    if (in_chunks_) return;
    if (!std::exchange(first_, false)) head_.text += ',';
    head_.text += text;
  }
  // Before what comes next.
  void no_comma() { first_ = first_ || !in_chunks_; }

  MetadataHead head_{};
  std::optional<std::int64_t> format_{};
  std::string key_{}, inner_key_{};
  std::size_t depth_ = 0;
  std::size_t begin_ = 0;  // of a member in the text
  bool first_ = true;      // no comma comes before the next one
  bool in_chunks_ = false;
  bool is_object_ = false;
};

/// @param oldest format that is read
/// @throws Error `corrupt` for what is not such a text, too large or too deep; `unsupported_version`
inline MetadataHead parse_head(std::string_view text, const std::filesystem::path& file, int oldest = metadata_format) {
  if (text.size() > longest_metadata)
    throw_error(errc::corrupt, "read", file, "it has " + readable_size(text.size()) + ", at most 256 MiB are read");
  HeadReader reader;
  JsonScanner scanner(text, deepest_metadata, reader);
  if (scanner.is_value()) return std::move(reader).head(file, oldest);
  if (const std::size_t depth = nesting(text); depth > deepest_metadata)
    throw_error(errc::corrupt, "read", file,
                "it nests " + std::to_string(depth) + " deep, at most " + std::to_string(deepest_metadata));
  throw_error(errc::corrupt, "read", file, "it is no JSON at byte " + std::to_string(text.size() - scanner.rest()));
}

/// The head as it stands in the file, `end_of_head` included; written anew where somebody else wrote the file.
/// O(head). @throws Error as `parse_head`
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
  return parse_head(read_metadata_text(directory, path), file).text + std::string(end_of_head);
}

/// @throws Error as `parse_head`
inline MetadataHead read_head(int directory, const std::filesystem::path& path, int oldest = metadata_format) {
  return parse_head(read_head_text(directory, path) + "]}", path / metadata_name, oldest);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
