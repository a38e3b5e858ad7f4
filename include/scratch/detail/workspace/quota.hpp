// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// How many bytes files may take, written or being written: one number for all who write in a directory.
//
// Bytes are reserved before they are written. Until their file has its name they stand in the writer's slot; then they
// are the file's, and can be measured in the directory. `total` is what all of this comes to.
//
//   .scratch-quota, 8,192 bytes, 64-bit words of this machine, mapped by every process of a session
//   word 0      "scrquot2"
//   word 1      the limit
//   word 2      total in the lower 48 bits, above them how often that was changed
//   word 3      not 0: files were removed since total was last measured
//   word 8+i    slot i: bytes reserved by one process and not yet in a named file
//   OFD locks   byte 64+8i: slot i belongs to a living process; byte 24: somebody is measuring
//
// Measuring anew, when there is no room: total = slots of the living + sizes of the files, in that order, put in place
// only if total was not changed meanwhile, be it to what it was. Everything errs to the safe side, for the next measurement to mend:
// 1. reserve: slot, then total. A writer killed in between, or later, leaves a slot that nobody locks, and which is not
//    counted.
// 2. release: total, then slot.
// 3. commit: only the slot, when the file has its name. In between the bytes are counted twice.
// 4. removed: total is left alone, since a measurement may have seen that the file is gone.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/kernel/byte_locks.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/mode.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/kernel/random.hpp>
#include <scratch/detail/kernel/rename.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>
#include <scratch/usage.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A share in a limit on bytes. Thread-safe. Without a limit (0) it costs nothing and grants everything.
class Quota {
 public:
  static constexpr std::size_t most_processes = 1016;

  Quota() = default;

  /// What named files take, by those whom it concerns; throws `Error` where it cannot tell.
  using Measure = std::function<std::uint64_t()>;

  /// For the threads of this process. What `measure` finds already counts.
  ///
  /// @throws Error `measure`'s
  static Quota of_process(std::uint64_t limit, Measure measure) {
    return limit == 0 ? Quota() : Quota(std::make_unique<Share>(limit, std::move(measure)));
  }

  /// Shared by all processes that call this on one directory. Whoever comes first sets the limit; where nobody did and
  /// `limit` is 0, there is none. On file systems without locks each process minds its own bytes.
  ///
  /// @param directory stays open as long as this lives
  /// @param lacks     what is known of it, and takes what is found out; may be null
  /// @throws Error `corrupt` when the directory's `.scratch-quota` is not one; `busy` with too many processes
  static Quota shared(int directory, const std::filesystem::path& path, std::uint64_t limit, Lacks* lacks = nullptr) {
    Fd file = open_ledger(directory, path);
    if (!file && limit == 0) return {};
    if (!file) file = make_ledger(directory, path, limit, lacks);
    return Quota(std::make_unique<Share>(directory, path, std::move(file), lacks));
  }

  /// Bytes that living processes have reserved and not yet put into a named file, for one who only looks; 0 where
  /// nobody set a limit. @throws Error
  static std::uint64_t uncommitted(int directory, const std::filesystem::path& path) {
    const Fd file = open_ledger(directory, path, O_RDONLY);
    if (!file) return 0;
    std::array<std::uint64_t, file_size / sizeof(std::uint64_t)> words{};
    const sys::Moved moved = sys::pread_all(file.get(), std::as_writable_bytes(std::span(words)), 0);
    if (moved.error != 0) throw_error(moved.error, "read the quota", path / file_name);
    if (moved.size != file_size || words[0] != magic())
      throw_error(errc::corrupt, "read the quota", path / file_name,
                  "8,192 bytes that begin with \"scrquot2\" are needed");
    std::uint64_t bytes = 0;
    for (std::size_t i = first_slot; i < words.size(); ++i)
      if (words[i] != 0 && byte_is_locked(file.get(), directory, file_name, lock_byte(i))) bytes += words[i];
    return bytes;
  }

  /// Takes `bytes`. False: there is no room for them, also after measuring anew; nothing was taken.
  ///
  /// O(1) while there is room, else O(files in the directory).
  bool reserve(std::uint64_t bytes) {
    if (!share_ || bytes == 0) return true;
    if (!share_->made_here.is_true()) return false;
    if (share_->take(bytes)) return true;
    for (unsigned round = 0; round < 4; ++round) {
      if (round > 1) sys::sleep_microseconds(1000);  // somebody is between two words
      const Measurement measurement = share_->measure_anew();
      if (share_->take(bytes)) return true;
      if (measurement == Measurement::same) break;
    }
    return false;
  }

  /// `bytes` that were reserved here stand in a file with a name now.
  void commit(std::uint64_t bytes) noexcept {
    if (share_ && share_->made_here.is_true()) share_->take_from_slot(bytes);
  }

  /// `bytes` that were reserved here are not on disk, or no longer, and never had a name.
  void release(std::uint64_t bytes) noexcept {
    if (share_ && share_->made_here.is_true()) share_->give_back(bytes);
  }

  /// Named files with `bytes` in them are gone.
  void removed(std::uint64_t bytes) noexcept {
    if (share_ && bytes > 0 && share_->made_here.is_true()) share_->stale().store(1);
  }

