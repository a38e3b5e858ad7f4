// SPDX-License-Identifier: MIT
//
// verify: every sum of a session, or of one file.
#pragma once

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <scratch/scratch.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "inside.hpp"
#include "support/streams.hpp"
#include "text.hpp"

namespace scratchctl {

inline constexpr int damaged = 3;  ///< exit code of verify

enum class Kind { chunk, table, other };

struct Verified {
  std::string file;
  Kind kind = Kind::other;
  std::string error;  ///< empty: every checksum agrees
};

inline const char* name_of(Kind kind) {
  return kind == Kind::chunk ? "chunk" : kind == Kind::table ? "count table" : "no checksum";
}

/// Whether the file has a second name. Then the library does not read it, since others might write to it there.
inline bool is_linked(const fs::path& path) {
  struct stat facts {};
  return ::lstat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_nlink > 1;
}

/// The XXH3-64 of a file's bytes, as a chunk's record has it; empty where it cannot be read.
inline std::string sum_of(const fs::path& path) {
  const support::File file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  std::vector<char> block(std::size_t{1} << 20);
  ssize_t n = file ? 1 : -1;
  while (n > 0 && (n = ::read(file.get(), block.data(), block.size())) > 0)
    XXH3_64bits_update(&state, block.data(), static_cast<std::size_t>(n));
  return n == 0 ? "xxh3:" + hex(XXH3_64bits_digest(&state)).substr(2) : "";
}

inline Verified verify_chunk(const scratch::Workspace& top, const scratch::ChunkInfo& chunk) {
  Verified result{chunk.file, Kind::chunk, {}};
  const fs::path path = top.path() / chunk.file;
  try {
    if (!is_linked(path))
      scratch::ChunkReader(top, chunk).verify();
    else if (sum_of(path) != chunk.checksum)
      result.error = "checksum mismatch: the file has another sum than is on record";
  } catch (const scratch::Error& error) {
    result.error = error.what();
  }
  return result;
}

inline Verified verify_other(const scratch::Workspace& where, const std::string& name, std::string shown) {
  Verified result{std::move(shown), Kind::other, {}};
  if (is_linked(where.path() / name)) return result;
  try {
    if (!is_count_table(where, name)) return result;
    result.kind = Kind::table;
    scratch::with_key_type(scratch::count_key_bits(where, name), [&](auto type) {
      scratch::CountReader<typename decltype(type)::type>(where, name).verify();
    });
  } catch (const scratch::Error& error) {
    result.error = error.what();
  }
  return result;
}

/// In a session that is being worked in files come, go and get other names between one look and the next. So what seems
/// damaged is looked at again; only what is still on record, and still so, is.
class SessionCheck {
 public:
  explicit SessionCheck(const scratch::SessionView& view) : view_(view) {}

  std::vector<Verified> run() {
    const auto metadata = [&] {
      Verified result{"metadata.json", Kind::other, {}};
      try {
        view_.metadata();
      } catch (const scratch::Error& error) {
        if (error.code() == scratch::errc::session_gone) throw;
        if (!is_linked(view_.path() / result.file)) result.error = error.what();
      }
      return result;
    };
    if (auto result = again(metadata); result && !result->error.empty()) all_.push_back(std::move(*result));
    for (const scratch::ChunkInfo& chunk : view_.chunks()) {
      auto result = again([&]() -> std::optional<Verified> {
        Verified first = verify_chunk(view_, chunk);
        if (first.error.empty()) return first;
        for (const scratch::ChunkInfo& now : view_.chunks())  // it may have another name
          if (now.id == chunk.id) return now.file == chunk.file ? first : verify_chunk(view_, now);
        return std::nullopt;
      });
      if (result) chunks_.insert(result->file);
      chunks_.insert(chunk.file);
      if (result) all_.push_back(std::move(*result));
    }
    look_into(view_, "");
    return std::move(all_);
  }

