// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// metadata.json: what a session is and what is in it, for people and for readers in any language.
//
// It is valid JSON at every instant: written beside, then renamed. Compact, the head on the first line and then a line
// a chunk, so that the head can be read, and chunks be added, without parsing the rest:
//
//   {"format":1,"session_id":"...","label":"...","place":"/dev/shm/app-0","start_time":"2024-07-08T12:00:00Z",
//    "pid":1,"host":"...","boot_id":"...","uid":0,"status":"in_progress","reason":"","durable":false,"user":{},
//   "chunks":[
//   {"id":0,"file":"chunk_0.bin","size":5,"rows":1,"checksum":"xxh3:9555e8555c62dcfd","blocks":1},
//   {"id":1,"file":"sorting/chunk_1.bin","size":0,"rows":0,"checksum":"xxh3:2d06800538d394c2","blocks":0}
//   ]}
//
// (the head is one line). `status` is in_progress, completed or failed; `user` is the application's. pid, host and boot
// are for people: nothing is ever decided by them. This is the only header that includes nlohmann/json.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <scratch/bytes.hpp>
#include <scratch/chunk_info.hpp>
#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

// Writer and reader share these.
inline constexpr std::uint64_t longest_metadata = 256_MiB;
inline constexpr std::size_t deepest_metadata = 64;
inline constexpr int metadata_format = 1;

/// What metadata.json says of a session before its chunks.
struct SessionFacts {
  std::string id, label, place, start_time;
  std::int64_t pid = 0;
  std::string host, boot_id;
  std::uint64_t uid = 0;
  std::string status = "in_progress";
  std::string reason = {};
  bool durable = false;
  nlohmann::json user = nlohmann::json::object();
};

/// `2024-07-08T12:00:00Z`
inline std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

inline std::string host_name() {
  struct utsname names {};
  return sys::uname(names) == 0 ? names.nodename : "";
}

/// Which start of the machine this is; empty where the kernel does not say.
inline const std::string& boot_id() {
  static const std::string id = [] {
    const Fd file(sys::openat(AT_FDCWD, "/proc/sys/kernel/random/boot_id", O_RDONLY));
    std::string text(64, '\0');
    if (!file) return std::string();
    text.resize(sys::read_all(file.get(), std::as_writable_bytes(std::span(text))).size);
    return text.substr(0, text.find('\n'));
  }();
  return id;
}

/// JSON of any string: bytes that are not UTF-8 become U+FFFD.
inline std::string json_text(std::string_view text) {
  const bool plain =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; });
  if (plain) return '"' + std::string(text) + '"';
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

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

/// The first line, up to where chunks begin.
/// @throws Error when `user` is not UTF-8, too deep or too large to be read back
inline std::string head_text(const SessionFacts& facts, const std::filesystem::path& path) {
  std::string user;
  try {
    user = facts.user.dump();
  } catch (const nlohmann::json::exception& error) {
    throw Error(EILSEQ, "write the application's object to", path, error.what());
  }
  if (nesting(user) >= deepest_metadata)
    throw Error(EOVERFLOW, "write the application's object to", path,
                "it nests more than " + std::to_string(deepest_metadata - 1) + " deep");
  return "{\"format\":" + std::to_string(metadata_format) + ",\"session_id\":" + json_text(facts.id) +
         ",\"label\":" + json_text(facts.label) + ",\"place\":" + json_text(facts.place) +
         ",\"start_time\":" + json_text(facts.start_time) + ",\"pid\":" + std::to_string(facts.pid) +
         ",\"host\":" + json_text(facts.host) + ",\"boot_id\":" + json_text(facts.boot_id) +
         ",\"uid\":" + std::to_string(facts.uid) + ",\"status\":" + json_text(facts.status) +
         ",\"reason\":" + json_text(facts.reason) + ",\"durable\":" + (facts.durable ? "true" : "false") +
         ",\"user\":" + user + ",\n\"chunks\":[";
}

inline constexpr std::string_view end_of_head = ",\n\"chunks\":[";
inline constexpr std::string_view end_of_metadata = "\n]}\n";