  /// Another limit, for this process and for all who come later. Not thread-safe.
  void limit_to(std::uint64_t bytes) {
    if (!share_) return;
    share_->limit = bytes;
    share_->word(limit_word).store(bytes);
  }

  /// Whether a file is called as a ledger that is being made: only by the owner of a session.
  static bool is_unfinished(std::string_view name) {
    constexpr std::string_view beside = ".scratch-quota-";
    return name.starts_with(beside) && name.size() == beside.size() + 16;
  }

  /// Lets go of the ledger's file: a directory whose files are open cannot be removed everywhere. What threads still
  /// reserve or release counts for nobody.
  void close() noexcept {
    if (!share_ || !share_->file || !share_->made_here.is_true()) return;
    if (share_->mapping.at != nullptr && !sys::unmap_file(share_->mapping.at, file_size)) return;
    share_->locks->close();
    share_->file.reset();
  }

  /// Another number when bytes were taken or given back, or a measurement found others. 0 without a limit.
  std::uint64_t stamp() const noexcept { return share_ ? share_->total().load() : 0; }

  /// 0: none.
  std::uint64_t limit() const noexcept { return share_ ? share_->limit : 0; }

  /// Bytes taken, by all. Never less than what files take; after removals measured anew, O(files). 0 without a limit.
  std::uint64_t used() const {
    if (!share_) return 0;
    if (share_->stale().load() != 0 && share_->made_here.is_true()) share_->measure_anew();
    return bytes_in(share_->total().load());
  }

 private:
  static constexpr const char* file_name = ".scratch-quota";
  static constexpr std::size_t file_size = 8192;
  static constexpr std::size_t limit_word = 1, total_word = 2, stale_word = 3, first_slot = 8;
  static_assert((first_slot + most_processes) * sizeof(std::uint64_t) == file_size);
  static_assert(std::atomic_ref<std::uint64_t>::is_always_lock_free);

  enum class Measurement : std::uint8_t { same, changed, failed };
  using Word = std::atomic_ref<std::uint64_t>;

  static std::uint64_t magic() {
    std::uint64_t word = 0;
    std::memcpy(&word, "scrquot2", sizeof word);
    return word;
  }

  // Of total.
  static constexpr std::uint64_t most_bytes = (std::uint64_t{1} << 48) - 1;
  static constexpr std::uint64_t bytes_in(std::uint64_t total) { return total & most_bytes; }
  static constexpr std::uint64_t changed(std::uint64_t total, std::uint64_t bytes) {
    return (total | most_bytes) + 1 + std::min(bytes, most_bytes);
  }

  static constexpr off_t lock_byte(std::size_t word) { return static_cast<off_t>(word * sizeof(std::uint64_t)); }

  struct Mapping {
    Mapping() = default;
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping() {
      if (at != nullptr) sys::munmap(at, file_size);
    }
    void* at = nullptr;
  };

  struct Share {
    Share(std::uint64_t bytes, Measure files) : limit(bytes), measure(std::move(files)) {
      total().store(changed(0, measure()));
    }

    // The limit comes from the ledger.
    Share(int place, const std::filesystem::path& place_path, Fd ledger, Lacks* lacks)
        : directory(place), directory_path(place_path), file(std::move(ledger)), path(place_path / file_name) {
      map();
      locks.emplace(file.get(), place, path, lacks);
      if (!take_slot()) {  // no locks here
        locks.reset();
        file.reset();
        words = own.data();
        mine = first_slot;
        total().store(changed(0, files_take()));
      }
    }

    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    ~Share() {
      if (file && made_here.is_true()) give_back(slot().load());
    }

    Word word(std::size_t i) { return Word(words[i]); }
    Word total() { return word(total_word); }
    Word stale() { return word(stale_word); }
    Word slot() { return word(mine); }

    // Where there is no room the slot is let alone, lest another's measurement sees what comes and goes in it.
    bool take(std::uint64_t bytes) {
      const std::uint64_t most = std::min(limit, most_bytes);
      std::uint64_t before = total().load();
      const auto fits = [&] { return bytes_in(before) <= most && bytes <= most - bytes_in(before); };
      if (!fits()) return false;
      slot().fetch_add(bytes);
      while (fits())
        if (total().compare_exchange_weak(before, changed(before, bytes_in(before) + bytes))) return true;
      take_from_slot(bytes);
      return false;
    }

    void take_from_slot(std::uint64_t bytes) noexcept {
      std::uint64_t before = slot().load();
      while (!slot().compare_exchange_weak(before, before - std::min(before, bytes))) continue;
    }

    void give_back(std::uint64_t bytes) noexcept {
      bytes = std::min(bytes, slot().load());  // only what is ours to give
      std::uint64_t before = total().load();
      const auto less = [&] { return changed(before, bytes_in(before) - std::min(bytes_in(before), bytes)); };
      while (!total().compare_exchange_weak(before, less())) continue;
      take_from_slot(bytes);
    }

