// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What a count table has counted so far, in a budget of memory and, beyond it, in files without a name.
//
// Adders fill lanes, and these the partitions of a level (adders.hpp, filler.hpp, level.hpp): that is all that adding
// does. When there are no free chunks, whoever needs one makes room:
//
//   settle       counts a partition's records; the sorted result takes their place in memory (settler.hpp)
//   spill        writes the chunks of some partitions to a file
//   compact      counts everything, partition by partition, and spills the counts in its place (compactor.hpp)
//   consolidate  counts everything, partition by partition, into one sorted table without a name (runs.hpp)
//
// Room is made by settling where a trial says that a partition shrinks to a quarter, or that everything would then take
// no more than a third of the memory; else by spilling. When what was spilled has grown beyond its bound, it is counted,
// and its counts are spilled in its place; where that is too much for one pass over each partition, everything is
// consolidated. Who asks for a count that is not in memory has what is new consolidated. A commit is the same, with a
// name; to drain is to give the counts away instead.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/file/table_writer.hpp>
#include <scratch/detail/count/memory/appender.hpp>
#include <scratch/detail/count/memory/chunk_pool.hpp>
#include <scratch/detail/count/memory/hot_keys.hpp>
#include <scratch/detail/count/memory/memory_plan.hpp>
#include <scratch/detail/count/memory/mixing.hpp>
#include <scratch/detail/count/table/adder_state.hpp>
#include <scratch/detail/count/table/adders.hpp>
#include <scratch/detail/count/table/commit_watch.hpp>
#include <scratch/detail/count/table/compactor.hpp>
#include <scratch/detail/count/table/contents.hpp>
#include <scratch/detail/count/table/counting_job.hpp>
#include <scratch/detail/count/table/drain_outlet.hpp>
#include <scratch/detail/count/table/filler.hpp>
#include <scratch/detail/count/table/finder.hpp>
#include <scratch/detail/count/table/level.hpp>
#include <scratch/detail/count/table/runs.hpp>
#include <scratch/detail/count/table/sampler.hpp>
#include <scratch/detail/count/table/settler.hpp>
#include <scratch/detail/count/table/sorted_table.hpp>
#include <scratch/detail/count/table/spilled_bytes.hpp>
#include <scratch/detail/count/table/table_outlet.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

template <class Mixed>
class CountStoreOf {
 public:
  using AdderState = AdderStateOf<Mixed>;
  using CountEntry = EntryOf<Mixed>;
  using CountingJob = CountingJobOf<Mixed>;
  using Lane = LaneOf<Mixed>;
  using SortedTable = SortedTableOf<Mixed>;
  using TableFile = TableFileOf<Mixed>;

  /// @param shown what errors call the table
  CountStoreOf(const Directory& directory, std::filesystem::path shown, std::uint64_t memory, unsigned threads,
               unsigned key_bits, Mixer<Mixed> mix)
      : directory_(directory),
        shown_(std::move(shown)),
        key_bits_(key_bits),
        plan_(memory, threads, key_bits),
        pool_(plan_.pool, plan_.chunk),
        level_(directory_, shown_, pool_, plan_.records,
               std::max<std::size_t>(std::min<std::size_t>(plan_.most_lanes, 16), 1)),
        filler_(level_, sampler_, mix, plan_.keys_at_once(), shown_,
                [this](std::unique_lock<std::mutex>& lock, std::size_t file) { make_room(lock, file); }),
        settler_(level_),
        adders_(level_, plan_) {}

  AdderState& own() { return adders_.own(); }

  /// Adds the counts of a committed table, which stays as it is. Returns their sum.
  std::uint64_t include(TableFile file) {
    file.require_all_keys("write the count table");
    base_total_ = file.header().total;
    included_ = std::make_unique<SortedTable>(std::move(file));
    return base_total_;
  }

  AdderState& acquire() { return adders_.acquire(); }
  void release(AdderState& state) noexcept { adders_.release(state); }
  std::size_t adders() {
    const auto lock = level_.lock();
    return adders_.living();
  }

  // ---- adding: as Filler's

