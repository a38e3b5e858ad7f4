// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Looks on while room gets less.
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/kernel/thread.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/space.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// When to look, and what is low.
struct SpaceWatchOptions {
  /// How often to look: more than 0. The longest pause is a day.
  std::chrono::milliseconds every{1000};
  /// Room for fewer bytes than this is low; so is no inode at all.
  std::uint64_t low = 256_MiB;
};

/// A thread that looks at the room around a workspace, at once and then from time to time, and calls back when it gets
/// low: once, and once more each time that it gets low again after there was enough. What the workspace's quota leaves
/// is room, too: the smaller of both counts.
///
/// The callback runs on that thread, which gets no signals, with no lock held; what it throws is dropped. It does not
/// destroy the watch. A session that ends, ends the looking.
class SpaceWatch {
 public:
  /// @param on_low may be empty: `on_event` is told in any case
  /// @throws Error EINVAL for `every` of 0 or less; when no thread can be had
  SpaceWatch(Workspace workspace, SpaceWatchOptions options, std::function<void(const Space&)> on_low)
      : directory_(detail::directory_of(workspace)), options_(options), on_low_(std::move(on_low)) {
    if (options.every.count() <= 0)
      detail::throw_error(EINVAL, "watch the free space of", directory_.path(),
                          "every is " + std::to_string(options.every.count()) + " ms, and must be more than 0");
    try {
      thread_ = detail::Thread([this]() noexcept { look(); });
    } catch (const Error& error) {
      detail::throw_error(error.code(), "start the thread that watches the free space of", directory_.path(),
                          error.hint());
    }
  }

  SpaceWatch(const SpaceWatch&) = delete;
  SpaceWatch& operator=(const SpaceWatch&) = delete;

  /// Stops at once; waits only for a callback that is running. In a forked child there is nothing to stop.
  ~SpaceWatch() {
    if (!made_here_.is_true()) {
      thread_.forget();
      return;
    }
    {
      const std::lock_guard hold(mutex_);
      stop_ = true;
    }
    bell_.notify_all();
    thread_.join();
  }

 private:
  void look() noexcept {
    bool was_low = false;
    for (std::unique_lock hold(mutex_); !stop_; bell_.wait_for(hold, options_.every, [this] { return stop_; })) {
      hold.unlock();
      const bool ended = look_once(was_low);
      hold.lock();
      if (ended) return;
    }
  }

  // True: there is nothing more to look at.
  bool look_once(bool& was_low) noexcept {
    try {
      directory_.check();
    } catch (const Error& error) {
      if (error.code() == errc::session_gone) return true;
    } catch (...) {  // not knowing now: look again
    }
    try {
      const Space room = room_left();
      const bool low = room.bytes < options_.low || room.inodes == 0;
      if (low && !std::exchange(was_low, low)) {
        directory_.emit(EventKind::space_low, directory_.path(), room.bytes,
                        readable_size(room.bytes) + " left, limited by " + room.limited_by);
        if (on_low_) on_low_(room);
      }
      was_low = low;
    } catch (...) {
    }
    return false;
  }

  Space room_left() const {
    Space room = detail::space_of(directory_.fd(), directory_.path());
    const detail::Quota& quota = directory_.state().quota();
    if (quota.limit() == 0) return room;
    const std::uint64_t used = quota.used();
    const std::uint64_t left = quota.limit() - std::min(quota.limit(), used);
    if (left < room.bytes) {
      room.bytes = left;
      room.limited_by = "the quota";
    }
    return room;
  }

  detail::Directory directory_;
  SpaceWatchOptions options_;
  std::function<void(const Space&)> on_low_;
  std::mutex mutex_{};
  detail::Condition bell_{};
  bool stop_ = false;
  detail::MadeHere made_here_{};
  detail::Thread thread_{};
};

}  // namespace scratch::inline SCRATCH_ABI
