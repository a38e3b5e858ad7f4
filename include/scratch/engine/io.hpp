// SPDX-License-Identifier: MIT
// floor 2: engines
//
// Who moves the bytes: the contract of an engine, and the facts about a file system that choose one.
//
// An engine reads and writes open files at offsets, and nothing else: names, syncs and locks are the same system calls
// whoever moves the bytes. `start` what should move, `finish` as often as you started.
#pragma once

#include <algorithm>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/file_system.hpp>
#include <scratch/detail/kernel/syscalls.hpp>

namespace scratch::inline SCRATCH_ABI {

/// What should move between `data` and `offset` of the open file `fd`.
struct Transfer {
  /// From the file to memory, or the other way.
  enum class Kind : std::uint8_t { read, write };
  Kind kind = Kind::read;     ///< read: from the file to `data`
  int fd = -1;                ///< an open file
  std::uint64_t offset = 0;   ///< in the file
  std::byte* data = nullptr;  ///< not changed by a write; stays valid until the completion
  std::size_t size = 0;       ///< bytes
  std::uint64_t tag = 0;      ///< comes back in the completion
};

/// What moved. Short transfers were continued: `size` is less than what was asked for only where the file ends, or
/// with an error.
struct Completion {
  std::uint64_t tag = 0;  ///< that of the transfer
  std::size_t size = 0;   ///< bytes that moved
  int error = 0;          ///< errno
};

/// An engine. It belongs to one thread at a time; every transfer started has exactly one completion.
class Io {
 public:
  /// Of each of the engine's own buffers.
  static constexpr std::size_t buffer_size = 4_MiB;

  Io() = default;
  Io(const Io&) = delete;
  Io& operator=(const Io&) = delete;
  /// Transfers still in flight have ended afterwards, or can touch nothing that is used again.
  virtual ~Io() = default;

  /// The engine and why it is this one: "posix: tmpfs".
  virtual std::string describe() const = 0;
  /// How many transfers in flight pay. With 1, `start` does the work itself.
  virtual unsigned depth() const = 0;
  /// Whether files should be opened with O_DIRECT; then offset, data and size are multiples of `alignment()`.
  virtual bool direct() const = 0;
  /// Of what offset, data and size are multiples; 1: of nothing.
  virtual std::size_t alignment() const = 0;

  /// @pre fewer than `depth()` transfers are in flight; where `depth()` is more than 1, `data` lies in one of the
  ///      engine's own buffers
  virtual void start(const Transfer& transfer) = 0;
  /// Waits for any one of the transfers in flight.
  /// @pre `in_flight() > 0`
  virtual Completion finish() = 0;
  /// Transfers that were started and not yet finished.
  virtual std::size_t in_flight() const = 0;

  /// The engine's own buffer `i`, `buffer_size` bytes, aligned, made when first asked for and then reused. Transfers
  /// from and to these are the fastest.
  /// @pre `i < depth()`
  /// @throws Error ENOMEM
  virtual MutableBytes buffer(unsigned i) = 0;
  /// The buffers' memory. An engine that says none keeps what it has while it is not in use.
  virtual std::size_t buffer_memory() const { return 0; }
  /// Gives the buffers' memory back; `buffer()` makes it anew.
  /// @pre nothing is in flight
  virtual void drop_buffers() noexcept {}
  /// The same for what is beyond `most` bytes, so that the next user of the engine finds the rest in memory.
  /// @pre nothing is in flight
  /// @returns the bytes that stay, `most` or fewer
  virtual std::size_t trim_buffers(std::size_t most) noexcept {
    if (buffer_memory() > most) drop_buffers();
    return buffer_memory();
  }
};

/// What an engine is chosen by: the file system under a directory.
struct Medium {
  std::string name{};                ///< "tmpfs", "ext4", ...
  bool memory_backed = false;        ///< its bytes are in memory anyway
  std::size_t direct_alignment = 0;  ///< for O_DIRECT; 0 where there is none, or where that is not known
  /// Whether `direct_alignment` is an answer: on a full or read-only disk the kernel may have none. Engines are then
  /// made for one use each, and the kernel is asked again.
  bool direct_is_known = true;

  /// Asks the kernel. Where it does not say what O_DIRECT needs one block is written to an unnamed file, since some file
  /// systems only refuse then.
  static Medium of(int directory);
};

/// Makes an engine for a file system.
using IoMaker = std::function<std::unique_ptr<Io>(const Medium&)>;

/// Answers "who moves the bytes?": `static std::unique_ptr<Io> make(const Medium&)`.
template <class T>
concept IoPolicy = requires(const Medium& medium) {
  { T::make(medium) } -> std::convertible_to<std::unique_ptr<Io>>;
};

namespace detail {

/// Whether an error of the attempt says that there is no O_DIRECT, and not that something else is in the way.
inline bool means_no_direct(int error) {
  return error == EINVAL || error == EOPNOTSUPP || error == EISDIR || error == ENOSYS;
}

/// What O_DIRECT needs here; 0: there is none; nothing: cannot be said now.
inline std::optional<std::size_t> direct_alignment_of(int directory) {
  constexpr std::size_t usual = 4096;
  const Fd probe(sys::openat(directory, ".", O_TMPFILE | O_RDWR | O_DIRECT, 0600));
  if (!probe) return means_no_direct(errno) ? std::optional<std::size_t>(0) : std::nullopt;
#ifdef STATX_DIOALIGN
  struct statx facts {};
  if (sys::statx(probe.get(), STATX_DIOALIGN, facts) == 0 && (facts.stx_mask & STATX_DIOALIGN) != 0) {
    if (facts.stx_dio_offset_align == 0) return 0;
    return std::max<std::size_t>({usual, facts.stx_dio_offset_align, facts.stx_dio_mem_align});
  }
#endif
  void* zeros = sys::mmap(usual, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  if (zeros == nullptr) return std::nullopt;
  const int error = sys::pwrite_all(probe.get(), Bytes(static_cast<const std::byte*>(zeros), usual), 0).error;
  sys::munmap(zeros, usual);
  if (error == 0) return usual;
  return means_no_direct(error) ? std::optional<std::size_t>(0) : std::nullopt;
}

}  // namespace detail

inline Medium Medium::of(int directory) {
  Medium medium;
  struct statfs facts {};
  if (sys::fstatfs(directory, facts) != 0) {
    medium.name = "unknown file system";
    medium.direct_is_known = false;
    return medium;
  }
  const auto magic = static_cast<std::uint32_t>(facts.f_type);
  medium.name = detail::file_system_name(magic);
  medium.memory_backed = magic == TMPFS_MAGIC || magic == RAMFS_MAGIC;
  if (medium.memory_backed) return medium;
  const std::optional<std::size_t> alignment = detail::direct_alignment_of(directory);
  medium.direct_alignment = alignment.value_or(0);
  medium.direct_is_known = alignment.has_value();
  return medium;
}

}  // namespace scratch::inline SCRATCH_ABI
