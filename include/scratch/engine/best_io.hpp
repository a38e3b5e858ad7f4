// SPDX-License-Identifier: MIT
// floor 2: engines
//
// Which engine is the fastest one here.
#pragma once

#include <memory>

#include <scratch/engine/io.hpp>
#include <scratch/engine/posix_io.hpp>
#include <scratch/engine/uring_io.hpp>

namespace scratch::inline SCRATCH_ABI {

/// As a policy: asks the file system and the kernel. In memory pread and pwrite are twice as fast as a ring, whose work
/// goes to kernel threads there; on a disk a ring with O_DIRECT is, where both are permitted.
/// `SCRATCH_IO=posix` in the environment forces posix.
struct BestIo {
  static std::unique_ptr<Io> make(const Medium& medium) {
    if (detail::posix_is_forced()) return std::unique_ptr<Io>(new PosixIo("SCRATCH_IO=posix"));
    if (medium.memory_backed) return std::unique_ptr<Io>(new PosixIo(medium.name));
    if (medium.direct_alignment == 0) return std::unique_ptr<Io>(new PosixIo(medium.name + " has no O_DIRECT"));
    return UringIo::make(medium);
  }
};

}  // namespace scratch::inline SCRATCH_ABI
