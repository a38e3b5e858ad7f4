// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A session's record: the head of metadata.json, which its owner writes, and the chunks, which anybody folds into it.
//
// chunks.jsonl is the truth about chunks. Folding it into metadata.json costs O(chunks), so it happens after every chunk
// while there are few, then when a tenth more came or a second passed: O(1) for each chunk in the long run.
//
// 1. Take the fold lock (byte 1 of .lock), so that of two processes the later one knows more.
// 2. The owner has the head in memory; others read it from the file, as the owner wrote it last.
// 3. Compose head and chunks, write beside, rename.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/chunk/chunk_log.hpp>
#include <scratch/detail/kernel/byte_locks.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/mode.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Thread-safe. The descriptors are the caller's.
class SessionRecord {
 public:
  /// Gives the head of metadata.json as it stands in the file.
  using ReadHead = std::string (*)(int directory, const std::filesystem::path& path);

  /// The owner's, who has the head in memory.
  SessionRecord(int directory, ByteLocks& locks, Lacks& lacks, std::filesystem::path path, SessionFacts facts)
      : SessionRecord(directory, locks, lacks, std::move(path), facts.durable) {
    facts_ = std::move(facts);
  }
  /// Of whoever joined.
  SessionRecord(int directory, ByteLocks& locks, Lacks& lacks, std::filesystem::path path, ReadHead read_head,
                bool durable)
      : SessionRecord(directory, locks, lacks, std::move(path), durable) {
    read_head_ = read_head;
  }

  /// Writes metadata.json for the first time, before anybody else knows the session. @throws Error
  void begin(bool umask_is_strange) {
    const std::string text = head_text(*facts_) + std::string(end_of_metadata);
    if (durable_) return write_metadata(directory_, path_, text, durable_, &lacks_);
    // What a crash leaves goes with the session, so this need not have the pains of a file without a name.
    constexpr const char* beside = ".scratch-metadata";
    const Fd open = create_new(directory_, beside, O_WRONLY, file_);
    if (umask_is_strange) set_mode(open.get(), 0600, file_, &lacks_);
    const sys::Moved moved = sys::pwrite_all(open.get(), std::as_bytes(std::span(text)), 0);
    if (moved.error != 0) throw_error(moved.error, "write", file_);
    if (sys::rename(directory_, beside, directory_, metadata_name.data()) != 0) throw_error(errno, "rename", file_);
  }

  /// metadata.json has every chunk recorded before. @throws Error; `busy` when somebody folds for longer than 5 s
  void publish(ChunkLog& log) {
    const std::lock_guard hold(mutex_);
    fold(log, Patience{5000}, durable_);
  }

  /// A chunk was recorded or forgotten. What fails now is mended by the next fold: the log has it.
  void recorded(ChunkLog& log) noexcept {
    pending_.fetch_add(1);
    try {
      const std::unique_lock hold(mutex_, std::try_to_lock);
      if (!hold) return;
      const bool due = pending_.load() * 10 >= folded_.load() || sys::steady_milliseconds() - last_fold_ >= 1000;
      if (due && pending_.load() > 0) fold(log, Patience{0}, false);
    } catch (...) {
    }
  }

  /// As well as it can be done now: metadata.json has every chunk recorded before.
  void catch_up(ChunkLog& log) noexcept {
    try {
      const std::lock_guard hold(mutex_);
      if (pending_.load() > 0) fold(log, Patience{100}, false);
    } catch (...) {
    }
  }

  /// Changes the head and writes it. @throws Error and then the head is as before
  template <class Change>
  void change(ChunkLog& log, Change change) {
    const std::lock_guard hold(mutex_);
    SessionFacts before = *facts_;
    change(*facts_);
    try {
      fold(log, Patience{5000}, durable_);
    } catch (...) {
      std::swap(*facts_, before);
      throw;
    }
  }