  template <class... Keys>
  void add(AdderState& state, Keys... keys) {
    const auto sharing = adders_.share(state);
    filler_.add(*state.lane, keys...);
  }

  /// Passes on what an adder has in hand.
  void drain(AdderState& state) {
    if (state.waiting > 0) add(state, state.keys, state.waiting);
    state.waiting = 0;
    if (!state.entries.empty()) add(state, state.entries.all());
    state.entries.clear();
  }

  /// All that was added, save for what adders that live have in hand; 2^64 - 1 also stands for more.
  std::uint64_t total() { return saturating_add(base_total_, adders_.total()); }

  /// Whether so much was added here that it matters for the sum of all.
  bool has_much(const AdderState& state) const { return state.lane->total.load(std::memory_order_relaxed) >> 54 != 0; }

  // ---- while nobody adds

  /// How often a mixed key was counted.
  std::uint64_t get(Mixed mixed) {
    collect();
    fold_lanes();
    const std::size_t p = plan_.records.of(mixed);
    if (!level_.contents().partitions[p].segments.empty()) consolidate_new();
    sort_where_it_pays(p);
    std::uint64_t count =
        Finder{plan_.records, pool_}.find(level_.contents().partitions[p], adders_.lanes().front()->appender, p, mixed);
    for (const std::unique_ptr<Lane>& lane : adders_.lanes()) count += lane->hot.find(mixed);
    if (runs_.empty() && !included_) return count;
    typename TableFile::Buffers& buffers = settler_.thread().table;
    return count + runs_.find(mixed, buffers) + (included_ ? included_->find(mixed, buffers) : 0);
  }

  /// Nothing that was counted is in memory alone afterwards.
  void flush() {
    collect();
    for (const std::unique_ptr<Lane>& lane : adders_.lanes()) filler_.evict_hot_keys(*lane);
    level_.flush(adders_.appenders());
    if (const std::uint64_t news = spilled_.news(); news > 0) directory_.emit(EventKind::spill, shown_, news);
    pool_.release();
  }

  /// All counts as a table of this name: how many keys it has, and has not. Nothing is here afterwards; where it fails, everything is.
  /// @param total    of all that was added
  /// @param at_least what is counted less often is left out
  CommittedKeys commit(const std::string& name, Replacing replacing, std::uint64_t total, std::uint64_t at_least,
                       CommitWatch& watch) {
    TableWriterOf<Mixed> out(directory_, shown_, key_bits_, "write the count table");
    out.keep_from(at_least);
    count_all(watch, [&](const CountingJob& job) { TableOutletOf<Mixed>::write(job, plan_.threads, key_bits_, out); });
    require_total("write the count table", shown_, out.header().total, total);
    watch.end();
    out.commit(name, replacing);
    forget();
    return {out.header().entries, out.left_out().keys};
  }

  /// All counts to whoever wants them. As `commit`, save that nothing is here, too, where it fails once it has begun.
  void give_all(DrainingOf<Mixed>& draining, std::uint64_t total) {
    try {
      count_all(draining.watch,
                [&](const CountingJob& job) { DrainOutletOf<Mixed>::run(job, level_, plan_.threads, draining); });
      require_total("drain the count table", shown_, draining.total, total);
      draining.watch.end();
    } catch (...) {
      if (draining.begun) forget();
      throw;
    }
    forget();
  }

 private:
  // What adders that are gone had in hand, and full chunks of all lanes, come to the level.
  void collect() {
    for (AdderState* state : adders_.idle()) drain(*state);
    for (const std::unique_ptr<Lane>& lane : adders_.lanes()) filler_.pay(*lane);
    end_streaming();
    const auto lock = level_.lock();
    for (const std::unique_ptr<Lane>& lane : adders_.lanes()) level_.hand_over(lane->appender);
  }

  // ---- making room, under the lock

