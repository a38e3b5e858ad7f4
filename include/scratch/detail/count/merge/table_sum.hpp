// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// The sum of count tables: one pass over all of them, which hold their keys in the same order.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
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
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/detail/count/file/small_counts.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/file/table_writer.hpp>
#include <scratch/detail/count/merge/join.hpp>
#include <scratch/detail/count/merge/merge_runs.hpp>
#include <scratch/detail/count/merge/table_parts.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

struct SumOptions {
  unsigned threads = 1;
  std::uint64_t memory = 64_MiB;
  std::uint64_t at_least = 1;  // of the sum
  std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};
  std::stop_token stop = {};
};

/// What the memory of a sum allows.
struct SumMemory {
  static constexpr std::uint64_t of_a_thread = 8_MiB;  // where there is less in all, one thread makes do

  /// @param size of an entry in memory
  SumMemory(const SumOptions& options, std::size_t size)
      : of_an_entry(7 * size),
        threads(std::clamp<std::uint64_t>(options.memory / of_a_thread, 1, std::max(options.threads, 1U))),
        entries(std::max<std::uint64_t>(options.memory / threads / of_an_entry, 4 * entries_of_a_table)) {}

  /// How many tables are summed up at once: at each end of a part a block of each may be cut.
  std::size_t tables() const { return entries / entries_of_a_table; }
  /// How many entries a part has: what fits the second cache, where blocks that are cut are few of them.
  std::uint64_t entries_of_a_part(std::size_t tables_at_hand) const {
    constexpr std::uint64_t fast = 48 * 1024;
    return std::min(entries, std::max(fast, tables_at_hand * entries_of_a_table));
  }
  /// How many parts are known at a time.
  std::size_t parts(std::size_t tables_at_hand) const {
    const std::uint64_t bytes = std::min<std::uint64_t>(entries * of_an_entry / 16, 512_KiB);
    return static_cast<std::size_t>(
        std::max<std::uint64_t>(bytes / sizeof(TableFile::Position) / (tables_at_hand + 1), 4 * threads));
  }

  static constexpr std::uint64_t entries_of_a_table = 4 * most_block_entries;
  std::uint64_t of_an_entry;  // read, joined twice, kept, and packed
  std::uint64_t threads;
  std::uint64_t entries;  // of a thread
};

inline void check_stop(const SumOptions& options, const std::filesystem::path& into) {
  if (options.stop.stop_requested())
    throw_error(std::make_error_code(std::errc::operation_canceled), "merge into", into, "stopped");
}

template <class Mixed>
std::uint64_t entries_of(std::span<const TableFileOf<Mixed>> tables) {
  std::uint64_t entries = 0;
  for (const TableFileOf<Mixed>& table : tables) entries += table.header().entries;
  return entries;
}

/// @param count_in tells how often the key was counted in a table
template <CountKey Key, class CountIn>
[[noreturn]] void refuse_sum(const std::filesystem::path& into, std::span<const TableFileFor<Key>> tables, Key key,
                             CountIn count_in) {
  std::string words = "key " + key_text(key) + " was counted";
  for (std::size_t t = 0; t < tables.size(); ++t)
    if (const std::uint64_t count = count_in(t); count > 0)
      words += " " + std::to_string(count) + " times in \"" + tables[t].path().filename().string() + "\",";
  words.back() = ':';
  throw_error(errc::count_overflow, "merge into", into, words + " that is more than 2^64 - 1");
}

/// What all threads of a sum know.
template <class Mixed>
struct SumJob {
  std::span<const TableFileOf<Mixed>> tables;  // the larger ones last
  const std::filesystem::path& into;
  const TablePartsOf<Mixed>& parts;
  std::uint64_t most_entries;  // of a part
  TableWriterOf<Mixed>& out;
  const SumOptions& options;
  std::uint64_t total;
  std::uint64_t done = 0;  // entries; changed by one thread at a time
};

// The worker of a `Sequencer` whose pieces are the parts.
template <CountKey Key>
class SumWorker {
 public:
  using Mixed = MixedOf<Key>;
  using CountEntry = EntryOf<Mixed>;

  explicit SumWorker(SumJob<Mixed>& job) : job_(&job) {}
  SumWorker(const SumWorker&) = delete;
  SumWorker& operator=(const SumWorker&) = delete;
  SumWorker(SumWorker&&) noexcept = default;

  void work(std::size_t part, Sequencer& sequencer) {
    check_stop(job_->options, job_->into);
    load(part);
    LeftOut left_out;
    const Run kept = entries_kept<Mixed>(join_runs(), job_->options.at_least, kept_, left_out);
    const CutEntriesOf<Mixed> cut(key_bits<Key>, kept, blocks_);
    sequencer.wait_for(part);
    job_->out.append(cut, blocks_);
    job_->out.leave_out(left_out);
    job_->done += entries_.size();
    if (job_->options.progress) job_->options.progress(job_->done, job_->total);
  }

 private:
  using Run = std::span<const CountEntry>;