  /// How far the work is: in metadata.json with whatever is written next. A second after it was written last, and ten
  /// times as long as that took, it is written for this alone.
  void progress(ChunkLog& log, std::uint64_t done, std::uint64_t total, std::string_view what) {
    {
      const std::lock_guard hold(progress_mutex_);
      progress_.done = done;
      progress_.total = total;
      progress_.what = what;
      progress_.told = true;
    }
    if (sys::steady_milliseconds() < progress_due_.load(std::memory_order_relaxed)) return;
    try {
      const std::unique_lock hold(mutex_, std::try_to_lock);
      if (!hold) return;
      const std::uint64_t begin = sys::steady_milliseconds();
      progress_due_ = begin + 1000;  // also where it fails
      fold(log, Patience{0}, false);
      const std::uint64_t end = sys::steady_milliseconds();
      progress_due_ = std::max(begin + 1000, end + 10 * (end - begin));
    } catch (...) {
    }
  }

  /// Bytes that metadata.json takes, about.
  std::uint64_t size() const {
    const std::lock_guard hold(mutex_);
    return composed_size_ + 4096;
  }

  std::string user() const {
    const std::lock_guard hold(mutex_);
    return facts_->user;
  }

  /// As metadata.json would be if it were written now. @throws Error
  std::string text(ChunkLog& log) {
    const std::lock_guard hold(mutex_);
    return composed(log);
  }

 private:
  SessionRecord(int directory, ByteLocks& locks, Lacks& lacks, std::filesystem::path path, bool durable)
      : directory_(directory),
        locks_(locks),
        lacks_(lacks),
        path_(std::move(path)),
        durable_(durable),
        file_(path_ / metadata_name) {}

  std::string composed(ChunkLog& log) {
    take_progress();
    std::string text = facts_ ? head_text(*facts_) : read_head_(directory_, path_);
    std::uint64_t count = 0;
    text.reserve(composed_size_ + composed_size_ / 8);
    const std::size_t head = text.size();
    bool fits = true;
    log.for_each([&](const ChunkEntry& chunk) {
      if (fits) add_chunk(text, chunk, count == 0);
      ++count;
      fits = text.size() - head <= longest_chunks;
    });
    if (!fits) text.resize(head);
    text += fits ? end_of_metadata : chunks_are_in_the_log;
    composed_ = count;
    composed_size_ = text.size();
    return text;
  }

  void take_progress() {
    const std::lock_guard hold(progress_mutex_);
    if (progress_.told && facts_) facts_->progress = progress_text(progress_.done, progress_.total, progress_.what);
  }

  void fold(ChunkLog& log, Patience patience, bool durable) {
    const LockAnswer answer = try_for(patience, [&] { return locks_.lock(fold_byte); });
    if (answer == LockAnswer::busy)
      throw_error(errc::busy, "write", file_, "another process is writing it, or was stopped while it did");
    const Locked locked(locks_, answer);
    const std::uint64_t covered = pending_.load();
    write_metadata(directory_, path_, composed(log), durable, &lacks_);
    pending_.fetch_sub(covered);
    folded_ = composed_;
    last_fold_ = sys::steady_milliseconds();
  }

  class Locked {
   public:
    Locked(ByteLocks& locks, LockAnswer answer) : locks_(locks), taken_(answer == LockAnswer::taken) {}
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;
    ~Locked() {
      if (taken_) locks_.unlock(fold_byte);
    }

   private:
    ByteLocks& locks_;
    bool taken_;
  };

  struct Progress {
    std::uint64_t done = 0, total = 0;
    std::string what{};
    bool told = false;
  };

  int directory_;
  ByteLocks& locks_;  // of .lock
  Lacks& lacks_;
  std::filesystem::path path_;
  std::mutex progress_mutex_{};  // taken behind `mutex_`
  Progress progress_{};
  std::atomic<std::uint64_t> progress_due_{0};
  mutable std::mutex mutex_{};
  std::optional<SessionFacts> facts_{};
  ReadHead read_head_ = nullptr;
  bool durable_;
  std::filesystem::path file_;             // metadata.json
  std::atomic<std::uint64_t> pending_{0};  // records since the last fold
  std::atomic<std::uint64_t> folded_{0};   // chunks in metadata.json when this process wrote it last
  std::uint64_t composed_ = 0;
  std::size_t composed_size_ = 0;
  std::uint64_t last_fold_ = sys::steady_milliseconds();
};

}  // namespace scratch::inline SCRATCH_ABI::detail
