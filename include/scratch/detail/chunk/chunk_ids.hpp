// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The counter that chunks' ids come from: the next free id as 20 decimal digits and a newline, read and written under a
// lock that the kernel drops when its holder dies. In a session they are the bytes of .lock, which is open anyway; in a
// plain directory those of `.scratch-ids`.
//
// The counter may be older than the record of chunks (a power cut, a damaged file): ids go on above every id there.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

#include <scratch/detail/kernel/byte_locks.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr const char* chunk_ids_name = ".scratch-ids";

/// Which of all numbers are given out: those that leave `index` when divided by `of`.
struct ChunkNumbers {
  std::uint64_t index = 0, of = 1;

  /// The first one from `id` on; UINT64_MAX where there is none.
  std::uint64_t from(std::uint64_t id) const noexcept {
    const std::uint64_t more = (index + of - id % of) % of;
    return id > UINT64_MAX - more ? UINT64_MAX : id + more;
  }
};

/// Used by one thread at a time; any number of processes.
class ChunkIds {
 public:
  ChunkIds(int directory, const std::filesystem::path& path, Patience patience, Lacks* lacks)
      : directory_(directory), path_(path / chunk_ids_name), patience_(patience), lacks_(lacks) {}
  ChunkIds(const ChunkIds&) = delete;
  ChunkIds& operator=(const ChunkIds&) = delete;

  /// Those that who shares the counter gives out, too.
  void give_out(ChunkNumbers numbers) noexcept { numbers_ = numbers; }

  /// The counter is in this file, open for reading and writing, under the lock of this byte. Before any id is taken.
  /// @param fd stays the caller's
  void count_in(int fd, const std::filesystem::path& path, off_t byte) {
    lent_ = fd;
    path_ = path;
    byte_ = byte;
  }

  void close() noexcept {
    locks_.reset();
    file_.reset();
  }

  /// An id that nobody else gets.
  /// @param lowest gives an id above all on record; asked the first time, and when the counter is damaged
  /// @throws Error `busy` when another process has been taking one for all of our patience: it was stopped
  /// After a crash: an id that was taken may never be used.
  template <class Lowest>
  std::uint64_t next(Lowest lowest) {
    if (!locks_) {
      Fd file = lent_ < 0 ? open_or_create(directory_, chunk_ids_name, O_RDWR, path_) : Fd();
      floor_ = std::max<std::uint64_t>(floor_, lowest());
      file_ = std::move(file);
      locks_.emplace(fd(), directory_, path_, lacks_);
    }
    const Locked locked(*locks_, byte_, path_, patience_);
    const std::optional<std::uint64_t> stored = read();
    if (!stored) floor_ = std::max<std::uint64_t>(floor_, lowest());
    const std::uint64_t id = numbers_.from(std::max(floor_, stored.value_or(0)));
    if (id == UINT64_MAX)
      throw_error(errc::corrupt, "take a chunk's id from", path_, "it says that all were given out");
    write(id + 1);
    floor_ = id + 1;
    return id;
  }

 private:
  static constexpr std::size_t size = 21;

  // Where there are no locks every name is made anew nevertheless, so that no chunk replaces another.
  class Locked {
   public:
    Locked(ByteLocks& locks, off_t byte, const std::filesystem::path& path, Patience patience)
        : locks_(locks), byte_(byte) {
      if (try_for(patience, [&] { return locks.lock(byte); }) == LockAnswer::busy)
        throw_error(errc::busy, "take a chunk's id from", path,
                    "another process was stopped while it took one; it must go on, or end");
    }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;
    ~Locked() { locks_.unlock(byte_); }

   private:
    ByteLocks& locks_;
    off_t byte_;
  };

  int fd() const noexcept { return lent_ < 0 ? file_.get() : lent_; }

  std::optional<std::uint64_t> read() const {
    char text[size];
    const sys::Moved moved = sys::pread_all(fd(), std::as_writable_bytes(std::span(text)), 0);
    if (moved.error != 0) throw_error(moved.error, "read", path_);
    std::uint64_t value = 0;
    if (moved.size != size || text[size - 1] != '\n') return std::nullopt;
    const auto [end, error] = std::from_chars(text, text + size - 1, value);
    if (error != std::errc() || end != text + size - 1) return std::nullopt;
    return value;
  }

  void write(std::uint64_t next) const {
    char text[size];
    for (std::size_t i = size - 1; i-- > 0; next /= 10) text[i] = static_cast<char>('0' + next % 10);
    text[size - 1] = '\n';
    const sys::Moved moved = sys::pwrite_all(fd(), std::as_bytes(std::span(text)), 0);
    if (moved.error != 0) throw_error(moved.error, "count the chunks in", path_);
  }

  int directory_;
  std::filesystem::path path_;
  Patience patience_;
  Lacks* lacks_;
  int lent_ = -1;
  Fd file_{};  // unless one was lent
  off_t byte_ = 0;
  std::optional<ByteLocks> locks_{};
  std::uint64_t floor_ = 0;  // above every id seen
  ChunkNumbers numbers_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
