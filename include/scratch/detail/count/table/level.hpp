// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Partitions that appenders of several threads fill, within a pool of chunks; what has no room there goes to files.
//
// An appender that needs chunks hands over its full ones, and gets some more. When there are none, whoever asks writes
// the next partitions in turn to a file, about a megabyte of them, right from the chunks, while others go on. What could
// not be written is where it was.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/bytes/write_behind.hpp>
#include <scratch/detail/count/memory/appender.hpp>
#include <scratch/detail/count/memory/chunk_pool.hpp>
#include <scratch/detail/count/memory/records.hpp>
#include <scratch/detail/count/table/contents.hpp>
#include <scratch/detail/kernel/thread.hpp>
#include <scratch/detail/workspace/directory.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

class Level {
 public:
  /// Files that are written at the same time: one has a lock for all who write to it.
  static constexpr std::size_t most_files = 4;

  /// @param appenders at most so many get chunks
  Level(const Directory& directory, std::filesystem::path shown, ChunkPool& pool, const Records& records,
        std::size_t appenders)
      : directory_(directory),
        shown_(std::move(shown)),
        pool_(&pool),
        records_(records),
        batch_(std::clamp<std::size_t>(pool.count() / 16 / appenders, 1, 128)) {
    contents_.partitions.resize(records.partitions());
    contents_.files.resize(most_files);
  }
  /// The same, spilling to a file that is there.
  Level(const std::shared_ptr<AppendFile>& file, ChunkPool& pool, const Records& records)
      : Level(file->directory(), file->shown(), pool, records, 1) {
    contents_.files.assign(1, file);
  }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

  const Records& records() const { return records_; }
  ChunkPool& pool() { return *pool_; }
  const ChunkPool& pool() const { return *pool_; }
  Contents& contents() { return contents_; }
  const Contents& contents() const { return contents_; }

  /// Gives an appender chunks.
  /// @param make_room called under the lock when there are none
  template <class MakeRoom>
  void exchange(Appender& appender, MakeRoom make_room) {
    end_streaming();
    std::unique_lock lock(mutex_);
    hand_over(appender);
    for (;;) {
      while (appender.free.count < batch_) {
        const std::uint32_t chunk = pool_->take();
        if (chunk == ChunkPool::none) break;
        appender.free.push_front(*pool_, chunk);
      }
      if (!appender.free.empty()) return;
      make_room(lock);
    }
  }
  void exchange(Appender& appender) {
    exchange(appender, [&](std::unique_lock<std::mutex>& lock) { spill(lock, 0); });
  }

  /// Full chunks are the level's afterwards.
  /// @pre locked, or nobody else is here
  void hand_over(Appender& appender) {
    if (!appender.full.empty()) tell();
    while (!appender.full.empty()) {
      const std::uint32_t chunk = appender.full.pop_front(*pool_);
      const std::uint32_t owner = pool_->owner(chunk);
      const Kind kind = Appender::kind_of(owner);
      Partition& partition = contents_.partitions[Appender::partition_of(owner)];
      partition.full[static_cast<std::size_t>(kind)].push_front(*pool_, chunk);
      partition.records += records_.in_chunk(kind, pool_->chunk_size());
    }
  }

