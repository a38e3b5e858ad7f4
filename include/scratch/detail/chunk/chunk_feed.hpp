// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Following the chunks of a directory while others write them.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/chunk/chunk_guest.hpp>
#include <scratch/detail/kernel/watch.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Those recorded behind `position`, in the order of their records, at or below `directory`; the position is then
/// behind all of them.
inline std::vector<ChunkInfo> chunks_after(const Directory& directory, std::uint64_t& position) {
  directory.check();
  std::vector<ChunkInfo> found;
  position = chunk_log(directory.state()).for_each_after(position, [&](const ChunkEntry& chunk) {
    if (chunk.info.file.starts_with(directory.prefix())) found.push_back(chunk.info);
  });
  return found;
}

inline bool has_chunks_after(const Directory& directory, std::uint64_t position) {
  bool any = false;
  chunk_log(directory.state()).for_each_after(position, [&](const ChunkEntry& chunk) {
    any = any || chunk.info.file.starts_with(directory.prefix());
  });
  return any;
}

/// 1. Watch: from now on nothing is missed. 2. Look: chunks first, so that what a dead owner left is still read. 3. Wait
/// for a record, or for whatever could be the owner's end: it closes .lock. What the watch does not tell is found out
/// every 100 ms.
inline bool wait_for_chunks(const Directory& directory, std::uint64_t position, std::chrono::milliseconds time) {
  constexpr std::uint64_t longest = 100;
  const std::uint64_t begin = sys::steady_milliseconds();
  const std::uint64_t most = static_cast<std::uint64_t>(std::max<std::chrono::milliseconds::rep>(time.count(), 0));
  SharedState& state = directory.state();
  DirectoryWatch watch(state.fd());  // 1.
  watch.add(std::string(lock_name), IN_CLOSE_WRITE);
  for (bool follows = false;;) {
    follows = follows || watch.add(std::string(chunks_name), IN_MODIFY);
    directory.check();  // 2.
    if (has_chunks_after(directory, position)) return true;
    if (!state.owner_is_alive())
      throw_error(errc::session_gone, "wait for chunks in", directory.path(), "its owner is no longer alive");
    const std::uint64_t passed = sys::steady_milliseconds() - begin;
    if (passed >= most) return false;
    watch.wait(static_cast<std::uint32_t>(std::min(longest, most - passed)));  // 3.
  }
}

}  // namespace scratch::inline SCRATCH_ABI::detail
