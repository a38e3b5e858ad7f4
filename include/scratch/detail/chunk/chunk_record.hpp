// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// One line of chunks.jsonl, the record of chunks that any language follows.
//
// The file only grows. A record is one line of JSON, appended by one write: keys in this order, no blanks, and last the
// XXH3-64 of the bytes before `,"sum":`. A line that does not check is passed over: a full disk or a kill cut it short.
// Three kinds (each is one line in the file):
//
//   {"id":3,"file":"sorting/chunk_3.bin","size":5,"rows":1,"checksum":"xxh3:9555e8555c62dcfd","block":4194304,
//     "blocks":1,"sums":"9555e8555c62dcfd","user":{},"sum":"ab70887950a42cc7"}
//   {"id":3,"leaves":"merging/chunk_3.bin","sum":"129bc11af92398bf"}
//   {"id":3,"gone":true,"sum":"29156888dddf297b"}
//
// `file` is relative to the directory of chunks.jsonl; in it, '%' and every byte that is not printable ASCII stand as
// %XX. `sums` has the XXH3-64 of each block, nothing in between. `user` is the application's JSON object.
//
// `leaves` comes before the file is renamed, to a name below the directory, or to one elsewhere where it is empty.
// Until the next record about the id, the chunk is `file` if that is there and has its size, else under the name given,
// or gone. A later record about an id replaces an earlier one.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/text/json_text.hpp>
#include <scratch/detail/text/names.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr std::size_t longest_chunk_record = 16_MiB;

struct ChunkRecord {
  ChunkInfo info = {};
  std::uint64_t block = 4_MiB;
  std::vector<std::uint64_t> sums = {};  ///< of the blocks
  bool gone = false;                     ///< the chunk of `info.id` was removed; the rest means nothing
  bool leaves = false;  ///< it may be under the name `info.file`, or no longer here; the rest means nothing
};

/// Adds a name as it stands in a record, between quotation marks.
inline void append_name(std::string& text, std::string_view name) {
  constexpr char hex[] = "0123456789ABCDEF";
  const auto stands_for_itself = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte <= 0x7e && c != '%' && c != '"' && c != '\\';
  };
  for (std::size_t i = 0; i < name.size(); ++i) {
    const std::size_t begin = i;
    while (i < name.size() && stands_for_itself(name[i])) ++i;
    text.append(name, begin, i - begin);
    if (i == name.size()) return;
    const auto byte = static_cast<unsigned char>(name[i]);
    if (name[i] == '"' || name[i] == '\\')
      text.append({'\\', name[i]});
    else
      text.append({'%', hex[byte >> 4], hex[byte & 15]});
  }
}

/// The inverse; nothing for what `append_name` does not write.
inline std::optional<std::string> decode_name(std::string_view text) {
  const auto digit = [&](std::size_t i) {
    const char c = i < text.size() ? text[i] : '\0';
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  std::string name;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (digit(i + 1) < 0 || digit(i + 2) < 0) return std::nullopt;
      name += static_cast<char>(digit(i + 1) << 4 | digit(i + 2));
      i += 2;
    } else if (text[i] == '\\') {
      if (++i == text.size() || (text[i] != '"' && text[i] != '\\')) return std::nullopt;
      name += text[i];
    } else if (text[i] < 0x20 || text[i] > 0x7e || text[i] == '"') {
      return std::nullopt;
    } else {
      name += text[i];
    }
  }
  return name;
}

/// Whether a recorded name stays below its directory: names that an application may give, joined by '/'.
inline bool is_inner_path(std::string_view path) {
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (name.empty() || name == "." || name == ".." || name.size() > longest_name || is_bookkeeping(name) ||
        name.find('\0') != name.npos)
      return false;
    if (slash == path.npos) return true;
    path.remove_prefix(slash + 1);
  }
}

inline void append_number(std::string& text, std::string_view label, std::uint64_t value) {
  char digits[20];
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof digits, value);
  text.append(label).append(digits, static_cast<std::size_t>(end.ptr - digits));
}

/// Adds what metadata.json says of a chunk, and a record before its sums: up to `"blocks"`, without a bracket at the
/// end.
inline void append_fields(std::string& text, const ChunkInfo& info, std::uint64_t block) {
  append_number(text, "{\"id\":", info.id);
  append_name(text.append(",\"file\":\""), info.file);
  append_number(text, "\",\"size\":", info.size);
  append_number(text, ",\"rows\":", info.rows);
  text.append(",\"checksum\":\"").append(info.checksum);
  append_number(text, "\",\"block\":", block);
  append_number(text, ",\"blocks\":", ChunkLayout{info.size, block}.count());
}

/// A line of the file. @param text all of the record but its sum
inline std::string sealed(std::string text) {
  const std::string sum = hex16(xxh3(bytes_of(text)));
  return text.append(",\"sum\":\"").append(sum).append("\"}\n");
}