  std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }
  Condition& changed() { return changed_; }

  /// Does `work` while nobody else makes room and nothing is being written. The lock may be let go meanwhile.
  template <class Work>
  void exclusively(std::unique_lock<std::mutex>& lock, Work work) {
    struct End {
      Level* level;
      std::unique_lock<std::mutex>* held;
      ~End() {
        if (!held->owns_lock()) held->lock();
        level->exclusive_ = false;
        level->tell();
      }
    };
    exclusive_ = true;
    const End end{this, &lock};
    while (writing_ > 0) wait_for_change(lock);
    work();
  }
  /// @pre locked
  bool is_exclusive() const { return exclusive_; }

  /// Writes some chunks to a file; where all are somebody's, or somebody works exclusively, waits.
  /// @throws Error, and all chunks are where they were
  void spill(std::unique_lock<std::mutex>& lock, std::size_t file) {
    if (exclusive_) return wait_for_change(lock);
    Job job;
    ++writing_;
    try {
      choose(std::clamp<std::size_t>(pool_->count() / 4, 1, 1_MiB / pool_->chunk_size()), job);
      if (job.parts.empty()) {
        --writing_;
        wait_for_change(lock);
        return;
      }
      make_file(file, job);
      lock.unlock();
      write(job, file);
      lock.lock();
      record(job);
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      put_back(job);
      end_writing();
      throw;
    }
    for (Part& part : job.parts) part.chunks.give_to(*pool_);
    end_writing();
  }
  /// Returns when chunks were handed over, or given back.
  void wait_for_change(std::unique_lock<std::mutex>& lock) {
    changed_.wait(lock, [this, before = changes_] { return changes_ != before; });
  }
  /// @pre locked
  void tell() {
    ++changes_;
    changed_.notify_all();
  }
  std::size_t segments() const { return segments_; }

  /// Everything is in files afterwards, save for what appenders have in hand that are not named.
  /// @pre nobody else is here
  /// @param look called once for some megabytes; may throw
  /// @throws Error; what is not in files is where it was
  template <class Look>
  void flush(std::span<Appender* const> appenders, Look look) {
    for (Appender* appender : appenders) hand_over(*appender);
    for (std::size_t p = 0; p < contents_.partitions.size();) {
      look();
      Job job;
      try {
        while (p < contents_.partitions.size() && job.bytes < 4_MiB) {
          choose(p, job, 4_MiB / pool_->chunk_size());
          if (contents_.partitions[p].chunks() > 0) continue;
          for (Appender* appender : appenders)
            for (std::size_t k = 0; k < kinds; ++k) add_staged(*appender, static_cast<Kind>(k), p, job);
          ++p;
        }
        if (job.parts.empty()) break;
        make_file(0, job);
        write(job, 0);
        record(job);
      } catch (...) {
        put_back(job);
        throw;
      }
      for (Part& part : job.parts) {
        if (part.appender != nullptr) {
          contents_.partitions[part.p].records += part.bytes / records_.size(part.kind);
          part.appender->clear(part.kind, part.p);
        }
        part.chunks.give_to(*pool_);
      }
    }
    for (Appender* appender : appenders) appender->free.give_to(*pool_);
  }
  void flush(std::span<Appender* const> appenders) {
    flush(appenders, [] {});
  }

  /// A partition is not read any more: its chunks are free. Its segments stay.
  void give_back(std::size_t p) {
    Partition& partition = contents_.partitions[p];
    for (std::size_t k = 0; k < kinds; ++k) {
      partition.full[k].give_to(*pool_);
      partition.sorted[k].give_to(*pool_);
    }
    partition.sorted_records = {};
    partition.records = 0;
  }
  /// Forgets a partition.
  void drop(std::size_t p) {
    give_back(p);
    contents_.partitions[p].segments = {};
  }

  /// Takes everything out that was handed over; files, too.
  /// @throws std::bad_alloc, and nothing has changed
  Contents take_out() {
    Contents empty;
    empty.partitions.resize(contents_.partitions.size());
    empty.files.resize(contents_.files.size());
    std::swap(empty, contents_);
    segments_ = 0;
    return empty;
  }
  /// Puts it back. @pre nothing was written since
  void put_back(Contents& taken) noexcept {
    for (std::size_t p = 0; p < taken.partitions.size(); ++p) {
      Partition& from = taken.partitions[p];
      Partition& to = contents_.partitions[p];
      for (std::size_t k = 0; k < kinds; ++k) from.full[k].splice_front(*pool_, to.full[k]);
      from.records += to.records;
      segments_ += from.segments.size();
    }
    std::swap(contents_, taken);
  }
  /// Puts segments in the place of what was taken out. @pre nothing was written since
  void install(Contents& others) noexcept {
    std::swap(contents_.files, others.files);
    for (std::size_t p = 0; p < others.partitions.size(); ++p) {
      std::swap(contents_.partitions[p].segments, others.partitions[p].segments);
      contents_.partitions[p].records += others.partitions[p].records;
      segments_ += contents_.partitions[p].segments.size();
    }
  }
  void drop(Contents& taken) {
    for (Partition& partition : taken.partitions)
      for (std::size_t k = 0; k < kinds; ++k) {
        partition.full[k].give_to(*pool_);
        partition.sorted[k].give_to(*pool_);
      }
    taken = {};
  }

 private:
  // Chunks, or what an appender has in hand, of one partition and kind.
  struct Part {
    std::size_t p;
    Kind kind;
    bool is_sorted;
    ChunkList chunks;
    std::size_t bytes;
    Appender* appender = nullptr;
    std::array<Bytes, 2> staged{};
  };
  struct Job {
    std::vector<Part> parts{};
    std::size_t chunks = 0, bytes = 0, file = 0;
    bool behind = false;  // they are more than stay in the page cache
    std::uint64_t offset = 0;
  };

  // The next partitions in turn.
  void choose(std::size_t chunks, Job& job) {
    for (std::size_t tried = 0; tried < contents_.partitions.size() && job.chunks < chunks; ++tried) {
      choose(cursor_, job, 2 * chunks);
      cursor_ = (cursor_ + 1) % contents_.partitions.size();
    }
  }
  void choose(std::size_t p, Job& job, std::size_t most) {
    Partition& partition = contents_.partitions[p];
    job.parts.reserve(job.parts.size() + 2 * kinds);
    for (std::size_t k = 0; k < kinds; ++k) {
      const auto kind = static_cast<Kind>(k);
      const std::size_t payload = records_.payload(kind, pool_->chunk_size());
      if (!partition.full[k].empty()) {
        ChunkList some;
        if (partition.full[k].count <= most) {
          some = std::exchange(partition.full[k], {});
        } else {
          while (some.count < most) some.push_front(*pool_, partition.full[k].pop_front(*pool_));
        }
        add(job, {p, kind, false, some, some.count * payload});
      }
      if (!partition.sorted[k].empty())
        add(job,
            {p, kind, true, std::exchange(partition.sorted[k], {}), partition.sorted_records[k] * records_.size(kind)});
    }
  }
  static void add(Job& job, const Part& part) {
    job.chunks += part.chunks.count;
    job.bytes += part.bytes;
    job.parts.push_back(part);
  }
  void add_staged(Appender& appender, Kind kind, std::size_t p, Job& job) const {
    const Bytes in_chunk = appender.in_chunk(kind, p), staged = appender.staged(kind, p);
    if (in_chunk.empty() && staged.empty()) return;
    job.parts.reserve(job.parts.size() + 1);
    add(job, {p, kind, false, {}, in_chunk.size() + staged.size(), &appender, {in_chunk, staged}});
  }

  void write(Job& job, std::size_t file) {
    job.file = file % contents_.files.size();
    std::vector<struct iovec> pieces;
    for (const Part& part : job.parts) {
      const std::size_t payload = records_.payload(part.kind, pool_->chunk_size());
      std::size_t left = part.bytes;
      std::uint32_t chunk = part.chunks.first;
      for (std::size_t i = 0; i < part.chunks.count; ++i, chunk = pool_->next(chunk)) {
        pieces.push_back({pool_->at(chunk), std::min(left, payload)});
        left -= pieces.back().iov_len;
      }
      for (const Bytes bytes : part.staged)
        if (!bytes.empty()) pieces.push_back({const_cast<std::byte*>(bytes.data()), bytes.size()});
    }
    AppendFile& to = *contents_.files[job.file];
    job.offset = to.extend(job.bytes);
    to.write_at(job.offset, pieces);
    if (job.behind) to.write_behind(job.offset, job.bytes);
  }

  void make_file(std::size_t i, Job& job) {
    job.behind = share_.is_exceeded(contents_.spilled());
    std::shared_ptr<AppendFile>& file = contents_.files[i % contents_.files.size()];
    if (!file) file = std::make_shared<AppendFile>(directory_, shown_, "spill counts of");
  }

  void record(const Job& job) {
    for (std::size_t i = 0, end = 0; i < job.parts.size(); i = end) {
      std::vector<Segment>& segments = contents_.partitions[job.parts[i].p].segments;
      while (end < job.parts.size() && job.parts[end].p == job.parts[i].p) ++end;
      if (segments.capacity() < segments.size() + (end - i))
        segments.reserve(segments.size() + std::max(segments.size() / 2, end - i));
    }
    std::uint64_t offset = job.offset;
    for (const Part& part : job.parts) {
      contents_.partitions[part.p].segments.push_back(
          {offset, static_cast<std::uint32_t>(part.bytes), static_cast<std::uint16_t>(job.file), part.kind});
      if (part.is_sorted) contents_.partitions[part.p].sorted_records[static_cast<std::size_t>(part.kind)] = 0;
      offset += part.bytes;
      ++segments_;
    }
  }
  void put_back(Job& job) {
    for (Part& part : job.parts) {
      Partition& partition = contents_.partitions[part.p];
      auto& list = (part.is_sorted ? partition.sorted : partition.full)[static_cast<std::size_t>(part.kind)];
      list.splice_front(*pool_, part.chunks);
    }
  }
  void end_writing() {
    --writing_;
    tell();
  }

  Directory directory_;
  std::filesystem::path shown_;
  ChunkPool* pool_;
  Records records_;
  std::size_t batch_;
  std::mutex mutex_{};
  Condition changed_{};
  Contents contents_{};
  CacheShare share_{};
  std::size_t cursor_ = 0;
  std::size_t segments_ = 0;
  std::size_t writing_ = 0, changes_ = 0;
  bool exclusive_ = false;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