/// Adds a chunk's line to a text that `head_text` began; `first`: no chunk was added before.
inline void add_chunk(std::string& text, const ChunkInfo& chunk, bool first) {
  const auto number = [&text](std::uint64_t value) {
    std::array<char, 24> digits{};
    text.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
  };
  text += first ? "\n{\"id\":" : ",\n{\"id\":";
  number(chunk.id);
  text += ",\"file\":";
  text += json_text(chunk.file);
  text += ",\"size\":";
  number(chunk.size);
  text += ",\"rows\":";
  number(chunk.rows);
  text += ",\"checksum\":";
  text += json_text(chunk.checksum);
  text += ",\"blocks\":";
  number(ChunkLayout{chunk.size}.count());
  if (!chunk.user.empty()) {
    text += ",\"user\":";
    const bool json = nesting(chunk.user) < deepest_metadata - 2 && nlohmann::json::accept(chunk.user);
    // Dumped anew, since a line may not hold a newline.
    text += json ? nlohmann::json::parse(chunk.user).dump() : json_text(chunk.user);
  }
  text += '}';
}

/// Replaces metadata.json, or makes it. @throws Error and then the old one is there as it was
inline void write_metadata(int directory, const std::filesystem::path& path, std::string_view text, bool durable) {
  const std::filesystem::path file = path / metadata_name;
  if (text.size() > longest_metadata)
    throw Error(EFBIG, "write", file,
                "it would have " + readable_size(text.size()) + ", at most 256 MiB are read back; chunks.log has all");
  TempFile temp(directory, path, durable, "write metadata.json in");
  const sys::Moved moved = sys::pwrite_all(temp.fd(), std::as_bytes(std::span(text)), 0);
  if (moved.error != 0) throw Error(moved.error, "write", file);
  temp.commit(std::string(metadata_name), Replacing::whatever_is_there);
}

/// @throws Error `corrupt` for what is not such a text, too large or too deep; `unsupported_version`
inline nlohmann::json parse_metadata(std::string_view text, const std::filesystem::path& file) {
  if (text.size() > longest_metadata)
    throw Error(errc::corrupt, "read", file, "it has " + readable_size(text.size()) + ", at most 256 MiB are read");
  if (const std::size_t depth = nesting(text); depth > deepest_metadata)
    throw Error(errc::corrupt, "read", file,
                "it nests " + std::to_string(depth) + " deep, at most " + std::to_string(deepest_metadata));
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw Error(errc::corrupt, "read", file, error.what());
  }
  const auto format = json.is_object() ? json.find("format") : json.end();
  if (!json.is_object() || format == json.end() || !format->is_number_integer())
    throw Error(errc::corrupt, "read", file, "it is not an object with a \"format\"");
  if (*format != metadata_format)
    throw Error(errc::unsupported_version, "read", file,
                "format " + format->dump() + ", this library reads " + std::to_string(metadata_format));
  return json;
}

/// @throws Error `corrupt` where it is too large
inline std::uint64_t metadata_size(int open, const std::filesystem::path& file) {
  const auto size = static_cast<std::uint64_t>(facts_of(open, file).st_size);
  if (size > longest_metadata)
    throw Error(errc::corrupt, "read", file, "it has " + readable_size(size) + ", at most 256 MiB are read");
  return size;
}

/// @throws Error ENOENT; as `parse_metadata`
inline std::string read_metadata_text(int directory, const std::filesystem::path& path) {
  const std::filesystem::path file = path / metadata_name;
  const Fd open = open_existing(directory, metadata_name.data(), O_RDONLY, file);
  const std::uint64_t size = metadata_size(open.get(), file);
  std::string text(size, '\0');
  const sys::Moved moved = sys::pread_all(open.get(), std::as_writable_bytes(std::span(text)), 0);
  if (moved.error != 0) throw Error(moved.error, "read", file);
  text.resize(moved.size);
  return text;
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
    if (moved.error != 0) throw Error(moved.error, "read", file);
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
inline nlohmann::json read_head(int directory, const std::filesystem::path& path) {
  return parse_metadata(read_head_text(directory, path) + "]}", path / metadata_name);
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

}  // namespace scratch::inline SCRATCH_ABI::detail
