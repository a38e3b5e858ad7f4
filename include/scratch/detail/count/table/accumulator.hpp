// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What a count table has counted so far, in a budget of memory and, beyond it, in a spill.
//
// Keys are mixed. Those that come often are counted at once (hot_keys.hpp); the records of all others go to the streams
// of the partitions that they fall in, and that is all that adding does. When memory is full, round after round through
// the partitions, a few at a time, so that writing in the background keeps up:
//
//   compact  count a partition's records; the sorted result takes their place in memory
//   spill    append a partition's records, and what was compacted, to the spill file
//
// A round compacts where a trial says that a partition shrinks to a quarter (many duplicates, or few keys: less costs
// more than reading it back), or that everything would then take no more than a third of the memory, else it spills.
// When the spill has grown beyond its bound, or somebody asks for a count that is not in memory, everything is
// consolidated: counted, partition by partition, into one table without a name, which takes the place of spill and
// memory. A commit is the same, with a name.
//
// Where one partition has most of the records, the mixed keys are not uniform: the keys were chosen so. Then everything
// is consolidated, and the keys are partitioned anew: bounds from that table's index, between them equal numbers of
// keys.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/detail/count/format/block.hpp>
#include <scratch/detail/count/memory/aggregate.hpp>
#include <scratch/detail/count/memory/distinct_estimate.hpp>
#include <scratch/detail/count/memory/hot_keys.hpp>
#include <scratch/detail/count/memory/page_pool.hpp>
#include <scratch/detail/count/memory/partitioning.hpp>
#include <scratch/detail/count/memory/partitions.hpp>
#include <scratch/detail/count/memory/streams.hpp>
#include <scratch/detail/count/table/partition_counter.hpp>
#include <scratch/detail/count/table/partitioned_table.hpp>
#include <scratch/detail/count/table/sources.hpp>
#include <scratch/detail/count/table/spill.hpp>
#include <scratch/detail/count/table/table_file.hpp>
#include <scratch/detail/count/table/table_writer.hpp>
#include <scratch/detail/workspace/directory.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

template <CountKey Key>
class Accumulator {
 public:
  /// @param shown what errors call the table
  Accumulator(const Directory& directory, std::filesystem::path shown, std::uint64_t memory, unsigned threads)
      : directory_(directory),
        shown_(std::move(shown)),
        memory_(memory),
        threads_(std::max(threads, 1U)),
        partitions_(memory - memory / 16, partitions_for(memory)),
        hot_keys_(hot_slots_for(memory)),
        aggregate_(table_limit(memory, 1)) {}

  /// Adds the counts of a committed table, which stays as it is. Returns their sum.
  std::uint64_t include(TableFile file) {
    const std::uint64_t total = file.header().total;
    included_.emplace(std::move(file), partitions_.ranges.starts());
    return total;
  }

  /// Counts each key once. All of them are counted when this returns, and none when it throws.
  /// @throws Error when what was counted before could not be spilled; std::bad_alloc
  void add(std::span<const Key> keys) {
    constexpr std::size_t at_once = 65536;
    prepare();
    for (; !keys.empty(); keys = keys.subspan(std::min(keys.size(), at_once))) {
      const std::span<const Key> some = keys.first(std::min(keys.size(), at_once));
      if (uneven_) try_to_repartition();
      const auto more = [this](Streams& streams, std::size_t p) { return extend(streams, p); };
      if (!hot_keys_.are_known()) {
        hot_keys_.watch(some);
        partitions_.add(some, more);
      } else {
        std::size_t counted = 0;
        partitions_.add(some, more, [&](std::uint64_t mixed) {
          const bool is_hot = hot_keys_.count(mixed);
          counted += is_hot;
          return is_hot;
        });
        if (hot_keys_.are_rare(counted, some.size())) evict_hot_keys();
      }
    }
  }

