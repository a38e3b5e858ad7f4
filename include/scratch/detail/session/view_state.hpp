// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A session as its lookers share it: nothing is held, nothing is written.
#pragma once

#include <cerrno>
#include <filesystem>
#include <utility>

#include <scratch/detail/chunk/chunk_guest.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/session/entry.hpp>
#include <scratch/detail/workspace/shared_state.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace_options.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

class ViewState final : public SharedState {
 public:
  /// @throws Error `session_gone` when nothing is there; ELOOP; ENOTDIR
  explicit ViewState(const std::filesystem::path& path)
      : SharedState(open(path), path, read_only(), &make_chunk_guest),
        root_(sys::openat(AT_FDCWD, path.parent_path().c_str(), O_RDONLY | O_DIRECTORY)) {}

  SessionEntry entry() const { return {root_.get(), path().parent_path(), path().filename()}; }

  void check() override {
    SharedState::check();
    struct stat facts {};
    if (sys::fstat(fd(), facts) != 0 || facts.st_nlink == 0 || !leads_to(entry(), facts))
      throw_error(errc::session_gone, "look into the session", path(), "it ended");
  }

  bool owner_is_alive() const noexcept override {
    try {
      return owner_alive(fd(), path());
    } catch (const Error&) {  // what cannot be known keeps who waits waiting
      return true;
    }
  }

 private:
  static WorkspaceOptions read_only() {
    WorkspaceOptions options;
    options.read_only = true;
    return options;
  }

  static Fd open(const std::filesystem::path& path) {
    Fd directory = open_directory(AT_FDCWD, path.c_str());
    const int error = errno;
    if (directory) return directory;
    if (error == ENOENT) throw_error(errc::session_gone, "look into the session", path, "it ended, or never was");
    struct stat facts {};
    const bool is_link = sys::fstatat(AT_FDCWD, path.c_str(), facts) == 0 && S_ISLNK(facts.st_mode);
    throw_error(is_link ? ELOOP : error, "look into the session", path,
                is_link ? "it is a symbolic link" : open_files_hint(error));
  }

  Fd root_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
