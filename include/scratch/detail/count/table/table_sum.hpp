// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// The sum of two count tables: one pass over both, which hold their keys in the same order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/detail/count/table/join.hpp>
#include <scratch/detail/count/table/small_counts.hpp>
#include <scratch/detail/count/table/table_file.hpp>
#include <scratch/detail/count/table/table_writer.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

struct SumOptions {
  unsigned threads = 1;
  std::uint64_t memory = 64_MiB;
  std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};
  std::stop_token stop = {};
};

/// How many threads of `threads` the memory allows: at least 1.
inline std::uint64_t merging_threads(unsigned threads, std::uint64_t memory) {
  constexpr std::uint64_t memory_of_a_thread = 8_MiB;
  return std::clamp<std::uint64_t>(memory / memory_of_a_thread, 1, std::max(threads, 1U));
}

inline void check_stop(const SumOptions& options, const TableFile& into, const TableFile& from) {
  if (options.stop.stop_requested())
    throw Error(std::make_error_code(std::errc::operation_canceled), "merge", from.path(), "stopped", into.path());
}

[[noreturn]] inline void refuse_sum(const TableFile& into, const TableFile& from, std::uint64_t key, std::uint64_t a,
                                    std::uint64_t b) {
  throw Error(
      errc::count_overflow, "merge", from.path(),
      "key " + std::to_string(key) + " was counted " + std::to_string(a) + " and " + std::to_string(b) + " times",
      into.path());
}

// The worker of a `Sequencer` whose pieces are ranges of mixed keys.
template <CountKey Key>
struct SumWorker {
  struct Job {
    const TableFile& into;
    const TableFile& from;
    std::span<const std::uint64_t> starts;
    PlainVector<TableFile::Position> into_positions, from_positions;
    TableWriter& out;
    const SumOptions& options;
    std::uint64_t done = 0;  // keys; changed by one thread at a time
  };
  explicit SumWorker(Job& what) : job(&what) {}

  void work(std::size_t i, Sequencer& sequencer) {
    check_stop(job->options, job->into, job->from);
    const std::span<const CountEntry> ours = load(job->into, job->into_positions, i, our_room);
    const std::span<const CountEntry> theirs = load(job->from, job->from_positions, i, their_room);
    const CutEntries cut(key_bits<Key>, join(ours, theirs), blocks);
    sequencer.wait_for(i);
    job->out.append(cut, blocks);
    job->done += ours.size() + theirs.size();
    if (job->options.progress)
      job->options.progress(job->done, job->into.header().entries + job->from.header().entries);
  }

  std::span<const CountEntry> load(const TableFile& table, const PlainVector<TableFile::Position>& positions,
                                   std::size_t i, PlainVector<CountEntry>& room) {
    const std::uint64_t first = job->starts[i];
    const std::uint64_t last = i + 1 < job->starts.size() ? job->starts[i + 1] - 1 : low_mask(key_bits<Key>);
    return table.load_entries(positions[i], positions[i + 1], first, last, buffers, room);
  }

  std::span<const CountEntry> join(std::span<const CountEntry> ours, std::span<const CountEntry> theirs) {
    if (joined.size() < ours.size() + theirs.size()) joined.resize(ours.size() + theirs.size());
    try {
      return join_entries(ours, theirs, joined.data());
    } catch (const CountOverflow& overflow) {
      refuse_sum(job->into, job->from, unmix(static_cast<Key>(overflow.mixed)), overflow.a, overflow.b);
    }
  }

  Job* job;
  PlainVector<CountEntry> our_room, their_room, joined;
  Blocks blocks;
  TableFile::Buffers buffers;
};

/// Writes the sum of two tables, without a name yet.
/// @param nonce what it has absorbed
template <CountKey Key>
std::unique_ptr<AppendFile> write_table_sum(const Directory& directory, const TableFile& into, const TableFile& from,
                                            std::uint64_t nonce, const SumOptions& options) {
  // Ranges that have no more than some 40,000 keys of either table, bounded where blocks of one of them begin.
  constexpr std::uint64_t blocks_in_range = 96;
  PlainVector<std::uint64_t> starts{0};
  for (const TableFile* table : {&into, &from}) {
    std::uint64_t i = 0;
    table->for_each_block([&](const BlockRecord& record, std::uint64_t) {
      if (i++ % blocks_in_range == 0) starts.push_back(record.first);
    });
  }
  std::sort(starts.begin(), starts.end());
  starts.resize(static_cast<std::size_t>(std::unique(starts.begin(), starts.end()) - starts.begin()));
  TableWriter out(directory, into.path(), key_bits<Key>, "merge into");
  typename SumWorker<Key>::Job job{
      into, from, starts.all(), into.find_positions(starts.all()), from.find_positions(starts.all()), out, options};
  const std::uint64_t threads =
      std::min<std::uint64_t>(merging_threads(options.threads, options.memory), starts.size());
  std::vector<SumWorker<Key>> workers;
  for (std::uint64_t t = 0; t < threads; ++t) workers.emplace_back(job);
  Sequencer::run(starts.size(), workers);
  out.finish(nonce);
  return out.release();
}

/// The same, of 16-bit keys.
template <>
inline std::unique_ptr<AppendFile> write_table_sum<std::uint16_t>(const Directory& directory, const TableFile& into,
                                                                  const TableFile& from, std::uint64_t nonce,
                                                                  const SumOptions& options) {
  check_stop(options, into, from);
  SmallCounts sums = SmallCounts::load(into);
  const SmallCounts more = SmallCounts::load(from);
  for (std::size_t i = 0; i < small_keys; ++i) {
    const auto key = static_cast<std::uint16_t>(i);
    if (more[key] > std::numeric_limits<std::uint64_t>::max() - sums[key])
      refuse_sum(into, from, key, sums[key], more[key]);
    sums[key] += more[key];
  }
  auto out = std::make_unique<AppendFile>(directory, into.path(), "merge into");
  sums.store(*out, nonce);
  if (options.progress) {
    const std::uint64_t total = into.header().entries + from.header().entries;
    options.progress(total, total);
  }
  return out;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
