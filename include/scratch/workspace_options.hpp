// SPDX-License-Identifier: MIT
// floor 3: one place
//
// What a workspace may be told.
#pragma once

#include <cstdint>

#include <scratch/bytes.hpp>
#include <scratch/engine/best_io.hpp>
#include <scratch/engine/io.hpp>
#include <scratch/event.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI {

/// The numbers of a plain directory, and whom it asks.
struct WorkspaceOptions {
  /// Bytes that files here may take, written or being written; 0: no limit.
  std::uint64_t quota = 0;
  /// Whether what was committed outlives a power cut: commits then wait for the disk.
  bool durable = false;
  /// Whether this workspace only looks: nothing is made, changed or removed through it, trying to is EROFS.
  bool read_only = false;
  /// Who moves the bytes: `BestIo::make`, `PosixIo::make`, `UringIo::make`, or an engine of your own.
  IoMaker io = BestIo::make;
  /// Bytes of buffers that the files open here at one time share, as far as 512 KiB for each goes. More than the usual
  /// 32 MiB makes nothing faster; less is for those who count every byte.
  std::uint64_t buffers = 32_MiB;
  /// Asked for room when a write meets a full disk or quota, again and again until there is room or it says no.
  OnFull on_full = {};
  /// Told of sessions, chunks, tables, spills and merges, engines and space; not of single files.
  OnEvent on_event = {};
};

}  // namespace scratch::inline SCRATCH_ABI
