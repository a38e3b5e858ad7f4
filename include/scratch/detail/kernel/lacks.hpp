// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// What a kernel or a file system has not, found out once a workspace, and what is done instead.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>

#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

enum class Lack : std::uint8_t {
  renaming_to_new,  ///< RENAME_NOREPLACE: rename.hpp
  unnamed_files,    ///< O_TMPFILE, and giving such a file a name: unnamed_file.hpp
  file_locks,       ///< flock: lock.hpp
  byte_locks,       ///< locks of open file descriptions: byte_locks.hpp
  direct,           ///< O_DIRECT
  modes,            ///< chmod: mode.hpp
  open_unlink,      ///< an open file that is removed keeps a name: remove_tree.hpp
  telling_writes,   ///< what became of bytes may be told only at close: file_system.hpp
};

inline constexpr Lack all_lacks[] = {Lack::renaming_to_new, Lack::unnamed_files, Lack::file_locks,
                                     Lack::byte_locks,      Lack::direct,        Lack::modes,
                                     Lack::open_unlink,     Lack::telling_writes};

/// For a person: what is missing, and what is done instead.
inline const char* describe(Lack lack) noexcept {
  switch (lack) {
    case Lack::renaming_to_new:
      return "renaming without replacing: a new name is linked and the old one unlinked, or looked for first";
    case Lack::unnamed_files:
      return "unnamed files: what is not committed has a reserved name, which goes when the next process opens the "
             "directory";
    case Lack::file_locks:
      return "file locks: nobody can join, and sweeps leave what a killed process left";
    case Lack::byte_locks:
      return "byte locks: whole files are locked instead, one for each byte";
    case Lack::direct:
      return "O_DIRECT: bytes go through the page cache";
    case Lack::modes:
      return "chmod: files have the modes that the file system gives them";
    case Lack::telling_writes:
      return "errors of writing: they may come at close, and files are closed once before they get their names";
    case Lack::open_unlink:
      return "removing open files: they stay under a name of the file system's until they are closed";
  }
  return "";
}

/// Whether a call that failed with `error` says that there is no such thing here. What else can be the matter shows when
/// it is done in the other way.
inline bool means_lack(int error) noexcept {
  return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP || error == EPERM || error == ENOTTY;
}

/// The same of a link: EMLINK is for good, too.
inline bool means_no_links(int error) noexcept { return means_lack(error) || error == EMLINK; }

/// Of one workspace. Thread-safe.
class Lacks {
 public:
  Lacks() = default;
  /// Told of nothing yet.
  Lacks(const Lacks& other) noexcept : found_(other.found_.load()), there_(other.there_.load()) {}
  Lacks& operator=(const Lacks&) = delete;

  bool has(Lack lack) const noexcept { return (found_.load(std::memory_order_relaxed) & bit(lack)) != 0; }
  void add(Lack lack) noexcept { found_.fetch_or(bit(lack)); }

  /// It was tried, and is there.
  bool is_there(Lack lack) const noexcept { return (there_.load(std::memory_order_relaxed) & bit(lack)) != 0; }
  void add_there(Lack lack) noexcept { there_.fetch_or(bit(lack)); }

  /// Calls `tell(lack)` for each that was found since the last time.
  template <class Tell>
  void tell(Tell tell) noexcept {
    const unsigned found = found_.load(std::memory_order_relaxed);
    if (found == told_.load(std::memory_order_relaxed)) return;
    const unsigned fresh = found & ~told_.fetch_or(found);
    for (const Lack lack : all_lacks)
      if ((fresh & bit(lack)) != 0) tell(lack);
  }

 private:
  static constexpr unsigned bit(Lack lack) noexcept { return 1U << static_cast<unsigned>(lack); }

  std::atomic<unsigned> found_{0}, there_{0}, told_{0};
};

inline void add_to(Lacks* lacks, Lack lack) noexcept {
  if (lacks != nullptr) lacks->add(lack);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
