// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Where writing happens.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/chunk/moving_chunk.hpp>
#include <scratch/detail/count/table/claim.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/text/glob.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/text/natural_order.hpp>
#include <scratch/detail/workspace/file_removal.hpp>
#include <scratch/detail/workspace/name_lock.hpp>
#include <scratch/detail/workspace/reservation.hpp>
#include <scratch/detail/workspace/shared_state.hpp>
#include <scratch/error.hpp>
#include <scratch/usage.hpp>
#include <scratch/workspace_options.hpp>

namespace scratch::inline SCRATCH_ABI {

/// A directory to write in, with an I/O engine, a quota and a durability: a session, an area of one, or any directory.
///
/// A cheap handle: copies share one state, and whatever writes takes one by value. Safe to use from several threads.
/// The directory is held open, so that no chdir or rename leads a handle astray. A handle of a session that has ended
/// gets `session_gone`, one used in a forked child `forked_object`.
class Workspace {
 public:
  /// Makes a plain directory a workspace. Files that were there before are never touched by `clear()` or
  /// `remove_matching()`.
  ///
  /// @throws Error when it is not a directory, or cannot be opened
  explicit Workspace(std::filesystem::path directory, WorkspaceOptions options = {})
      : Workspace(stand_on(std::move(directory), std::move(options))) {}

  /// A session's directory as a workspace.
  explicit Workspace(std::shared_ptr<detail::Ground> ground)
      : ground_(std::move(ground)), area_(std::make_shared<Area>()) {
    area_->path = ground_->path();
  }

  const std::filesystem::path& path() const noexcept { return area_->path; }

  /// A directory below this one, made when it is not there, with its own `list()`, `usage()` and `clear()`; quota,
  /// engine and chunk numbers are shared.
  ///
  /// @throws Error `invalid_name`; ENOTDIR, ELOOP when something else has the name; ENOENT when it is not there and
  ///         this only looks
  Workspace area(std::string_view name) const {
    detail::check_file_name(name, "open the area");
    check();
    auto below = std::make_shared<Area>();
    const std::string text(name);
    below->path = area_->path / text;
    below->prefix = area_->prefix + text + "/";
    const bool look = ground_->read_only();
    detail::MadeDirectory made;
    if (!look) made = detail::make_directory(fd(), text.c_str(), 0700);
    if (!look && !made.directory && errno != EEXIST) {
      ground_->make_room(0, errno, "create the area", below->path);
      made = detail::make_directory(fd(), text.c_str(), 0700);
      if (!made.directory && errno != EEXIST) ground_->refuse(0, errno, "create the area", below->path);
    }
    const bool is_new = static_cast<bool>(made.directory);
    below->directory = is_new ? std::move(made.directory) : detail::open_directory(fd(), text.c_str());
    if (!below->directory) throw Error(errno, "open the area", below->path, detail::open_files_hint(errno));
    if (is_new && durable() && sys::fsync(fd()) != 0) throw Error(errno, "sync the directory of the area", below->path);
    if (!look && !is_new && !ground_->in_session())
      detail::remove_stale_temp_files(below->directory.get(), below->path);
    Workspace area(*this);
    area.area_ = std::move(below);
    return area;
  }

  /// Which engine moves the bytes here, and why: "posix: tmpfs", "io_uring: ext4, O_DIRECT".
  std::string engine() const {
    check();
    return ground_->engines().describe();
  }

  /// The chunks committed at or below this directory, by any process, in the order of their ids. O(chunks).
  std::vector<ChunkInfo> chunks() const {
    check();
    std::vector<ChunkInfo> all = ground_->chunk_log().chunks();
    std::erase_if(all, [&](const ChunkInfo& chunk) { return !chunk.file.starts_with(area_->prefix); });
    return all;
  }

  /// Files below this directory, the library's own records aside. O(files).
  Usage usage() const {
    check();
    return detail::usage_below(fd(), path());
  }

  /// The same, a row for each area and one for the files beside them; `std::cout << report` prints a table.
  UsageReport usage_report() const {
    check();
    return detail::usage_report_below(fd(), path());
  }

  /// Names of the files directly in this directory that match a glob (`*`, `?`, `[a-z]`), numbers in numeric order:
  /// `chunk_2` before `chunk_10`. The library's own records are not listed.
  std::vector<std::string> list(std::string_view glob = "*") const {
    check();
    std::vector<std::string> names;
    detail::for_each_entry(fd(), path(), [&](const detail::Entry& entry) {
      if (!detail::is_bookkeeping(entry.name) && detail::matches_glob(entry.name, glob) && is_file(entry))
        names.emplace_back(entry.name);
    });
    std::sort(names.begin(), names.end(), detail::natural_less);
    return names;
  }

  /// Removes the files directly in this directory that match, and their chunk records with them; in a plain directory
  /// only those that this library wrote. A table that matches goes also where an interrupted merge took its name; where
  /// the table matches that it was to be merged into, that merge is first finished or undone.
  ///
  /// @returns the bytes freed
  /// @throws  Error when one cannot be removed, `busy` for a table that somebody merges; what could be is gone
  /// After a crash: some are gone, each wholly.
  std::uint64_t remove_matching(std::string_view glob) {
    check();
    const auto ours = ground_->files_of_ours();
    const auto goes = [&](std::string_view name) {
      return detail::matches_glob(name, glob) && (!ours || ours->contains(relative(name)));
    };
    detail::FileRemoval removal(*this, area_->prefix);
    removal.merges(goes);
    for (const std::string& name : list(glob))
      if (goes(name)) removal.file(name);
    return removal.finish();
  }