  void make_room(std::unique_lock<std::mutex>& lock, std::size_t file) {
    constexpr std::size_t most_segments = 262'144;
    if (level_.is_exclusive()) return level_.wait_for_change(lock);
    const std::uint64_t next = std::min<std::uint64_t>(pool_.count() * pool_.chunk_size() / 4, 4_MiB);
    if (spilled_.would_exceed(next) || level_.segments() > most_segments)
      return level_.exclusively(lock, [&] {
        if (!compact(lock)) consolidate(lock, {}, true);
      });
    const std::size_t wanted = std::clamp<std::size_t>(pool_.count() / 16, 1, 1_MiB / pool_.chunk_size());
    if (round_ == 0) {
      round_ = pool_.count() / wanted;
      level_.exclusively(lock, [&] { settling_ = settler_.pays(lock); });
      if (pool_.available() > 0) return;
    }
    --round_;
    if (!settling_) return spill(lock, file);
    level_.exclusively(lock, [&] {
      for (std::size_t tried = 0; tried < plan_.records.partitions() && pool_.available() < wanted; ++tried) {
        settler_.settle(lock, settle_cursor_);
        settle_cursor_ = (settle_cursor_ + 1) % plan_.records.partitions();
      }
    });
    if (pool_.available() >= wanted / 4 + 1) return;
    settling_ = false;
    spill(lock, file);
  }

  void spill(std::unique_lock<std::mutex>& lock, std::size_t file) {
    level_.spill(lock, file);
    constexpr std::uint64_t worth_telling = 16_MiB;
    const std::uint64_t news = spilled_.news(worth_telling);
    if (news == 0) return;
    lock.unlock();
    directory_.emit(EventKind::spill, shown_, news);
    lock.lock();
  }

  // Counts everything that the level has, partition by partition, and spills the counts in its place: less work than to
  // consolidate. False, and nothing has changed, where that does not pay, or a partition has too many keys.
  bool compact(std::unique_lock<std::mutex>& lock) {
    const std::vector<std::uint64_t> distinct = distinct_by_partition({});
    if (key_bits_ < 64 || will_split<Mixed>(plan_.records, pool_, level_.contents(), {}, distinct)) return false;
    Contents counts;
    counts.partitions.resize(distinct.size());
    counts.files.resize(Level::most_files);
    Contents taken = level_.take_out();
    lock.unlock();
    bool done = false;
    try {
      CompactingJob job{directory_, shown_, plan_.records, pool_, taken, distinct, counts};
      done = CompactorOf<Mixed>::run(job, plan_.threads);
    } catch (...) {
      lock.lock();
      level_.put_back(taken);
      throw;
    }
    lock.lock();
    if (!done) {
      level_.put_back(taken);
      return false;
    }
    level_.drop(taken);
    level_.install(counts);
    spilled_.begin_anew();
    level_.tell();
    return true;
  }

  // Contents may be others afterwards.
  void sort_where_it_pays(std::size_t p) {
    if (!Finder{plan_.records, pool_}.is_slow_in(level_.contents().partitions[p])) return;
    auto lock = level_.lock();
    if (settler_.settle(lock, p)) return;
    lock.unlock();
    consolidate_new();
    fold_lanes();
  }

  // What is in the hands of adders that are gone comes to the table's own.
  void fold_lanes() {
    for (std::size_t i = 1; i < adders_.lanes().size(); ++i)
      filler_.fold(*adders_.lanes()[i], *adders_.lanes().front());
  }

  // ---- counting everything

  std::vector<std::uint64_t> distinct_by_partition(std::span<const SortedTable* const> tables) {
    std::vector<std::uint64_t> distinct(plan_.records.partitions());
    sampler_.by_range(std::min(key_bits_, 64U), distinct);
    for (const SortedTable* table : tables)
      for (std::uint64_t& n : distinct) n += table->file().header().entries / distinct.size();
    return distinct;
  }

  CountingJob job(const Contents& contents, std::span<Appender* const> all, std::span<const CountEntry> hot,
                  std::span<const SortedTable* const> tables, std::span<const std::uint64_t> distinct,
                  CommitWatch* watch = nullptr) const {
    const std::uint64_t split_memory = pool_.available() * pool_.chunk_size() / plan_.threads;
    return {directory_, shown_, plan_.records, pool_, contents, all, hot, tables, distinct, split_memory, watch};
  }

