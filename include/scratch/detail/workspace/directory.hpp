// SPDX-License-Identifier: MIT
// floor 3: one place
//
// A directory to write in, as all that writes in it sees it: the state that it shares with others, and which directory
// below the state's own it is. `Workspace` is its public face.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/workspace/reservation.hpp>
#include <scratch/detail/workspace/shared_state.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A cheap handle: copies share everything. Thread-safe.
class Directory {
 public:
  /// The state's own directory.
  explicit Directory(std::shared_ptr<SharedState> state)
      : state_(std::move(state)), area_(std::make_shared<Area>(Fd(), state_->path(), "")) {}
  /// One below it.
  /// @param prefix what its files' names begin with in records: "sorting/"
  Directory(std::shared_ptr<SharedState> state, Fd open, std::filesystem::path path, std::string prefix)
      : state_(std::move(state)), area_(std::make_shared<Area>(std::move(open), std::move(path), std::move(prefix))) {}

  const std::shared_ptr<SharedState>& shared_state() const noexcept { return state_; }
  SharedState& state() const noexcept { return *state_; }
  const std::filesystem::path& path() const noexcept { return area_->path; }
  int fd() const noexcept { return area_->open ? area_->open.get() : state_->fd(); }
  bool durable() const noexcept { return state_->durable(); }

  const std::string& prefix() const noexcept { return area_->prefix; }
  /// A file's name as it stands in records: below the state's directory, not below this one.
  std::string relative(std::string_view name) const { return area_->prefix + std::string(name); }

  /// @throws Error `session_gone`, `forked_object`
  void check() const { state_->check(); }

  /// @throws Error EROFS where this only looks
  Reservation reservation() const {
    state_->check_writable("write in", path());
    return Reservation(state_);
  }

  /// Holds a share of the state: what reads or writes may outlive every handle on the workspace.
  EnginePool::Lease lease() const { return state_->engines().lease(state_); }

  void emit(EventKind kind, const std::filesystem::path& file, std::uint64_t bytes = 0,
            std::string_view message = {}) const noexcept {
    state_->emit(kind, file, bytes, message);
  }

  /// A file got its name here: in a plain directory this is put on record.
  void committed(std::string_view name) const {
    if (!state_->is_session()) state_->owned_names().add(relative(name));
  }

  /// The directory of this name below this one, made when it is not there.
  /// @throws Error `invalid_name`; ENOTDIR, ELOOP; ENOENT when it is not there and this only looks
  Directory area(std::string_view given) const {
    check_file_name(given, "open the area");
    check();
    const std::string name(given);
    const std::filesystem::path below = path() / name;
    const bool look = state_->read_only();
    Fd open = look ? Fd() : make_area(name, below);
    const bool is_new = static_cast<bool>(open);
    if (!is_new) open = open_directory(fd(), name.c_str());
    if (!open) throw_error(errno, "open the area", below, open_files_hint(errno));
    if (is_new && durable() && sys::fsync(fd()) != 0) throw_error(errno, "sync the directory of the area", below);
    if (!look && !is_new && !state_->is_session()) remove_stale_temp_files(open.get(), below);
    return {state_, std::move(open), below, area_->prefix + name + "/"};
  }

 private:
  struct Area {
    Area(Fd opened, std::filesystem::path where, std::string begin)
        : open(std::move(opened)), path(std::move(where)), prefix(std::move(begin)) {}

    Fd open;  // empty: the state's own directory
    std::filesystem::path path;
    std::string prefix;
  };

  // Empty where it is there already.
  Fd make_area(const std::string& name, const std::filesystem::path& below) const {
    MadeDirectory made = make_directory(fd(), name.c_str(), 0700);
    if (!made.directory && errno != EEXIST) {
      state_->make_room(0, errno, "create the area", below);
      made = make_directory(fd(), name.c_str(), 0700);
      if (!made.directory && errno != EEXIST) state_->throw_no_room(0, errno, "create the area", below);
    }
    return std::move(made.directory);
  }

  std::shared_ptr<SharedState> state_;
  std::shared_ptr<const Area> area_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
