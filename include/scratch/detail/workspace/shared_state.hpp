// SPDX-License-Identifier: MIT
// floor 3: one place
//
// What a workspace and all its areas stand on: the directory held open, the options, and everything that its handles,
// threads and processes share (engines, quota, the record of chunks).
#pragma once

#include <cerrno>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/engine_pool.hpp>
#include <scratch/detail/chunk/chunk_log.hpp>
#include <scratch/detail/count/table/claim_name.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/workspace/owned_names.hpp>
#include <scratch/detail/workspace/quota.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/space.hpp>
#include <scratch/workspace_options.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// What a session adds to a directory.
struct SessionHooks {
  std::function<void()> guard = {};     ///< throws `session_gone`, `forked_object`
  std::function<void()> recorded = {};  ///< a chunk was recorded or forgotten: time to fold?
};

/// The directories of these files: "", "sorting/".
inline std::set<std::string> areas_of(const std::set<std::string>& files) {
  std::set<std::string> areas;
  for (const std::string& file : files) areas.insert(file.substr(0, file.rfind('/') + 1));
  return areas;
}

class Ground {
 public:
  /// @param hooks nullptr for a plain workspace, whose other files are none of our business
  Ground(Fd directory, std::filesystem::path path, WorkspaceOptions options, std::unique_ptr<SessionHooks> hooks)
      : path_(std::move(path)),
        directory_(std::move(directory)),
        options_(std::move(options)),
        hooks_(std::move(hooks)),
        engines_(
            options_.io, directory_.get(),
            [this](const std::string& engine, bool replaced) {
              emit(replaced ? EventKind::engine_replaced : EventKind::engine_chosen, path_, 0, engine);
            },
            options_.buffers),
        chunk_log_(directory_.get(), path_),
        owned_(directory_.get(), path_),
        quota_(hooks_ ? Quota::shared(directory_.get(), path_, options_.quota)
                      : Quota::of_process(options_.quota, [this] { return committed_bytes(); })) {}

  const std::filesystem::path& path() const noexcept { return path_; }
  int fd() const noexcept { return directory_.get(); }
  bool durable() const noexcept { return options_.durable; }
  bool read_only() const noexcept { return options_.read_only; }
  bool in_session() const noexcept { return hooks_ != nullptr; }
  EnginePool& engines() noexcept { return engines_; }
  ChunkLog& chunk_log() noexcept { return chunk_log_; }
  OwnedNames& owned_names() noexcept { return owned_; }
  Quota& quota() noexcept { return quota_; }

  /// @throws Error `session_gone`, `forked_object`
  void check() const {
    if (hooks_ && hooks_->guard) hooks_->guard();
  }

  /// @throws Error EROFS where the workspace only looks
  void check_writable(std::string_view doing, const std::filesystem::path& what) const {
    if (options_.read_only) throw Error(EROFS, std::string(doing), what, "this workspace was opened to look only");
  }

  void recorded() const {
    if (hooks_ && hooks_->recorded) hooks_->recorded();
  }

  void emit(EventKind kind, const std::filesystem::path& path, std::uint64_t bytes = 0,
            std::string_view message = {}) const noexcept {
    if (!options_.on_event) return;
    try {
      options_.on_event({kind, path, bytes, std::string(message)});
    } catch (...) {  // watching the work must not end it
    }
  }

  /// Takes `bytes` of the quota, asking `on_full` once when they are not there.
  /// @throws Error `quota_exceeded`; nothing was taken
  void charge(std::uint64_t bytes, std::string_view doing, const std::filesystem::path& file) {
    if (bytes == 0 || quota_.charge(bytes)) return;
    if (options_.on_full && options_.on_full(bytes) && quota_.charge(bytes)) return;
    const std::uint64_t used = quota_.used();
    throw Error(errc::quota_exceeded, std::string(doing), file,
                readable_size(bytes) + " needed, " + readable_size(quota_.limit() > used ? quota_.limit() - used : 0) +
                    " of the quota of " + readable_size(quota_.limit()) +
                    " left; remove files, raise .quota, or free some in on_full");
  }

  /// Called when a write failed with `error`: returns when it may be tried again, since `on_full` made room.
  /// @throws Error what the kernel said, and for a full disk how much was needed and is free
  void make_room(std::uint64_t bytes, int error, std::string_view doing, const std::filesystem::path& file) const {
    const bool full = error == ENOSPC || error == EDQUOT;
    if (full && options_.on_full && options_.on_full(bytes)) return;
    refuse(bytes, error, doing, file);
  }

  /// The same, for the second failure of one write.
  [[noreturn]] void refuse(std::uint64_t bytes, int error, std::string_view doing,
                           const std::filesystem::path& file) const {
    std::string hint;
    if (error == ENOSPC || error == EDQUOT) {
      hint = readable_size(bytes) + " needed, " + free_text();
    } else if (error == EFBIG) {
      hint = "larger than the file-size limit of this process (ulimit -f) or of the file system";
    } else {
      hint = open_files_hint(error);
    }
    throw Error(error, std::string(doing), file, std::move(hint));
  }

  /// Every file of ours, by its name relative to here; nullopt: all of them are.
  std::optional<std::set<std::string>> files_of_ours() {
    if (in_session()) return std::nullopt;
    std::set<std::string> names = owned_.all();
    struct stat log {};
    if (sys::fstatat(fd(), chunks_log_name.data(), log) == 0 && log.st_uid != sys::geteuid())
      throw Error(errc::corrupt, "use", path_ / chunks_log_name,
                  "this record of chunks belongs to user " + std::to_string(log.st_uid));
    for (const ChunkInfo& chunk : chunk_log_.chunks()) names.insert(chunk.file);
    return names;
  }

 private:
  // Of a plain workspace. A table that was being merged counts under the name of its claim.
  std::uint64_t committed_bytes() {
    std::uint64_t bytes = 0;
    const auto count = [&](int directory, const char* name) {
      struct stat facts {};
      if (sys::fstatat(directory, name, facts) == 0) bytes += static_cast<std::uint64_t>(facts.st_size);
    };
    const std::set<std::string> names = files_of_ours().value();
    for (const std::string& name : names) count(directory_.get(), name.c_str());
    for (const std::string& area : areas_of(names)) {
      const Fd open = open_directory(directory_.get(), area.empty() ? "." : area.c_str());
      if (!open) continue;
      for_each_entry(open.get(), path_ / area, [&](const Entry& entry) {
        const auto claim = Claim::parse(entry.name);
        if (claim && names.contains(area + claim->from)) count(open.get(), entry.name.data());
      });
    }
    return bytes;
  }

  std::string free_text() const noexcept {
    try {
      const Space room = scratch::space(path_);
      return readable_size(room.bytes) + " and " + std::to_string(room.inodes) +
             " inodes free; nothing committed is lost";
    } catch (...) {
      return "free space unknown";
    }
  }

  std::filesystem::path path_;
  Fd directory_;
  WorkspaceOptions options_;
  std::unique_ptr<SessionHooks> hooks_;
  EnginePool engines_;
  ChunkLog chunk_log_;
  OwnedNames owned_;
  Quota quota_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
