// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Waiting until something happens in a directory (inotify).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Used by one thread at a time. Where the kernel gives no watch (inotify_max_user_instances, a file system that tells
/// nothing), `wait` sleeps.
class DirectoryWatch {
 public:
  /// From now on: names made, moved here, removed, and the directory renamed.
  explicit DirectoryWatch(int directory) : directory_(directory), events_(sys::inotify_init()) {
    if (events_ && !add("", IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVE_SELF | IN_DELETE_SELF)) events_.reset();
  }

  /// From now on also what happens to this file, if it is there. As often as one likes.
  /// @param what IN_MODIFY, IN_CLOSE_WRITE, ...
  bool add(const std::string& file, std::uint32_t what) {
    const std::string path = "/proc/self/fd/" + std::to_string(directory_) + (file.empty() ? "" : "/" + file);
    return events_ && sys::inotify_add_watch(events_.get(), path.c_str(), what) >= 0;
  }

  /// Until something happened since the last call, or the time is over.
  void wait(std::uint32_t milliseconds) {
    if (!events_) return sys::sleep_microseconds(milliseconds * 1000);
    if (sys::wait_readable(events_.get(), static_cast<int>(milliseconds)) <= 0) return;
    alignas(8) std::byte told[4096];
    while (sys::read_some(events_.get(), told) == static_cast<ssize_t>(sizeof told)) {
    }
  }

 private:
  int directory_;
  Fd events_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