  /// Counts each key as often as is said.
  void add(std::span<const Key> keys, std::span<const std::uint64_t> counts) {
    prepare();
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (counts[i] == 0) continue;
      if (uneven_) try_to_repartition();
      partitions_.add({mix(keys[i]), counts[i]},
                      [this](Streams& streams, std::size_t p) { return extend(streams, p); });
    }
  }

  /// How often a key was counted.
  std::uint64_t get(Key key) {
    const std::uint64_t mixed = mix(key);
    std::size_t p = partitions_.ranges.of(mixed);
    if (spill_ && spill_->has(p)) {
      consolidate();
      if (uneven_) repartition();
      p = partitions_.ranges.of(mixed);
    }
    constexpr std::size_t most_uncounted = 512;
    if (partitions_.uncounted(p) > most_uncounted) compact(p);
    std::uint64_t count = hot_keys_.find(mixed) + partitions_.find(p, mixed);
    if (run_) count += run_->find(p, mixed, buffers_);
    if (included_) count += included_->find(p, mixed, buffers_);
    return count;
  }

  /// Nothing that was counted is in memory alone afterwards.
  void flush() {
    retry_making_room();
    evict_hot_keys();
    for (std::size_t p = 0; p < partitions_.ranges.count(); ++p) spill(p);
    if (spill_) spill_->flush();
    if (spill_) spill_->report();
    partitions_.pool.release();
  }

  /// All counts as a table of this name. Afterwards nothing of them is here; where it fails, everything is.
  /// @returns how many keys there are
  std::uint64_t commit(const std::string& name, Replacing replacing) {
    evict_hot_keys();
    TableWriter out = write_table("write the count table", true);
    out.finish(0);
    out.commit(name, replacing);
    partitions_.clear_all();
    partitions_.pool.release();
    if (spill_) spill_->discard();
    run_.reset();
    run_file_.reset();
    included_.reset();
    return out.header().entries;
  }

  std::uint64_t spilled() const { return (spill_ ? spill_->size() : 0) + (run_ ? run_->file().size() : 0); }

 private:
  static constexpr unsigned bits = key_bits<Key>;
  static std::size_t partitions_for(std::uint64_t memory) {
    return std::clamp<std::size_t>(std::bit_floor(static_cast<std::size_t>(memory >> 16)), 4, 1024);
  }
  static std::size_t hot_slots_for(std::uint64_t memory) {
    return std::min<std::size_t>(std::bit_floor(static_cast<std::size_t>(memory / 128 / sizeof(CountEntry))), 32768);
  }
  static std::size_t table_limit(std::uint64_t memory, unsigned threads) {
    return std::clamp<std::size_t>(std::bit_floor(static_cast<std::size_t>(memory / 8 / threads)), 256_KiB, 8_MiB);
  }

  void evict_hot_keys() {
    hot_keys_.evict([this](const CountEntry& entry) {
      partitions_.add(entry, [this](Streams& streams, std::size_t p) { return extend(streams, p); });
    });
  }

  [[gnu::noinline]] std::byte* extend(Streams& streams, std::size_t p) {
    if (partitions_.pool.is_full()) make_room();
    streams.extend(p, allocate_page());
    return streams.heads()[p];
  }

  std::uint32_t allocate_page() {
    try {
      return partitions_.pool.allocate();
    } catch (const std::exception&) {
      partitions_.pool.stop_growing();  // then this much is the budget
    }
    make_room();
    try {
      return partitions_.pool.allocate();
    } catch (const std::exception&) {
      broken_ = true;
      throw;
    }
  }

  // ---- when memory is full

  // Before anything is counted: what could not be spilled last time must go now.
  void prepare() {
    if (broken_)
      throw Error(std::make_error_code(std::errc::not_enough_memory), "count in", shown_,
                  "memory ended in the middle of a call; drop this table");
    if (failed_) retry_making_room();
    if (uneven_) repartition();
  }

  void retry_making_room() {
    failed_ = false;
    try {
      if (partitions_.pool.is_full()) make_room_or_throw();
    } catch (...) {
      failed_ = true;
      throw;
    }
  }

  // In the middle of a call nothing may fail: keys that are there are counted beyond the budget then, and the next call
  // says what happened.
  void make_room() {
    if (failed_) return;
    try {
      make_room_or_throw();
    } catch (const std::exception&) {
      failed_ = true;
    }
  }

  void make_room_or_throw() {
    const std::size_t wanted = std::clamp<std::size_t>(partitions_.pool.most() / 64, 1, 256);
    const std::size_t target = partitions_.pool.most() > wanted ? partitions_.pool.most() - wanted : 0;
    for (std::size_t tried = 0; partitions_.pool.used() > target && tried <= 2 * partitions_.ranges.count(); ++tried) {
      if (cursor_ == 0) begin_round();
      if (tried > partitions_.ranges.count()) compacting_ = false;
      if (!compacting_ || !compact(cursor_)) spill(cursor_);
      cursor_ = (cursor_ + 1) % partitions_.ranges.count();
    }
  }

  void begin_round() {
    if (spill_) spill_->report();
    std::size_t largest = 0;
    for (std::size_t p = 1; p < partitions_.ranges.count(); ++p)
      if (partitions_.pages(p) > partitions_.pages(largest)) largest = p;
    // A trial with a partition of the usual size.
    std::vector<std::size_t> order(std::min<std::size_t>(partitions_.ranges.count(), 9));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i * partitions_.ranges.count() / order.size();
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return partitions_.pages(a) < partitions_.pages(b); });
    std::size_t trial = order[order.size() / 2];
    const bool uneven = partitions_.pages(largest) > partitions_.pool.used() / 4 && partitions_.ranges.count() > 4;
    if (uneven) trial = largest;
    const std::size_t before = partitions_.pages(trial);
    compacting_ =
        compact(trial) && (partitions_.pages(trial) <= before / 4 + 1 ||
                           partitions_.pages(trial) * partitions_.ranges.count() <= partitions_.pool.most() / 3);
    // One partition has most of the keys, and they are many: not now, in the middle of a call.
    if (uneven && !compacting_) uneven_ = true;
  }

  // Counts a partition's records in memory. False, and nothing changed, where there are more distinct keys in it than
  // can be sorted in one go.
  bool compact(std::size_t p) {
    if (partitions_.plain.pages(p) == 0 && partitions_.weighted.pages(p) == 0) return true;
    aggregate_.begin(partitions_.ranges.first(p), partitions_.ranges.last(p),
                     usual_distinct_ > 0 ? usual_distinct_ : partitions_.uncounted(p));
    partitions_.count(p, aggregate_);
    if (!aggregate_.finish()) return false;
    const std::span<const CountEntry> entries = aggregate_.entries();
    usual_distinct_ = entries.size();
    for (const CountEntry& entry : entries) distinct_.see(entry.mixed);
    broken_ = true;  // should there be no memory for a page: these counts are nowhere else for a moment
    partitions_.replace(p, entries);
    broken_ = false;
    return true;
  }

  // ---- spilling

  void spill(std::size_t p) {
    if (partitions_.pages(p) == 0) return;
    if (spilled() + run_estimate() + partitions_.pages(p) * PagePool::page_size > bound()) {
      consolidate();
      return;
    }
    if (!spill_) spill_.emplace(directory_, shown_, partitions_.ranges.count());
    spill_->append(p, partitions_, distinct_);
  }

  // Hardly ever more than there are.
  std::uint64_t distinct_estimate() const {
    return std::max(run_ ? run_->file().header().entries : 0, distinct_.distinct() - distinct_.distinct() / 16);
  }
  // A key's content is itself and, at least, a byte of its count.
  std::uint64_t bound() const { return 2 * memory_ + 4 * (sizeof(Key) + 1) * distinct_estimate(); }
  // What consolidating would write.
  std::uint64_t run_estimate() const {
    const std::uint64_t n = distinct_.distinct();
    const std::uint64_t formula = n * (bits + 12 - static_cast<unsigned>(std::bit_width(n | 1))) / 8;
    return std::max(formula, run_ ? run_->file().size() : 0);
  }

  // ---- counting

  TableWriter write_table(std::string doing, bool with_included) {
    if (spill_) spill_->flush();
    TableWriter out(directory_, shown_, bits, std::move(doing));
    Sources<Key> sources{partitions_, spill_ ? &*spill_ : nullptr, {}};
    if (run_) sources.tables.push_back(&*run_);
    if (with_included && included_) sources.tables.push_back(&*included_);
    std::vector<PartitionCounter<Key>> counters;
    for (unsigned i = 0; i < std::min<std::size_t>(threads_, partitions_.ranges.count()); ++i)
      counters.emplace_back(sources, out, table_limit(memory_, threads_));
    Sequencer::run(partitions_.ranges.count(), counters);
    return out;
  }

  // ---- consolidating

  // One table without a name takes the place of spill and memory.
  void consolidate() {
    TableWriter out = write_table("consolidate counts of", false);
    out.finish(0);
    const CountHeader header = out.header();
    std::unique_ptr<AppendFile> file = out.release();
    file->finish_appending();
    PartitionedTable run(TableFile(file->duplicate(), shown_, header), partitions_.ranges.starts());
    directory_.emit(EventKind::spill, shown_, file->size(), "consolidated");
    partitions_.clear_all();
    spill_.reset();
    run_file_ = std::move(file);
    run_ = std::move(run);
  }

  void try_to_repartition() {
    try {
      repartition();
    } catch (const std::exception&) {
      uneven_ = false;  // the next round will say it again
    }
  }

  void repartition() {
    consolidate();
    const std::uint64_t each = std::max<std::uint64_t>(run_->file().block_count() / partitions_.ranges.count(), 1);
    PlainVector<std::uint64_t> starts{0};
    std::uint64_t i = 0;
    run_->file().for_each_block([&](const BlockRecord& record, std::uint64_t) {
      if (i++ % each == 0 && record.first > starts.back()) starts.push_back(record.first);
    });
    Partitioning ranges(bits, std::move(starts));
    PartitionedTable::Positions run = run_->positions(ranges.starts()), included;
    if (included_) included = included_->positions(ranges.starts());
    partitions_.rearrange(std::move(ranges));
    run_->divide(std::move(run));
    if (included_) included_->divide(std::move(included));
    cursor_ = 0;
    uneven_ = false;
  }

  Directory directory_;
  std::filesystem::path shown_;
  std::uint64_t memory_;
  unsigned threads_;
  Partitions<Key> partitions_;
  HotKeys hot_keys_;
  std::optional<Spill<Key>> spill_;
  std::unique_ptr<AppendFile> run_file_;
  std::optional<PartitionedTable> run_, included_;
  DistinctEstimate distinct_;

  std::size_t cursor_ = 0;  // the partition that is compacted or spilled next
  bool compacting_ = false;
  bool uneven_ = false;
  bool failed_ = false;
  bool broken_ = false;

  Aggregate aggregate_;
  std::size_t usual_distinct_ = 0;
  TableFile::Buffers buffers_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