/// @pre `record.info.user` is empty or a minified JSON object
inline std::string chunk_record(const ChunkRecord& record) {
  std::string text;
  text.reserve(256 + record.info.file.size() + record.sums.size() * 16 + record.info.user.size());
  append_fields(text, record.info, record.block);
  text += ",\"sums\":\"";
  for (const std::uint64_t sum : record.sums) text += hex16(sum);
  text.append("\",\"user\":").append(record.info.user.empty() ? "{}" : record.info.user);
  return sealed(std::move(text));
}

inline std::string gone_record(std::uint64_t id) {
  std::string text;
  append_number(text, "{\"id\":", id);
  return sealed(std::move(text.append(",\"gone\":true")));
}

inline std::string leaves_record(std::uint64_t id, std::string_view to) {
  std::string text;
  append_number(text, "{\"id\":", id);
  append_name(text.append(",\"leaves\":\""), to);
  return sealed(std::move(text.append("\"")));
}

/// What a line that checks says before its sum.
/// @param line without its newline
inline std::optional<std::string_view> checked_text(std::string_view line) {
  constexpr std::string_view label = ",\"sum\":\"", end = "\"}";
  constexpr std::size_t tail = label.size() + 16 + end.size();
  if (line.size() < tail || !line.ends_with(end) || !line.substr(line.size() - tail).starts_with(label))
    return std::nullopt;
  const std::string_view text = line.substr(0, line.size() - tail);
  if (parse_hex16(line.substr(text.size() + label.size(), 16)) != xxh3(bytes_of(text))) return std::nullopt;
  return text;
}

/// Takes labels and their values off the front of a record. Once something is not as expected, all values are empty and
/// `good()` is false.
class RecordFields {
 public:
  explicit RecordFields(std::string_view text) : rest_(text) {}

  bool good() const { return good_; }
  /// Everything was there, and nothing else.
  bool ended() const { return good_ && rest_.empty(); }
  bool starts_with(std::string_view label) const { return good_ && rest_.starts_with(label); }

  void take(std::string_view label) {
    good_ = starts_with(label);
    rest_.remove_prefix(good_ ? label.size() : rest_.size());
  }

  std::uint64_t number(std::string_view label) {
    take(label);
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number);
    good_ = good_ && error == std::errc();
    if (good_) rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return good_ ? number : 0;
  }

  /// What stands in quotation marks.
  std::string_view quoted(std::string_view label) {
    take(label);
    take("\"");
    std::size_t end = 0;
    while (end < rest_.size() && rest_[end] != '"') end += rest_[end] == '\\' ? 2 : 1;
    good_ = good_ && end < rest_.size();
    if (!good_) return {};
    const std::string_view value = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return value;
  }

  /// All that is left.
  std::string_view rest(std::string_view label) {
    take(label);
    return std::exchange(rest_, {});
  }

 private:
  std::string_view rest_;
  bool good_ = true;
};

/// The inverse of `chunk_record`, `gone_record` and `leaves_record`, for what `checked_text` gave; nothing where it
/// makes no sense, however it came to its sum.
inline std::optional<ChunkRecord> parse_record(std::string_view text) {
  RecordFields fields(text);
  ChunkRecord record;
  record.info.id = fields.number("{\"id\":");
  if (fields.starts_with(",\"gone\"")) {
    fields.take(",\"gone\":true");
    record.gone = true;
    if (!fields.ended()) return std::nullopt;
    return record;
  }
  if (fields.starts_with(",\"leaves\"")) {
    auto to = decode_name(fields.quoted(",\"leaves\":"));
    record.leaves = true;
    if (!fields.ended() || !to || (!to->empty() && !is_inner_path(*to))) return std::nullopt;
    record.info.file = std::move(*to);
    return record;
  }
  auto file = decode_name(fields.quoted(",\"file\":"));
  record.info.size = fields.number(",\"size\":");
  record.info.rows = fields.number(",\"rows\":");
  record.info.checksum = fields.quoted(",\"checksum\":");
  record.block = fields.number(",\"block\":");
  const std::uint64_t blocks = fields.number(",\"blocks\":");
  const std::string_view sums = fields.quoted(",\"sums\":");
  const std::string_view user = fields.rest(",\"user\":");
  if (!fields.good() || record.block == 0 || !parse_checksum(record.info.checksum) || !file || !is_inner_path(*file) ||
      !is_json_object(user))
    return std::nullopt;
  record.info.file = std::move(*file);
  if (user != "{}") record.info.user = user;

  if (blocks != ChunkLayout{record.info.size, record.block}.count() || sums.size() / 16 != blocks ||
      sums.size() % 16 != 0)
    return std::nullopt;
  record.sums.reserve(blocks);
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const auto sum = parse_hex16(sums.substr(i * 16, 16));
    if (!sum) return std::nullopt;
    record.sums.push_back(*sum);
  }
  return record;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
