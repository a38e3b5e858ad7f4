// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Reading metadata.json, whoever wrote it. This is the only header that includes nlohmann/json.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

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

/// @throws Error `corrupt` for a text that is too large or too deep
inline void check_metadata_text(std::string_view text, const std::filesystem::path& file) {
  if (text.size() > longest_metadata)
    throw_error(errc::corrupt, "read", file, "it has " + readable_size(text.size()) + ", at most 256 MiB are read");
  if (const std::size_t depth = nesting(text); depth > deepest_metadata)
    throw_error(errc::corrupt, "read", file,
                "it nests " + std::to_string(depth) + " deep, at most " + std::to_string(deepest_metadata));
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

/// Reads metadata.json event by event. A tree of values asks for memory when it dies, and ends the process where there
/// is none.
class HeadReader {
 public:
  bool null() { return value("null"); }
  bool boolean(bool b) {
    if (is_at("durable")) head_.durable = b;
    if (is_in("set", "settled")) head_.set.settled = b;
    return value(b ? "true" : "false");
  }
  bool number_integer(std::int64_t n) {
    if (is_at("format")) format_ = n;
    if (is_at("pid")) head_.pid = n;
    return value(std::to_string(n));
  }
  bool number_unsigned(std::uint64_t n) {
    if (is_in_progress("done")) head_.progress->done = n;
    if (is_in_progress("total")) head_.progress->total = n;
    if (is_in("set", "index")) head_.set.index = n;
    if (n <= INT64_MAX) return number_integer(static_cast<std::int64_t>(n));
    if (is_at("format")) format_ = INT64_MAX;
    return value(std::to_string(n));
  }
  bool number_float(double, const std::string& as_written) { return value(as_written); }
  bool string(const std::string& text) {
    if (is_at("label")) head_.label = text;
    if (is_at("status")) head_.status = text;
    if (is_at("start_time")) head_.start_time = text;
    if (is_at("engine")) head_.engine = text;
    if (is_at("host")) head_.host = text;
    if (is_at("boot_id")) head_.boot_id = text;
    if (is_in_progress("what")) head_.progress->what = text;
    if (depth_ == 3 && key_ == "set" && inner_key_ == "members") take_member(text);
    return value(json_string(text));
  }
  bool binary(const nlohmann::json::binary_t&) { return false; }
  bool start_object(std::size_t) {
    is_object_ = is_object_ || depth_ == 0;
    if (is_at("progress")) head_.progress.emplace();
    if (depth_ == 2 && key_ == "previous") ++head_.previous_owners;
    if (is_at("user") || is_at("progress")) begin_ = head_.text.size();
    return begin("{");
  }
  bool end_object() {
    end("}");
    if (is_at("user")) head_.user_text = member();
    if (is_at("progress")) head_.progress_text = member();
    return true;
  }
  bool start_array(std::size_t) {
    if (is_at("previous")) begin_ = head_.text.size();
    return begin("[");
  }
  bool end_array() {
    end("]");
    if (is_at("previous")) head_.previous_text = member();
    return true;
  }
  bool key(const std::string& name) {
    if (depth_ == 1) key_ = name;
    if (depth_ == 1) in_chunks_ = name == "chunks";
    if (depth_ == 2) inner_key_ = name;
    return value(json_string(name) + ":"), no_comma();
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& error) {
    error_ = error.what();
    return false;
  }

  /// @throws Error `corrupt`, `unsupported_version`
  MetadataHead head(const std::filesystem::path& file, int oldest) && {
    if (!error_.empty()) throw_error(errc::corrupt, "read", file, error_);
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

  bool value(std::string_view text) {
    if (in_chunks_) return true;
    if (!std::exchange(first_, false)) head_.text += ',';
    head_.text += text;
    return true;
  }
  // Before what comes next.
  bool no_comma() {
    first_ = first_ || !in_chunks_;
    return true;
  }
  bool begin(std::string_view bracket) {
    value(bracket);
    ++depth_;
    return no_comma();
  }
  bool end(std::string_view bracket) {
    no_comma();
    return --depth_ == 0 || value(bracket);
  }

  MetadataHead head_{};
  std::optional<std::int64_t> format_{};
  std::string key_{}, inner_key_{}, error_{};
  std::size_t depth_ = 0;
  std::size_t begin_ = 0;  // of a member in the text
  bool first_ = true;      // no comma comes before the next one
  bool in_chunks_ = false;
  bool is_object_ = false;
};

/// @param oldest format that is read
/// @throws Error `corrupt` for what is not such a text, too large or too deep; `unsupported_version`
inline MetadataHead parse_head(std::string_view text, const std::filesystem::path& file, int oldest = metadata_format) {
  check_metadata_text(text, file);
  HeadReader reader;
  nlohmann::json::sax_parse(text, &reader);
  return std::move(reader).head(file, oldest);
}

/// The same as a tree of values, for who wants one. @throws Error as `parse_head`
inline nlohmann::json parse_metadata(std::string_view text, const std::filesystem::path& file) {
  static_cast<void>(parse_head(text, file));
  return nlohmann::json::parse(text);
}

inline nlohmann::json read_metadata(int directory, const std::filesystem::path& path) {
  return parse_metadata(read_metadata_text(directory, path), path / metadata_name);
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
