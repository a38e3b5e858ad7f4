// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// The text of metadata.json: what a session is and what is in it, for people and for readers in any language.
//
// It is valid JSON at every instant: written beside, then renamed. Compact, the head on the first line and then a line
// a chunk, so that the head can be read, and chunks be added, without parsing the rest:
//
//   {"format":2,"session_id":"...","label":"...","place":"/dev/shm/app-0","start_time":"2024-07-08T12:00:00Z",
//    "pid":1,"host":"...","boot_id":"...","uid":0,"status":"in_progress","reason":"","durable":false,"engine":"best",
//    "user":{},
//   "chunks":[
//   {"id":0,"file":"chunk_0.bin","size":5,"rows":1,"checksum":"xxh3:9555e8555c62dcfd","block":4194304,"blocks":1,
//    "user":{}},
//   ]}
//
// (the head is one line). A session that was adopted has `"previous":[{"pid":1,"host":"...","boot_id":"..."},...]`, its
// owners of before, one that tells how far its work is `"progress":{"done":1,"total":9,"what":"sorting"}`, and one of a
// set `"set":{"index":0,"settled":true,"members":["/mnt/a/session_...","/mnt/b/session_..."]}`, the paths as names in
// chunk_record.hpp, all before `user`. Chunks whose lines would come to more than 64 MiB are left out, and the last line is
// `],"chunks_in":"chunks.jsonl"}`: what a session says of itself does not depend on how many they are. `status` is
// in_progress, completed or failed; `user` is the application's. pid, host and boot are for people: nothing is ever
// decided by them. `engine` is who moves the bytes: best, posix or uring.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/chunk/chunk_index.hpp>
#include <scratch/detail/chunk/chunk_record.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/json_text.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

// Writer and reader share these.
inline constexpr std::uint64_t longest_metadata = 256_MiB;
inline constexpr std::size_t deepest_metadata = deepest_json + 3;  // a chunk's object
inline constexpr int metadata_format = 2;

/// The set of sessions, one in each of several places, that a session is of.
struct SetFacts {
  std::vector<std::string> members = {};  ///< their paths; empty: it is alone
  std::uint64_t index = 0;                ///< its own among them
  bool settled = true;                    ///< see set_making.hpp
};

/// JSON; empty: it is alone.
inline std::string set_text(const SetFacts& set) {
  std::string text;
  for (const std::string& member : set.members) {
    append_name(text.append(text.empty() ? "\"" : ",\""), member);
    text += '"';
  }
  if (text.empty()) return text;
  return "{\"index\":" + std::to_string(set.index) + ",\"settled\":" + (set.settled ? "true" : "false") +
         ",\"members\":[" + text + "]}";
}

/// What metadata.json says of a session before its chunks.
struct SessionFacts {
  std::string id{}, label{}, place{}, start_time{};
  std::int64_t pid = 0;
  std::string host{}, boot_id{};
  std::uint64_t uid = 0;
  std::string status = "in_progress";
  std::string reason = {};
  bool durable = false;
  std::string engine = "best";
  std::string user = "{}";  ///< a JSON object, minified
  // JSON; empty: none
  std::string previous = {};  ///< an array: the owners of before
  std::string progress = {};  ///< an object
  SetFacts set = {};
};

inline std::string progress_text(std::uint64_t done, std::uint64_t total, std::string_view what) {
  return "{\"done\":" + std::to_string(done) + ",\"total\":" + std::to_string(total) +
         ",\"what\":" + json_string(what) + "}";
}

