// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// The numbers of a session, when it goes, whom it tells and asks, and who moves its bytes.
#pragma once

#include <cstdint>

#include <scratch/bytes.hpp>
#include <scratch/event.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI {

/// When a session goes, at run time: what the policies `RemoveAlways`, `KeepOnFailure`, `KeepUnlessCompleted` and
/// `KeepAlways` say.
enum class Cleanup : std::uint8_t { as_policy, remove, on_failure, unless_completed, keep };

/// Who moves the bytes of a session's files, at run time: what the policies `BestIo`, `PosixIo` and `UringIo` say.
enum class EngineChoice : std::uint8_t { as_policy, best, posix, uring };

/// The numbers of a session, when it goes, whom it tells and asks, and who moves its bytes.
struct SessionOptions {
  /// Bytes that must be free before the work begins; less is `insufficient_space`. 0: not asked.
  std::uint64_t need = 0;
  /// Bytes that files may take, those of all processes together; 0: no limit. Whoever joins has the owner's.
  std::uint64_t quota = 0;
  /// Bytes of buffers that the files open here at one time share, as far as 512 KiB for each goes. More than the usual
  /// 32 MiB makes nothing faster; less is for those who count every byte.
  std::uint64_t buffers = 32_MiB;
  /// When it goes, in place of the session's policy. Whoever joins has no say in it.
  Cleanup cleanup = Cleanup::as_policy;
  /// Asked for room when a write meets a full disk or quota, again and again until there is room or it says no.
  OnFull on_full = {};
  /// Told what happens.
  OnEvent on_event = {};
  /// Who moves the bytes, in place of the session's policy. `posix` goes through the page cache: for files that are few
  /// enough to stay in memory until they are read. Whoever joins has the owner's.
  EngineChoice engine = EngineChoice::as_policy;
};

}  // namespace scratch::inline SCRATCH_ABI
