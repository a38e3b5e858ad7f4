// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Looks on while room gets less.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/space.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

struct SpaceWatchOptions {
  /// How often to look.
  std::chrono::milliseconds every{1000};
  /// Room for fewer bytes than this is low; so is no inode at all.
  std::uint64_t low = 256_MiB;
};

/// A thread that looks at the room around a workspace, at once and then from time to time, and calls back when it gets
/// low: once, and once more each time that it gets low again after there was enough.
///
/// The callback runs on that thread, with no lock held; what it throws is dropped. It does not destroy the watch. A
/// session that ends, ends the looking.
class SpaceWatch {
 public:
  /// @param on_low may be empty: `on_event` is told in any case
  /// @throws Error when no thread can be had
  SpaceWatch(Workspace workspace, SpaceWatchOptions options, std::function<void(const Space&)> on_low) try
      : thread_([this, directory = detail::directory_of(workspace), options,
                 on_low = std::move(on_low)](const std::stop_token& stop) { look(stop, directory, options, on_low); }) {
  } catch (const Error&) {
    throw;
  } catch (const std::system_error& error) {
    detail::throw_error(error.code().value(), "start the thread that watches the free space", {});
  }

  SpaceWatch(const SpaceWatch&) = delete;
  SpaceWatch& operator=(const SpaceWatch&) = delete;

  /// Stops at once; waits only for a callback that is running. In a forked child there is nothing to stop.
  ~SpaceWatch() {
    if (made_here_.is_true()) return;
    thread_.detach();  // it is the parent's, and so is what it waits for
    static_cast<void>(bell_.release());
  }

 private:
  void look(const std::stop_token& stop, const detail::Directory& directory, const SpaceWatchOptions& options,
            const std::function<void(const Space&)>& on_low) {
    bool was_low = false;
    while (!stop.stop_requested()) {
      try {
        directory.check();
      } catch (const Error&) {
        return;
      }
      try {
        const Space room = detail::space_of(directory.fd(), directory.path());
        const bool low = room.bytes < options.low || room.inodes == 0;
        if (low && !std::exchange(was_low, low)) {
          directory.emit(EventKind::space_low, directory.path(), room.bytes,
                         readable_size(room.bytes) + " left, limited by " + room.limited_by);
          if (on_low) on_low(room);
        }
        was_low = low;
      } catch (...) {  // not knowing now: look again
      }
      std::unique_lock wait(bell_->mutex);
      bell_->rings.wait_for(wait, stop, options.every, [] { return false; });
    }
  }

  struct Bell {
    std::mutex mutex;
    std::condition_variable_any rings;
  };

  std::unique_ptr<Bell> bell_ = std::make_unique<Bell>();
  detail::MadeHere made_here_;
  std::jthread thread_;  // last: it ends before what it uses
};

}  // namespace scratch::inline SCRATCH_ABI
