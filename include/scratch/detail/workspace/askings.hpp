// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// How often an application is asked for room for one piece of work.
//
// `on_full` says that there may be room now. Who waits in it until there is, is asked for as long as he waits. Who says
// so at once is believed as long as something is seen of it: what is full, the quota or the file system, has another
// amount free than when he was asked last. Else there is an end, lest one who always says yes keeps a full disk's writer
// for ever.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// What is seen of the room that is missing: two that differ mean that something was freed, or taken, in between. A disk
/// that others use changes all the time, and says nothing of a quota.
struct RoomSeen {
  std::uint64_t quota = 0, bytes = 0, inodes = 0;

  friend bool operator==(const RoomSeen&, const RoomSeen&) = default;
};

class Askings {
 public:
  static constexpr unsigned most_in_vain = 100;  ///< answers at once, one after the other, of which nothing is seen
  static constexpr unsigned most = 10'000;       ///< answers at once in all: others may let room come and go

  /// What `ask()` says, unless it was asked in vain too often. @param now as it is before
  template <class Ask>
  bool ask(const RoomSeen& now, Ask ask) {
    if (now != seen_) in_vain_ = 0;
    seen_ = now;
    given_up_ = in_vain_ >= most_in_vain || at_once_ >= most;
    if (given_up_) return false;
    if (in_vain_ > 0)
      sys::sleep_microseconds(std::min(50U << std::min(in_vain_, 7U), 5000U));  // for others to free some
    const std::uint64_t begin = sys::steady_milliseconds();
    if (!ask()) return false;
    if (sys::steady_milliseconds() == begin) ++in_vain_, ++at_once_;
    return true;
  }

  /// For an error: what came of it.
  std::string hint() const {
    if (!given_up_) return {};
    return "; on_full said " + std::to_string(at_once_) + " times that there is room, and there was none";
  }

 private:
  std::optional<RoomSeen> seen_{};
  unsigned in_vain_ = 0;
  unsigned at_once_ = 0;
  bool given_up_ = false;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
