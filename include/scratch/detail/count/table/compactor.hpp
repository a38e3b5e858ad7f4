// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Counts partitions, as one of several threads, and spills the counts.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/detail/bytes/write_behind.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/memory/chunk_pool.hpp>
#include <scratch/detail/count/memory/counting_pass.hpp>
#include <scratch/detail/count/memory/lines.hpp>
#include <scratch/detail/count/memory/records.hpp>
#include <scratch/detail/count/table/contents.hpp>
#include <scratch/detail/count/table/counting_job.hpp>
#include <scratch/detail/count/table/read_ahead.hpp>
#include <scratch/detail/workspace/directory.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// What is counted, and whose counts go where.
struct CompactingJob {
  const Directory& directory;
  const std::filesystem::path& shown;
  const Records& records;
  const ChunkPool& pool;
  const Contents& from;
  std::span<const std::uint64_t> distinct;  ///< of each partition, about
  Contents& to;                             ///< as many partitions, and places for files
  CacheShare share{};
  std::atomic<bool> is_in_vain{false};  ///< a partition has more keys than a pass has room for
};

/// The worker of a `Sequencer` whose pieces are partitions.
template <class Mixed>
class CompactorOf {
 public:
  using CountEntry = EntryOf<Mixed>;
  using CountingPass = CountingPassOf<Mixed>;
  using CountingThread = CountingThreadOf<Mixed>;
  using Lines = LinesOf<Mixed>;

  /// Counts everything. False where that is in vain.
  /// @throws Error, std::bad_alloc
  static bool run(CompactingJob& job, std::size_t threads) {
    ReadAhead ahead(job.from);
    std::vector<CompactorOf> workers;
    for (std::size_t i = 0; i < threads; ++i) {
      std::shared_ptr<AppendFile>& file = job.to.files[i % job.to.files.size()];
      if (!file) file = std::make_shared<AppendFile>(job.directory, job.shown, "spill counts of");
      workers.emplace_back(job, ahead, i % job.to.files.size());
    }
    Sequencer::run(job.distinct.size(), workers);
    return !job.is_in_vain;
  }

  /// @param file that it writes to, of those of `job.to`
  CompactorOf(CompactingJob& job, ReadAhead& ahead, std::size_t file)
      : job_(&job), ahead_(&ahead), file_(file), memory_(std::make_unique<CountingThread>()) {}
  CompactorOf(const CompactorOf&) = delete;
  CompactorOf& operator=(const CompactorOf&) = delete;
  CompactorOf(CompactorOf&&) noexcept = default;

  void work(std::size_t p, Sequencer&) {
    ahead_->begin(p);
    if (!job_->is_in_vain && !count(p)) job_->is_in_vain = true;
    ahead_->end(p);
  }

 private:
  static constexpr std::size_t at_once = 131'072;

  bool count(std::size_t p) {
    const PartitionSource source{job_->records, job_->pool, job_->from, {}, p};
    const Mixed mask = low_mask<Mixed>(job_->records.rest_bits());
    if (source.count() == 0) return true;
    for (std::uint64_t wanted = std::min(job_->distinct[p], source.count());;
         wanted = std::max<std::uint64_t>(wanted * 8, 4096)) {
      CountingPass pass(memory_->counting, job_->records.rest_bits(), wanted);
      if (source.for_each(memory_->buffer, [&](Kind kind, const std::byte* at, std::size_t n) {
            return add_records(memory_->counting, pass, job_->records, kind, at, n, mask);
          })) {
        pass.finish();
        do {
          for (const CountEntry& entry : pass.next(0)) put(entry, p);
        } while (!pass.at_end());
        for (const Kind kind : {Kind::counted, Kind::large}) write(kind, p);
        return true;
      }
      if (wanted >= Lines::most_lines * Lines::words) return false;
    }
  }

  void put(const CountEntry& entry, std::size_t p) {
    const Kind kind = job_->records.kind_of(entry.count);
    ByteBuffer& out = buffers_[static_cast<std::size_t>(kind)];
    const std::size_t size = job_->records.size(kind);
    if (out.size() + size > at_once) write(kind, p);
    job_->records.store(kind, out.prepare(out.size() == 0 ? at_once : size), entry);
    out.advance(size);
  }
  void write(Kind kind, std::size_t p) {
    ByteBuffer& out = buffers_[static_cast<std::size_t>(kind)];
    if (out.size() == 0) return;
    AppendFile& file = *job_->to.files[file_];
    Partition& to = job_->to.partitions[p];
    const std::uint64_t offset = file.extend(out.size());
    file.write_at(offset, out.bytes());
    if (job_->share.is_exceeded(job_->to.spilled())) file.write_behind(offset, out.size());
    to.segments.push_back({offset, static_cast<std::uint32_t>(out.size()), static_cast<std::uint16_t>(file_), kind});
    to.records += out.size() / job_->records.size(kind);
    out.clear();
  }

  CompactingJob* job_;
  ReadAhead* ahead_;
  std::size_t file_;
  std::unique_ptr<CountingThread> memory_;
  std::array<ByteBuffer, kinds> buffers_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