    /// Where the files cannot be measured, total stays as it is: not less than the truth.
    Measurement measure_anew() {
      const std::lock_guard alone(mutex);
      const bool locked = file && lock_measuring();
      Measurement measurement = Measurement::failed;
      try {
        measurement = measure_alone();
      } catch (const Error&) {
        stale().store(1);
      }
      if (locked) locks->unlock(lock_byte(stale_word));
      return measurement;
    }

    // Spares others the same work; what it comes to is right without.
    bool lock_measuring() noexcept {
      try {
        return try_for(Patience{100}, [&] { return locks->lock(lock_byte(stale_word)); }) == LockAnswer::taken;
      } catch (const Error&) {
        return false;
      }
    }

    std::uint64_t files_take() { return measure ? measure() : usage_below(directory, directory_path).bytes; }

    Measurement measure_alone() {
      for (unsigned round = 0; round < 8; ++round) {
        stale().store(0);
        std::uint64_t before = total().load();
        std::uint64_t now = slots_in_use();
        now += files_take();
        const bool same = bytes_in(before) == now;
        if (total().compare_exchange_strong(before, same ? before : changed(before, now)))
          return same ? Measurement::same : Measurement::changed;
      }
      stale().store(1);
      return Measurement::failed;
    }

    std::uint64_t slots_in_use() {
      std::uint64_t bytes = slot().load();
      for (std::size_t i = first_slot; file && i < file_size / sizeof(std::uint64_t); ++i) {
        if (i == mine) continue;
        const std::uint64_t theirs = word(i).load();
        if (theirs != 0 && locks->is_locked(lock_byte(i))) bytes += theirs;
      }
      return bytes;
    }

    void map() {
      if (facts_of(file.get(), path).st_size != static_cast<off_t>(file_size))
        throw_error(errc::corrupt, "open the quota", path, "it must have 8,192 bytes");
      mapping.at = sys::mmap(file_size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get());
      if (mapping.at == nullptr) throw_error(errno, "map", path);
      words = static_cast<std::uint64_t*>(mapping.at);
      if (word(0).load() != magic())
        throw_error(errc::corrupt, "open the quota", path, "it does not begin with \"scrquot2\"");
      limit = word(limit_word).load();
    }

    // False: this file system has no locks.
    bool take_slot() {
      for (std::size_t i = first_slot; i < file_size / sizeof(std::uint64_t); ++i) {
        const LockAnswer answer = locks->lock(lock_byte(i));
        if (answer == LockAnswer::unsupported) return false;
        if (answer == LockAnswer::busy) continue;
        mine = i;
        slot().store(0);  // what a dead process left in it
        return true;
      }
      throw_error(errc::busy, "take part in the quota", path,
                  std::to_string(most_processes) + " processes write here already");
    }

    std::uint64_t limit = 0;
    Measure measure = {};  // empty: what is below `directory`
    int directory = -1;
    std::filesystem::path directory_path = {};
    Fd file = {};  // empty: for this process only
    std::filesystem::path path = {};
    std::optional<ByteLocks> locks = {};  // of `file`
    Mapping mapping = {};
    std::array<std::uint64_t, first_slot + 1> own{};
    std::uint64_t* words = own.data();
    std::size_t mine = first_slot;
    std::mutex mutex = {};
    MadeHere made_here = {};
  };

  explicit Quota(std::unique_ptr<Share> share) : share_(std::move(share)) {}

  // Empty: nobody made one.
  static Fd open_ledger(int directory, const std::filesystem::path& path, int flags = O_RDWR) {
    struct stat facts {};
    if (sys::fstatat(directory, file_name, facts) != 0 && errno == ENOENT) return {};
    return open_existing(directory, file_name, flags, path / file_name);
  }

  // Whole when it gets its name. Its blocks are set aside first: a mapped page without one would end the process.
  static Fd make_ledger(int directory, const std::filesystem::path& path, std::uint64_t limit, Lacks* lacks) {
    const std::string beside = std::string(file_name) + "-" + hex16(random_number());
    Fd file = create_new(directory, beside.c_str(), O_RDWR, path / file_name);
    std::array<std::uint64_t, file_size / sizeof(std::uint64_t)> words{};
    words[0] = magic();
    words[limit_word] = limit;
    int error = 0;
    try {
      words[total_word] = changed(0, usage_below(directory, path).bytes);
      set_mode(file.get(), 0600, path / file_name, lacks);  // a strange umask
      if (sys::fallocate(file.get(), 0, 0, file_size) != 0 && errno != EOPNOTSUPP) error = errno;
      if (error == 0) error = sys::pwrite_all(file.get(), std::as_bytes(std::span(words)), 0).error;
      if (error == 0 && rename_new(directory, beside.c_str(), directory, file_name, WithoutFlag::look, lacks) != 0)
        error = errno;
    } catch (...) {
      sys::unlinkat(directory, beside.c_str());
      throw;
    }
    if (error == 0) return file;
    sys::unlinkat(directory, beside.c_str());
    if (error == EEXIST) return open_existing(directory, file_name, O_RDWR, path / file_name);
    throw_error(error, "create the quota", path / file_name);
  }

  std::unique_ptr<Share> share_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