  void load(std::size_t part) {
    entries_.clear();
    entries_.reserve(static_cast<std::size_t>(job_->most_entries + 2 * job_->tables.size() * most_block_entries));
    ends_.clear();
    for (std::size_t t = 0; t < job_->tables.size(); ++t) {
      job_->parts.append(part, t, buffers_, entries_);
      ends_.push_back(entries_.size());
    }
  }

  Run run_of(std::size_t table) const {
    const std::size_t begin = table == 0 ? 0 : ends_[table - 1];
    return entries_.all().subspan(begin, ends_[table] - begin);
  }

  Run join_runs() {
    runs_.clear();
    for (std::size_t t = 0; t < job_->tables.size(); ++t)
      if (const Run run = run_of(t); !run.empty()) runs_.push_back(run);
    if (runs_.empty()) return {};
    if (runs_.size() == 1) return runs_[0];
    try {
      if (runs_.size() == 2) return join_entries<Mixed>(runs_[0], runs_[1], room(0));
      return add_up<Mixed>(merge_all_runs());
    } catch (const CountOverflow<Mixed>& overflow) {
      refuse_sum<Key>(job_->into, job_->tables, unmixed<Key>(overflow.mixed), [&](std::size_t t) {
        const Run run = run_of(t);
        const std::size_t i = count_below<Mixed>(run, overflow.mixed);
        return i < run.size() && run[i].mixed == overflow.mixed ? run[i].count : 0;
      });
    }
  }

  // In pairs, again and again, while what was read stays where it is. A run that is larger than all others together
  // comes last: its entries are moved once.
  std::span<CountEntry> merge_all_runs() {
    const bool last_waits = runs_.back().size() > entries_.size() / 2;
    std::size_t side = 0, n = runs_.size() - last_waits;
    std::span<CountEntry> all;
    for (; n > 1; n = (n + 1) / 2, side ^= 1) {
      CountEntry* to = room(side);
      for (std::size_t i = 0; i < n; i += 2) {
        all = merge_runs<Mixed>(runs_[i], i + 1 < n ? runs_[i + 1] : Run(), to);
        runs_[i / 2] = all;
        to += all.size();
      }
    }
    return last_waits ? merge_runs<Mixed>(runs_[0], runs_.back(), room(side)) : all;
  }

  CountEntry* room(std::size_t side) {
    if (joined_[side].size() < entries_.size()) joined_[side].resize(entries_.size());
    return joined_[side].data();
  }

  SumJob<Mixed>* job_;
  typename TableFileOf<Mixed>::Buffers buffers_{};
  PlainVector<CountEntry> entries_{};  // of all tables, one behind the other
  PlainVector<std::size_t> ends_{};    // of each table in it
  std::vector<Run> runs_{};
  std::array<PlainVector<CountEntry>, 2> joined_{};
  PlainVector<CountEntry> kept_{};
  BlocksOf<Mixed> blocks_{};
};

/// Writes the sum of tables, without a name yet.
/// @param tables the larger ones last
/// @param nonce  what the sum has absorbed
template <CountKey Key>
std::unique_ptr<AppendFile> write_table_sum(const Directory& directory, const std::filesystem::path& into,
                                            std::span<const TableFileFor<Key>> tables, std::uint64_t nonce,
                                            const SumOptions& options) {
  using Mixed = MixedOf<Key>;
  const SumMemory memory(options, sizeof(EntryOf<Mixed>));
  const std::uint64_t most_entries = memory.entries_of_a_part(tables.size());
  TablePartsOf<Mixed> parts(tables, most_entries, memory.parts(tables.size()));
  TableWriterOf<Mixed> out(directory, into, key_bits<Key>, "merge into");
  out.keep_from(options.at_least);
  SumJob<Mixed> job{tables, into, parts, most_entries, out, options, entries_of<Mixed>(tables)};
  std::vector<SumWorker<Key>> workers;
  for (std::uint64_t t = 0; t < memory.threads; ++t) workers.emplace_back(job);
  while (parts.next()) Sequencer::run(parts.size(), workers);
  check_stop(options, into);
  out.finish(nonce);
  return out.release();
}

/// The same, of 16-bit keys.
template <>
inline std::unique_ptr<AppendFile> write_table_sum<std::uint16_t>(const Directory& directory,
                                                                  const std::filesystem::path& into,
                                                                  std::span<const TableFile> tables,
                                                                  std::uint64_t nonce, const SumOptions& options) {
  SmallCounts sums;
  const std::uint64_t total = entries_of<std::uint64_t>(tables);
  std::uint64_t done = 0;
  for (const TableFile& table : tables) {
    check_stop(options, into);
    const SmallCounts more = SmallCounts::load(table);
    for (std::size_t i = 0; i < small_keys; ++i) {
      const auto key = static_cast<std::uint16_t>(i);
      if (more[key] > std::numeric_limits<std::uint64_t>::max() - sums[key])
        refuse_sum<std::uint16_t>(into, tables, key, [&](std::size_t t) { return SmallCounts::load(tables[t])[key]; });
      sums[key] += more[key];
    }
    done += table.header().entries;
    if (options.progress) options.progress(done, total);
  }
  auto out = std::make_unique<AppendFile>(directory, into, "merge into");
  sums.from(options.at_least).store(*out, nonce, options.at_least, sums.total());
  return out;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