  /// Removes everything in this directory and its areas, the library's own records aside, interrupted merges included;
  /// in a plain directory only the files that this library wrote, and the directories that hold nothing else. An area's
  /// handle that was made before then finds that its directory is gone; the directory that is cleared itself stays.
  ///
  /// @returns the bytes freed
  /// @throws  Error when something cannot be removed, `busy` for a table that somebody merges; what could be is gone
  std::uint64_t clear() {
    check();
    detail::FileRemoval removal(*this, area_->prefix);
    if (const auto ours = ground_->files_of_ours()) {
      for (const std::string& area : detail::areas_of(*ours))
        if (area.starts_with(area_->prefix)) removal.merges_below(area, *ours);
      for (const std::string& name : *ours)
        if (name.starts_with(area_->prefix)) removal.file_below(name);
      return removal.finish();
    }
    removal.merges([](std::string_view) { return true; });
    std::vector<std::string> names;
    detail::for_each_entry(fd(), path(), [&](const detail::Entry& entry) {
      if (!detail::is_bookkeeping(entry.name)) names.emplace_back(entry.name);
    });
    for (const std::string& name : names) removal.tree(name);
    return removal.finish();
  }

  /// Renames a file, from this directory to another on the same file system; a chunk's record goes with it. A table's
  /// interrupted merges are finished or undone first.
  ///
  /// @throws Error `invalid_name`; EEXIST when `to` has the name; EXDEV for another file system; `busy` for a table
  ///         that somebody writes or merges; `quota_exceeded` in another session or directory, where a chunk is then a
  ///         file like any other: both unchanged
  /// After a crash: under the old name or the new one, and a chunk's record knows which; in a plain directory another
  /// file may not be known as this library's any more, and `clear()` leaves it.
  void move(std::string_view name, Workspace to, std::string_view new_name) {
    detail::check_file_name(name, "move");
    detail::check_file_name(new_name, "move to");
    check();
    to.check();
    ground_->check_writable("move", path() / name);
    const std::string from_name(name), to_name(new_name);
    const auto lock = detail::settle(*this, from_name, "move");
    struct stat facts {
    }, taken{};
    if (sys::fstatat(fd(), from_name.c_str(), facts) != 0) throw Error(errno, "move", path() / from_name);
    if (!S_ISREG(facts.st_mode))
      throw Error(EINVAL, "move", path() / from_name,
                  std::string("only files are moved, this is ") + detail::kind_of(facts));
    const bool is_taken = sys::fstatat(to.fd(), to_name.c_str(), taken) == 0;
    const auto lock_there = is_taken ? std::nullopt : detail::settle(to, to_name, "move to");
    const bool same = ground_ == to.ground_;
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    detail::Charge charge = to.charge();
    if (!same) charge.add(size, "move", to.path() / to_name);
    detail::MovingChunk chunk(*ground_, relative(name), same ? to.relative(new_name) : "");
    if (sys::rename_new(fd(), from_name.c_str(), to.fd(), to_name.c_str()) != 0) {
      const int error = errno;
      throw Error(error, "move", path() / from_name,
                  error == EXDEV    ? "the two are on different file systems: copy it, or use persist()"
                  : error == EEXIST ? "the target exists; nothing was changed"
                                    : "",
                  to.path() / to_name);
    }
    chunk.moved();
    charge.settle();
    if (!same) ground_->quota().removed(size);
    if (ground_->in_session() || chunk || ground_->owned_names().all().contains(relative(name))) to.committed(new_name);
  }

  // For whatever writes here.

  /// @throws Error `session_gone`, `forked_object`
  void check() const { ground_->check(); }
  int fd() const noexcept { return area_->directory ? area_->directory.get() : ground_->fd(); }
  bool durable() const noexcept { return ground_->durable(); }
  detail::Ground& ground() const noexcept { return *ground_; }
  operator detail::TableDirectory() const { return {*ground_, fd(), path()}; }
  /// @throws Error EROFS where this only looks
  detail::Charge charge() const {
    ground_->check_writable("write in", path());
    return detail::Charge(ground_);
  }
  detail::EnginePool::Lease lease() const { return ground_->engines().lease(); }
  /// A file's name as it stands in records: below the session, not below this area.
  std::string relative(std::string_view name) const { return area_->prefix + std::string(name); }

  void emit(EventKind kind, const std::filesystem::path& file, std::uint64_t bytes = 0,
            std::string_view message = {}) const noexcept {
    ground_->emit(kind, file, bytes, message);
  }

  /// A file got its name here: in a plain directory this is put on record.
  void committed(std::string_view name) const {
    if (!ground_->in_session()) ground_->owned_names().add(relative(name));
  }

 private:
  struct Area {
    detail::Fd directory;  // empty: the ground's own
    std::filesystem::path path;
    std::string prefix;  // "", "sorting/"
  };

  static std::shared_ptr<detail::Ground> stand_on(std::filesystem::path directory, WorkspaceOptions options) {
    directory = detail::absolute_path(directory);
    detail::Fd open(sys::openat(AT_FDCWD, directory.c_str(), O_RDONLY | O_DIRECTORY));
    if (!open) {
      const int error = errno;
      throw Error(error, "open the workspace", directory,
                  error == ENOENT ? "the directory must exist" : detail::open_files_hint(error));
    }
    if (!options.read_only) detail::remove_stale_temp_files(open.get(), directory);
    return std::make_shared<detail::Ground>(std::move(open), std::move(directory), std::move(options), nullptr);
  }

  bool is_file(const detail::Entry& entry) const {
    if (entry.type != DT_UNKNOWN) return entry.type == DT_REG;
    struct stat facts {};
    return sys::fstatat(fd(), std::string(entry.name).c_str(), facts) == 0 && S_ISREG(facts.st_mode);
  }

  std::shared_ptr<detail::Ground> ground_;
  std::shared_ptr<Area> area_;
};

}  // namespace scratch::inline SCRATCH_ABI
