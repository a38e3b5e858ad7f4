// SPDX-License-Identifier: MIT
// floor 2: engines
//
// Which engine is the fastest one here.
#pragma once

#include <memory>
#include <string>

#include <scratch/engine/io.hpp>
#include <scratch/engine/posix_io.hpp>
#include <scratch/engine/uring_io.hpp>

namespace scratch::inline SCRATCH_ABI {

/// As a policy: asks the file system and the kernel. In memory pread and pwrite are twice as fast as a ring, whose work
/// goes to kernel threads there; on a disk a ring with O_DIRECT is, where both are permitted.
/// `SCRATCH_IO` in the environment decides otherwise: `posix`, `uring`, or `best`, which is as if it were not there.
/// Anything else changes nothing, and `describe()` says so.
struct BestIo {
  /// The best engine for a file system. @throws std::bad_alloc
  static std::unique_ptr<Io> make(const Medium& medium) {
    const detail::AskedIo asked = detail::asked_io();
    if (asked == detail::AskedIo::posix) return posix("SCRATCH_IO=posix");
    if (asked == detail::AskedIo::uring) return UringIo::make(medium);
    if (medium.memory_backed) return posix(medium.name);
    if (!medium.direct_is_known) return posix(medium.name + ", O_DIRECT could not be tried");
    if (medium.direct_alignment == 0) return posix(medium.name + " has no O_DIRECT");
    return UringIo::make(medium);
  }

 private:
  static std::unique_ptr<Io> posix(const std::string& why) {
    return std::unique_ptr<Io>(new PosixIo(why + detail::note_of_asked_io()));
  }
};

}  // namespace scratch::inline SCRATCH_ABI