/// `2024-07-08T12:00:00Z`
inline std::string utc_now() {
  const std::time_t now = std::time(nullptr);
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

/// Of a session that this process owns. @param place the root
inline SessionFacts facts_of_owner(const std::filesystem::path& place) {
  SessionFacts facts;
  facts.place = place;
  facts.pid = sys::getpid();
  facts.host = host_name();
  facts.boot_id = boot_id();
  facts.uid = sys::geteuid();
  return facts;
}

/// The first line, up to where chunks begin.
/// @pre `facts.user` is as `checked_user` gives it
inline std::string head_text(const SessionFacts& facts) {
  const auto member = [](const char* key, const std::string& json) { return json.empty() ? json : key + json; };
  return "{\"format\":" + std::to_string(metadata_format) + ",\"session_id\":" + json_string(facts.id) +
         ",\"label\":" + json_string(facts.label) + ",\"place\":" + json_string(facts.place) +
         ",\"start_time\":" + json_string(facts.start_time) + ",\"pid\":" + std::to_string(facts.pid) +
         ",\"host\":" + json_string(facts.host) + ",\"boot_id\":" + json_string(facts.boot_id) +
         ",\"uid\":" + std::to_string(facts.uid) + ",\"status\":" + json_string(facts.status) +
         ",\"reason\":" + json_string(facts.reason) + ",\"durable\":" + (facts.durable ? "true" : "false") +
         ",\"engine\":" + json_string(facts.engine) + member(",\"previous\":", facts.previous) +
         member(",\"progress\":", facts.progress) + member(",\"set\":", set_text(facts.set)) +
         ",\"user\":" + facts.user + ",\n\"chunks\":[";
}

inline constexpr std::string_view end_of_head = ",\n\"chunks\":[";
inline constexpr std::string_view end_of_metadata = "\n]}\n";
/// Instead of chunks, and of that end, where those would make the file longer than `longest_chunks`.
inline constexpr std::string_view chunks_are_in_the_log = "\n],\"chunks_in\":\"chunks.jsonl\"}\n";
inline constexpr std::uint64_t longest_chunks = 64_MiB;

/// Adds a chunk's line to a text that `head_text` began; `first`: no chunk was added before.
inline void add_chunk(std::string& text, const ChunkEntry& chunk, bool first) {
  append_fields(text.append(first ? "\n" : ",\n"), chunk.info, chunk.block);
  text.append(",\"user\":").append(chunk.info.user.empty() ? "{}" : chunk.info.user).append("}");
}

/// Replaces metadata.json, or makes it. @throws Error and then the old one is there as it was
inline void write_metadata(int directory, const std::filesystem::path& path, std::string_view text, bool durable,
                           Lacks* lacks = nullptr) {
  const std::filesystem::path file = path / metadata_name;
  if (text.size() > longest_metadata)
    throw_error(
        EFBIG, "write", file,
        "it would have " + readable_size(text.size()) + ", at most 256 MiB are read back; chunks.jsonl has all");
  TempFile temp(directory, path, durable, "write metadata.json in", private_mode, lacks);
  const sys::Moved moved = sys::pwrite_all(temp.fd(), std::as_bytes(std::span(text)), 0);
  if (moved.error != 0) throw_error(moved.error, "write", file);
  temp.commit(std::string(metadata_name), Replacing::whatever_is_there);
}

/// @throws Error `corrupt` where it is too large
inline std::uint64_t metadata_size(int open, const std::filesystem::path& file) {
  const auto size = static_cast<std::uint64_t>(facts_of(open, file).st_size);
  if (size > longest_metadata)
    throw_error(errc::corrupt, "read", file, "it has " + readable_size(size) + ", at most 256 MiB are read");
  return size;
}

/// @throws Error ENOENT; as `parse_metadata`
inline std::string read_metadata_text(int directory, const std::filesystem::path& path) {
  const std::filesystem::path file = path / metadata_name;
  const Fd open = open_existing(directory, metadata_name.data(), O_RDONLY, file);
  const std::uint64_t size = metadata_size(open.get(), file);
  std::string text(size, '\0');
  const sys::Moved moved = sys::pread_all(open.get(), std::as_writable_bytes(std::span(text)), 0);
  if (moved.error != 0) throw_error(moved.error, "read", file);
  text.resize(moved.size);
  return text;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