  // Calls `count` with everything that was added, of which nothing has changed.
  template <class Count>
  void count_all(CommitWatch& watch, Count count) {
    collect();
    const PlainVector<CountEntry> hot = adders_.hot_keys();
    std::vector<const SortedTable*> tables = runs_.tables();
    if (included_) tables.push_back(included_.get());
    const std::vector<Appender*> all = adders_.appenders();
    for (const std::unique_ptr<Lane>& lane : adders_.lanes()) sampler_.join(*lane);
    const std::vector<std::uint64_t> distinct = distinct_by_partition(tables);
    watch.begin(count_records(plan_.records, pool_, level_.contents(), all));
    ReleasedChunks released;
    if (will_split<Mixed>(plan_.records, pool_, level_.contents(), all, distinct)) {
      level_.flush(all, [&] { watch.look(); });
      released.release(pool_);
    }
    count(job(level_.contents(), all, hot.all(), tables, distinct, &watch));
  }

  void forget() noexcept {
    for (std::size_t p = 0; p < plan_.records.partitions(); ++p) level_.drop(p);
    level_.contents().files.assign(Level::most_files, nullptr);
    runs_.clear();
    included_.reset();
    adders_.lanes().front()->hot = HotKeysOf<Mixed>(2);
    pool_ = ChunkPool();
  }

  void consolidate_new() {
    auto lock = level_.lock();
    for (const std::unique_ptr<Lane>& lane : adders_.lanes()) sampler_.join(*lane);
    consolidate(lock, adders_.appenders(), false);
  }

  // One table takes the place of what the level and these appenders have, and of tables that are not much larger; of
  // all tables, where that is wanted.
  void consolidate(std::unique_lock<std::mutex>& lock, const std::vector<Appender*>& hands, bool all) {
    for (Appender* hand : hands) level_.hand_over(*hand);
    const std::size_t staying = all ? 0 : runs_.staying(count_records(plan_.records, pool_, level_.contents(), hands));
    const std::vector<const SortedTable*> tables = runs_.tables(staying);
    runs_.make_room();

    const std::vector<std::uint64_t> distinct = distinct_by_partition(tables);
    ChunkLoan lent(pool_, lock);  // to those who split
    if (will_split<Mixed>(plan_.records, pool_, level_.contents(), hands, distinct)) {
      level_.flush(hands);
      lent.take(adders_.living() > 0 ? 4 : 16);
    }
    Contents taken = level_.take_out();
    RunOf<Mixed> run;
    CountingJob what = job(taken, hands, {}, tables, distinct);
    what.split_memory = lent.bytes() / plan_.threads;
    lock.unlock();
    try {
      TableWriterOf<Mixed> out(directory_, shown_, key_bits_, "consolidate counts of");
      TableOutletOf<Mixed>::write(what, plan_.threads, key_bits_, out);
      const CountHeader header = out.header();
      run.file = out.release();
      run.table = std::make_unique<SortedTable>(TableFile(run.file->duplicate(), shown_, header));
    } catch (...) {
      lock.lock();
      level_.put_back(taken);
      throw;
    }
    directory_.emit(EventKind::spill, shown_, run.file->size(), "consolidated");
    lock.lock();
    level_.drop(taken);
    for (Appender* hand : hands)
      for (std::size_t p = 0; p < plan_.records.partitions(); ++p) hand->clear(p);
    runs_.replace(staying, std::move(run));
    spilled_.begin_anew();
    level_.tell();
  }

  Directory directory_;
  std::filesystem::path shown_;
  unsigned key_bits_;
  MemoryPlan plan_;
  ChunkPool pool_;
  Level level_;
  Sampler sampler_{};
  FillerOf<Mixed> filler_;
  SettlerOf<Mixed> settler_;
  AddersOf<Mixed> adders_;
  std::uint64_t base_total_ = 0;  // of the table that is added to
  std::unique_ptr<SortedTable> included_{};
  RunsOf<Mixed> runs_{};
  SpilledBytesOf<Mixed> spilled_{plan_.budget, key_bits_, level_, sampler_, runs_};
  std::size_t round_ = 1, settle_cursor_ = 0;
  bool settling_ = false;
};
}  // namespace scratch::inline SCRATCH_ABI::detail
