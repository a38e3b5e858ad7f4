// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// One line of chunks.log.
//
// The log is text, and only grows. Each record is one append of
//
//   "\n" <text> " " <16 hex: XXH3-64 of text> "\n"
//
// so that a record that a full disk or a kill cut short never eats its neighbour. Empty lines, and lines that do not
// check, are passed over. <text> is one of
//
//   chunk <id> size=<n> rows=<n> xxh3=<16 hex> block=<n> file=<name> user=<json> blocks=<16 hex>,<16 hex>,...
//   gone <id>
//   leaves <id> to=<name>
//
// `leaves` comes before the file is renamed, to a name below the directory, or to one elsewhere where `to` is empty.
// Until the next record about the id, the chunk is `file` if that is there and has its size, else `to`, or gone.
//
// `file` is relative to the directory of the log; `blocks` has the XXH3-64 of each block. In `file` and `user`, '%' and
// bytes up to 0x20 and from 0x7f stand as %XX. A later record about an id replaces an earlier one; one that names another
// file, without a `leaves` before it that says so, is another chunk, and the id is damaged. Example:
//
//   chunk 3 size=5 rows=1 xxh3=9555e8555c62dcfd block=4194304 file=sorting/chunk_3.bin user= blocks=9555e8555c62dcfd
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

struct ChunkRecord {
  ChunkInfo info = {};
  std::uint64_t block = 4_MiB;
  std::vector<std::uint64_t> sums = {};  ///< of the blocks
  bool gone = false;                     ///< the chunk of `info.id` was removed; the rest means nothing
  bool leaves = false;  ///< it may be under the name `info.file`, or no longer here; the rest means nothing
};

/// What the application says of a chunk, as records have it: JSON without blanks. Another text becomes a JSON string.
inline std::string normal_user(std::string_view text) {
  constexpr std::size_t above = 3;  // brackets around it in metadata.json
  if (text.empty()) return {};
  return is_json(text, deepest_json - above) ? minified_json(text) : json_string(text);
}

inline std::string escape_field(std::string_view text) {
  constexpr char hex[] = "0123456789abcdef";
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7f || c == '%') {
      escaped += '%';
      escaped += hex[byte >> 4];
      escaped += hex[byte & 15];
    } else {
      escaped += c;
    }
  }
  return escaped;
}

inline std::optional<std::string> unescape_field(std::string_view text) {
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain += text[i];
      continue;
    }
    if (text.size() - i < 3 || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0) return std::nullopt;
    plain += static_cast<char>(digit(text[i + 1]) << 4 | digit(text[i + 2]));
    i += 2;
  }
  return plain;
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

/// A record as it is appended.
inline std::string framed(const std::string& text) {
  return std::string("\n").append(text).append(" ").append(hex16(xxh3(bytes_of(text)))).append("\n");
}

inline std::string chunk_record(const ChunkRecord& record) {
  const ChunkInfo& info = record.info;
  std::string text;
  text.append("chunk ").append(std::to_string(info.id));
  text.append(" size=").append(std::to_string(info.size));
  text.append(" rows=").append(std::to_string(info.rows));
  text.append(" xxh3=").append(info.checksum, 5);
  text.append(" block=").append(std::to_string(record.block));
  text.append(" file=").append(escape_field(info.file));
  text.append(" user=").append(escape_field(info.user));
  text.append(" blocks=");
  text.reserve(text.size() + record.sums.size() * 17);
  for (std::size_t i = 0; i < record.sums.size(); ++i) {
    if (i > 0) text += ',';
    text += hex16(record.sums[i]);
  }
  return framed(text);
}

inline std::string gone_record(std::uint64_t id) { return framed("gone " + std::to_string(id)); }

inline std::string leaves_record(std::uint64_t id, std::string_view to) {
  return framed("leaves " + std::to_string(id) + " to=" + escape_field(to));
}

/// The text of a line that checks.
inline std::optional<std::string_view> checked_text(std::string_view line) {
  if (line.size() < 18 || line[line.size() - 17] != ' ') return std::nullopt;
  const std::string_view text = line.substr(0, line.size() - 17);
  if (parse_hex16(line.substr(line.size() - 16)) != xxh3(bytes_of(text))) return std::nullopt;
  return text;
}

/// Takes labels and their values off the front of a record. Once something is not as expected, all values are empty and
/// `good()` is false.
class RecordFields {
 public:
  explicit RecordFields(std::string_view text) : rest_(text) {}

  std::string_view field(std::string_view label) {
    good_ = good_ && rest_.starts_with(label);
    if (!good_) return {};
    rest_.remove_prefix(label.size());
    const std::size_t end = rest_.find(' ');
    const std::string_view value = rest_.substr(0, end);
    rest_.remove_prefix(end == rest_.npos ? rest_.size() : end + 1);
    return value;
  }

  std::uint64_t number(std::string_view label) {
    const std::string_view value = field(label);
    const char* last = value.data() + value.size();
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), last, number);
    good_ = good_ && error == std::errc() && end == last;
    return good_ ? number : 0;
  }

  /// Everything was there, and nothing else.
  bool good() const { return good_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool good_ = true;
};

/// The inverse of `chunk_record`, `gone_record` and `leaves_record`, for the text of a line; nothing where it makes no
/// sense.
inline std::optional<ChunkRecord> parse_record(std::string_view text) {
  RecordFields fields(text);
  ChunkRecord record;
  if (text.starts_with("gone ")) {
    record.info.id = fields.number("gone ");
    record.gone = true;
    if (!fields.good()) return std::nullopt;
    return record;
  }
  if (text.starts_with("leaves ")) {
    record.info.id = fields.number("leaves ");
    auto to = unescape_field(fields.field("to="));
    record.leaves = true;
    if (!fields.good() || !to || (!to->empty() && !is_inner_path(*to))) return std::nullopt;
    record.info.file = std::move(*to);
    return record;
  }
  record.info.id = fields.number("chunk ");
  record.info.size = fields.number("size=");
  record.info.rows = fields.number("rows=");
  const std::string_view sum = fields.field("xxh3=");
  record.block = fields.number("block=");
  auto file = unescape_field(fields.field("file="));
  auto user = unescape_field(fields.field("user="));
  const std::string_view blocks = fields.field("blocks=");
  if (!fields.good() || record.block == 0 || !parse_hex16(sum) || !file || !user || !is_inner_path(*file))
    return std::nullopt;
  record.info.checksum = "xxh3:" + std::string(sum);
  record.info.file = std::move(*file);
  record.info.user = std::move(*user);

  const std::uint64_t count = ChunkLayout{record.info.size, record.block}.count();
  if (count > blocks.size() || blocks.size() != (count == 0 ? 0 : count * 17 - 1)) return std::nullopt;
  record.sums.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto block_sum = parse_hex16(blocks.substr(i * 17, 16));
    if (!block_sum || (i > 0 && blocks[i * 17 - 1] != ',')) return std::nullopt;
    record.sums.push_back(*block_sum);
  }
  return record;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