 private:
  // Nothing: it is no longer there.
  template <class Look>
  std::optional<Verified> again(Look look) const {
    std::optional<Verified> result = look();
    for (int i = 0; i < 3 && result && !result->error.empty() && view_.owner_is_alive(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      result = look();
    }
    return result;
  }

  // Chunks that were committed meanwhile have a name, and are none of the other files.
  bool is_chunk_by_now(const std::string& file) const {
    for (const scratch::ChunkInfo& chunk : view_.chunks())
      if (chunk.file == file) return true;
    return false;
  }

  void look_into(const scratch::Workspace& where, const std::string& prefix) {
    std::vector<std::string> names;
    std::vector<std::string> areas;
    try {
      names = where.list();
      for (const auto& row : where.usage_report().rows)
        if (!row.area.empty()) areas.push_back(row.area);
    } catch (const scratch::Error&) {
      if (fs::exists(where.path())) throw;
      return;  // the area went meanwhile
    }
    for (const std::string& name : names) {
      const std::string file = prefix + name;
      if (chunks_.contains(file)) continue;
      auto result = again([&]() -> std::optional<Verified> {
        Verified first = verify_other(where, name, file);
        struct stat facts {};
        if (!first.error.empty() && ::lstat((where.path() / name).c_str(), &facts) != 0) return std::nullopt;
        return first;
      });
      if (result && (result->error.empty() || !is_chunk_by_now(file))) all_.push_back(std::move(*result));
    }
    for (const std::string& area : areas) {
      std::optional<scratch::Workspace> below;
      try {
        below = where.area(area);
      } catch (const scratch::Error&) {
        if (fs::exists(where.path() / area)) throw;
      }
      if (below) look_into(*below, prefix + area + "/");
    }
  }

  const scratch::SessionView& view_;
  std::set<std::string> chunks_;
  std::vector<Verified> all_;
};

inline std::vector<Verified> verify_session(const scratch::SessionView& view) { return SessionCheck(view).run(); }

inline std::vector<Verified> verify_file(const fs::path& file) {
  const Located at = locate(file);
  for (const scratch::ChunkInfo& chunk : at.top.chunks())
    if (chunk.file == at.record) return {verify_chunk(at.top, chunk)};
  Verified result = verify_other(at.directory, at.name, file.native());
  if (is_linked(file))
    throw Refused(file.native() + " has a second name (a hard link): only a chunk's sum could be checked all the same");
  if (result.kind == Kind::other && result.error.empty())
    throw Refused(file.native() + " has no checksum: it is no chunk on record, and no count table");
  return {std::move(result)};
}

inline int verify(const std::string& path, bool as_json) {
  std::error_code ignored;
  const bool session = fs::is_directory(path, ignored) || !fs::exists(fs::symlink_status(path, ignored));
  const std::vector<Verified> all = session ? verify_session(scratch::SessionView(path)) : verify_file(path);
  std::uint64_t checked = 0, bad = 0;
  json files = json::array();
  for (const Verified& one : all) {
    const bool ok = one.error.empty();
    bad += ok ? 0 : 1;
    checked += ok && one.kind == Kind::other ? 0 : 1;
    files.push_back({{"file", one.file}, {"kind", name_of(one.kind)}, {"ok", ok}});
    if (!ok) files.back()["error"] = one.error;
    if (!as_json) {
      std::cout << (!ok                       ? "DAMAGED  "
                    : one.kind == Kind::other ? "-        "
                                              : "ok       ")
                << plain(one.file) << "  " << name_of(one.kind) << '\n';
      if (!ok) std::cout << "         " << one.error << '\n';
    }
  }
  if (as_json)
    std::cout << dumped({{"ok", bad == 0}, {"checked", checked}, {"damaged", bad}, {"files", std::move(files)}})
              << '\n';
  else
    std::cout << checked << " checked, " << bad << " damaged, " << all.size() - checked << " without a checksum\n";
  return bad == 0 ? 0 : damaged;
}

}  // namespace scratchctl
