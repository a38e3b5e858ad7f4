// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What a count table has counted so far, in a budget of memory and, beyond it, in files without a name.
//
// Keys are mixed. Those that come often are counted at once (hot_keys.hpp); the records of all others are appended to
// the partitions that they fall in (appender.hpp, level.hpp), by any number of threads, and that is all that adding
// does. When there are no free chunks, whoever needs one makes room:
//
//   settle       counts a partition's records; the sorted result takes their place in memory
//   spill        writes the chunks of some partitions to a file
//   consolidate  counts everything, partition by partition, into one sorted table without a name
//
// Room is made by settling where a trial says that a partition shrinks to a quarter, or that everything would then take
// no more than a third of the memory; else by spilling. When what was spilled has grown beyond its bound, it is counted,
// and its counts are spilled in its place; where that is too much for one pass over each partition, everything is
// consolidated. Who asks for a count that is not in memory has what is new consolidated; tables of about one size are
// consolidated to one, so that they stay few and each key is moved a few times. A commit is the same, with a name.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/detail/count/memory/appender.hpp>
#include <scratch/detail/count/memory/chunk_pool.hpp>
#include <scratch/detail/count/memory/counting_pass.hpp>
#include <scratch/detail/count/memory/distinct_estimate.hpp>
#include <scratch/detail/count/memory/hot_keys.hpp>
#include <scratch/detail/count/memory/lines.hpp>
#include <scratch/detail/count/memory/mixing.hpp>
#include <scratch/detail/count/memory/records.hpp>
#include <scratch/detail/count/table/adder_state.hpp>
#include <scratch/detail/count/table/contents.hpp>
#include <scratch/detail/count/table/level.hpp>
#include <scratch/detail/count/table/partition_counter.hpp>
#include <scratch/detail/count/table/sorted_table.hpp>
#include <scratch/detail/count/table/table_file.hpp>
#include <scratch/detail/count/table/table_writer.hpp>
#include <scratch/detail/kernel/random.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/kernel/thread.hpp>
#include <scratch/detail/text/little_endian.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// How the memory of a count table is divided.
struct MemoryPlan {
  std::uint64_t budget;
  unsigned threads;  ///< that count
  Records records;
  std::size_t chunk;
  std::uint64_t pool;
  std::size_t most_lanes;  ///< threads that add without sharing

  static constexpr std::uint64_t counting = 4_MiB;  // of a thread that counts; four of them are beyond the budget

  MemoryPlan(std::uint64_t memory, unsigned wanted_threads, unsigned key_bits)
      : budget(memory),
        threads(static_cast<unsigned>(std::clamp<std::uint64_t>(
            wanted_threads, 1, std::min<std::uint64_t>(sys::processors(), 4 + memory / 2 / counting)))),
        records{key_bits, std::clamp(static_cast<unsigned>(std::bit_width(memory >> 13)) - 1, 4U, 8U)},
        chunk(static_cast<std::size_t>(
            std::clamp<std::uint64_t>(std::bit_floor(memory / 4 / (records.partitions() * 16)), 512, 4096))),
        pool(memory - memory / 16 - (threads > 4 ? std::min((threads - 4) * counting, memory / 2) : 0)) {
    // A lane has a chunk of each partition in hand, and as many that are full at the end of a long call; that of the
    // table has them for records with counts, too. The rest of the chunks must be able to move.
    const std::size_t chunks = static_cast<std::size_t>(pool / chunk), in_hand = 2 * records.partitions();
    const std::size_t for_lanes = std::max(chunks / 4 * 3, 3 * in_hand) - 3 * in_hand;
    most_lanes = std::min<std::size_t>(for_lanes / in_hand, 12_MiB / (records.partitions() * Records::granule_room));
  }

  std::size_t hot_slots(std::size_t lanes) const {
    return static_cast<std::size_t>(
        std::clamp<std::uint64_t>(std::bit_floor(budget / 1024 / std::max<std::size_t>(lanes, 1)), 256, 16384));
  }
  /// Keys of a call that are counted all or none.
  std::size_t keys_at_once() const {
    return static_cast<std::size_t>(std::clamp<std::uint64_t>(pool / 256 / 8, 1024, 65536));
  }
};

class CountStore {
 public:
  /// @param shown what errors call the table
  CountStore(const Directory& directory, std::filesystem::path shown, std::uint64_t memory, unsigned threads,
             unsigned key_bits, Mixer mix)
      : directory_(directory),
        shown_(std::move(shown)),
        key_bits_(key_bits),
        mix_(mix),
        plan_(memory, threads, key_bits),
        pool_(plan_.pool, plan_.chunk),
        level_(directory_, shown_, pool_, plan_.records,
               std::max<std::size_t>(std::min<std::size_t>(plan_.most_lanes, 16), 1)),
        estimate_(random_number() | 1) {
    lanes_.reserve(plan_.most_lanes + 1);
    add_lane();
    own_ = add_state(lanes_.front().get());
    idle_.pop_back();
  }

  AdderState& own() { return *own_; }

  /// Adds the counts of a committed table, which stays as it is. Returns their sum.
  std::uint64_t include(TableFile file) {
    base_total_ = file.header().total;
    included_ = std::make_unique<SortedTable>(std::move(file));
    return base_total_;
  }

  // ---- adders

  AdderState& acquire() {
    const auto lock = level_.lock();
    if (idle_.empty()) {
      const bool own = lanes_.size() <= plan_.most_lanes;
      if (own) add_lane();
      add_state(own ? lanes_.back().get() : lanes_.front().get());
    }
    AdderState* const state = idle_.back();
    idle_.pop_back();
    ++adders_;
    return *state;
  }
  void release(AdderState& state) noexcept {
    end_streaming();
    const auto lock = level_.lock();
    idle_.push_back(&state);  // has room for all
    --adders_;
  }
  std::size_t adders() {
    const auto lock = level_.lock();
    return adders_;
  }

  // ---- adding

  /// Counts each of these keys once. All of them are counted when this returns; none when it throws, save that a call
  /// with more than `most_at_once` may end after some thousand: the error then says how many were counted.
  void add(AdderState& state, const void* keys, std::size_t n) {
    std::unique_lock<std::mutex> sharing = share(state);
    add_in_parts(
        *state.lane, n, plan_.keys_at_once(),
        [&](std::size_t from, std::size_t some) { add_some(*state.lane, keys, from, some); },
        [&](std::size_t from, std::size_t some) {
          mix_(keys, from, some, state.lane->mixed.data());
          for (std::size_t i = 0; i < some; ++i) state.lane->debt.push_back({state.lane->mixed[i], ~std::uint64_t{0}});
          return some;
        });
  }
  /// Counts them as often as is said.
  void add(AdderState& state, const void* keys, const std::uint64_t* counts, std::size_t n) {
    std::unique_lock<std::mutex> sharing = share(state);
    Lane& lane = *state.lane;
    PlainVector<CountEntry> entries;
    entries.resize(std::min(n, Lane::batch));
    add_in_parts(
        lane, n, Lane::batch,
        [&](std::size_t from, std::size_t some) {
          mix_(keys, from, some, lane.mixed.data());
          for (std::size_t i = 0; i < some; ++i) entries[i] = {lane.mixed[i], counts[from + i]};
          add_some(lane, entries.first(some));
        },
        [&](std::size_t from, std::size_t some) {
          mix_(keys, from, some, lane.mixed.data());
          std::uint64_t all = 0;
          for (std::size_t i = 0; i < some; ++i) {
            lane.debt.push_back({lane.mixed[i], std::uint64_t{0} - counts[from + i]});
            all += counts[from + i];
          }
          return all;
        });
  }
  /// The same for mixed keys.
  void add(AdderState& state, std::span<const CountEntry> entries) {
    std::unique_lock<std::mutex> sharing = share(state);
    add_some(*state.lane, entries);
  }

  /// Passes on what an adder has in hand.
  void drain(AdderState& state) {
    if (state.waiting > 0) add(state, state.keys.data(), state.waiting);
    state.waiting = 0;
    if (!state.entries.empty()) add(state, state.entries.all());
    state.entries.clear();
  }

  /// All that was added, save for what adders that live have in hand; 2^64 - 1 also stands for more.
  std::uint64_t total() {
    const auto lock = level_.lock();
    std::uint64_t sum = saturating_add(total_here(), own_->total());
    for (const AdderState* state : idle_) sum = saturating_add(sum, state->total());
    return sum;
  }

  /// Whether so much was added here that it matters for the sum of all.
  bool has_much(const AdderState& state) const { return state.lane->total.load(std::memory_order_relaxed) >> 54 != 0; }

  // ---- while nobody adds

  /// How often a mixed key was counted.
  std::uint64_t get(std::uint64_t mixed) {
    collect();
    fold_lanes();
    const std::size_t p = plan_.records.of(mixed);
    if (!level_.contents().partitions[p].segments.empty()) consolidate_quietly(false);
    std::uint64_t count = find_in_memory(p, mixed);
    for (const std::unique_ptr<Lane>& lane : lanes_) count += lane->hot.find(mixed);
    for (const Run& run : runs_) count += run.table->find(mixed, table_buffers());
    if (included_) count += included_->find(mixed, table_buffers());
    return count;
  }

  /// Nothing that was counted is in memory alone afterwards.
  void flush() {
    collect();
    for (const std::unique_ptr<Lane>& lane : lanes_) evict_hot_keys(*lane);
    level_.flush(appenders());
    if (const std::uint64_t news = unreported(); news > 0) directory_.emit(EventKind::spill, shown_, news);
    pool_.release();
  }

  /// All counts as a table of this name. Afterwards nothing of them is here; where it fails, everything is.
  /// @param total of all that was added
  /// @returns how many keys there are
  std::uint64_t commit(const std::string& name, Replacing replacing, std::uint64_t total) {
    collect();
    PlainVector<CountEntry> hot;
    for (const std::unique_ptr<Lane>& lane : lanes_)
      lane->hot.for_each([&](const CountEntry& entry) { hot.push_back(entry); });
    std::sort(hot.begin(), hot.end(), [](const CountEntry& a, const CountEntry& b) { return a.mixed < b.mixed; });
    std::vector<const SortedTable*> tables;
    for (const Run& run : runs_) tables.push_back(run.table.get());
    if (included_) tables.push_back(included_.get());
    const std::vector<Appender*> all = appenders();
    join_samples();
    const std::vector<std::uint64_t> distinct = distinct_by_partition(tables);
    if (will_split(level_.contents(), all, distinct)) {
      level_.flush(all);
      pool_.release();
    }
    TableWriter out(directory_, shown_, key_bits_, "write the count table");
    write(level_.contents(), all, hot.all(), tables, distinct, out);
    if (out.header().total != total)
      throw Error(errc::corrupt, "write the count table", shown_,
                  "the counts add up to " + std::to_string(out.header().total) + ", not to the " +
                      std::to_string(total) + " that were added: a fault of this library or of the memory");
    out.commit(name, replacing);
    for (std::size_t p = 0; p < plan_.records.partitions(); ++p) level_.drop(p);
    level_.contents().files.assign(Level::most_files, nullptr);
    runs_.clear();
    included_.reset();
    lanes_.front()->hot = HotKeys(2);
    pool_ = ChunkPool();
    return out.header().entries;
  }

 private:
  struct Run {
    std::unique_ptr<AppendFile> file;
    std::unique_ptr<SortedTable> table;
    std::uint64_t entries() const { return table->file().header().entries; }
  };

  std::uint64_t total_here() const {
    std::uint64_t sum = base_total_;
    for (const std::unique_ptr<Lane>& lane : lanes_)
      sum = saturating_add(sum, lane->total.load(std::memory_order_relaxed));
    return sum;
  }

  // What adders that are gone had in hand, and full chunks of all lanes, come to the level.
  void collect() {
    for (AdderState* state : idle_) drain(*state);
    for (const std::unique_ptr<Lane>& lane : lanes_) pay(*lane);
    end_streaming();
    const auto lock = level_.lock();
    for (const std::unique_ptr<Lane>& lane : lanes_) level_.hand_over(lane->appender);
  }

  void add_lane() {
    lanes_.push_back(std::make_unique<Lane>(pool_, plan_.records, plan_.hot_slots(lanes_.size() + 1), lanes_.size()));
  }
  AdderState* add_state(Lane* lane) {
    states_.reserve(states_.size() + 1);
    idle_.reserve(states_.size() + 1);
    states_.push_back(std::make_unique<AdderState>(lane));
    idle_.push_back(states_.back().get());
    return states_.back().get();
  }
  std::vector<Appender*> appenders() const {
    std::vector<Appender*> all;
    for (const std::unique_ptr<Lane>& lane : lanes_) all.push_back(&lane->appender);
    return all;
  }

  // ---- adding

  std::unique_lock<std::mutex> share(AdderState& state) {
    if (state.lane == lanes_.front().get()) return std::unique_lock(state.lane->mutex);
    return {};
  }

  // Calls `add(from, n)` for parts of a call, each of which counts all or nothing, and where one throws `owe(from, n)` for
  // what was counted before: it adds what takes that back to the debt, and says how much it is.
  template <class Add, class Owe>
  void add_in_parts(Lane& lane, std::size_t n, std::size_t at_once, Add add, Owe owe) {
    std::size_t done = 0, kept = 0;
    try {
      for (; done < n; done += std::min(n - done, at_once)) {
        if (done >= kept + most_at_once) kept = done;
        if (done == kept && n - done > at_once) {
          pay(lane);
          lane.debt.reserve(std::min(n - done, most_at_once + at_once));
        }
        add(done, std::min(n - done, at_once));
      }
    } catch (...) {
      std::uint64_t owed = 0;
      for (std::size_t i = kept; i < done; i += Lane::batch) owed += owe(i, std::min(done - i, Lane::batch));
      lane.total.store(lane.total.load(std::memory_order_relaxed) - owed, std::memory_order_relaxed);
      if (kept > 0) tell_progress(kept);
      throw;
    }
  }
  // @pre an exception is being handled
  [[noreturn]] void tell_progress(std::size_t done) const {
    const std::string so_far = "the first " + std::to_string(done) + " keys of this call were counted";
    try {
      throw;
    } catch (const Error& error) {
      throw Error(error.code(), error.doing(), error.path(), error.hint() + "; " + so_far, error.other_path());
    } catch (const std::bad_alloc&) {
      throw Error(ENOMEM, "count in", shown_, so_far);
    }
  }

  void pay(Lane& lane) {
    while (!lane.debt.empty()) {
      const CountEntry entry = lane.debt.back();
      if (entry.count != 0) append(lane, entry);
      lane.debt.pop_back();
    }
  }
  void append(Lane& lane, const CountEntry& entry) {
    if (lane.hot.take(entry.mixed, entry.count)) return;
    lane.appender.allow(plan_.records.kind_of(entry.count));
    while (!lane.appender.append(entry.mixed, entry.count)) exchange(lane);
    lane.appender.keep();
  }

  void add_some(Lane& lane, const void* keys, std::size_t from, std::size_t n) {
    begin(lane);
    lane.appender.allow(Kind::plain);
    std::uint64_t* const mixed = lane.mixed.data();
    std::size_t i = 0, done = 0;
    try {
      for (; i < n; i += std::min(n - i, Lane::batch)) {
        std::size_t left = std::min(n - i, Lane::batch);
        mix_(keys, from + i, left, mixed);
        sample(lane, mixed, left);
        if (lane.hot.are_known())
          left = lane.hot.take(mixed, left);
        else
          lane.hot.watch(mixed, left);
        for (done = 0; (done += lane.appender.append(mixed + done, left - done)) < left;) exchange(lane);
      }
    } catch (...) {
      take_back(lane, mixed, done);
      mix_(keys, from + i, std::min(n - i, Lane::batch), mixed);
      for (std::size_t k = 0; k < std::min(n - i, Lane::batch); ++k) lane.hot.take(mixed[k], ~std::uint64_t{0});
      while (i > 0) {
        i -= Lane::batch;
        mix_(keys, from + i, Lane::batch, mixed);
        std::size_t others = 0;
        for (std::size_t k = 0; k < Lane::batch; ++k)
          if (!lane.hot.take(mixed[k], ~std::uint64_t{0})) mixed[others++] = mixed[k];
        take_back(lane, mixed, others);
      }
      throw;
    }
    end(lane, n);
  }

  void add_some(Lane& lane, std::span<const CountEntry> entries) {
    begin(lane);
    std::uint64_t total = 0;
    for (const CountEntry& entry : entries) {
      total = saturating_add(total, entry.count);
      if (entry.count > 0) lane.appender.allow(plan_.records.kind_of(entry.count));
    }
    std::size_t i = 0;
    try {
      for (; i < entries.size(); ++i) {
        const CountEntry& entry = entries[i];
        if (entry.count == 0 || lane.hot.take(entry.mixed, entry.count)) continue;
        while (!lane.appender.append(entry.mixed, entry.count)) exchange(lane);
      }
    } catch (...) {
      while (i-- > 0) {
        const CountEntry& entry = entries[i];
        if (entry.count == 0 || lane.hot.take(entry.mixed, std::uint64_t{0} - entry.count)) continue;
        lane.appender.take_back(entry.mixed, entry.count);
      }
      throw;
    }
    std::array<std::uint64_t, 64> some;
    for (std::size_t k = 0; k < entries.size(); k += some.size()) {
      const std::size_t n = std::min(entries.size() - k, some.size());
      for (std::size_t j = 0; j < n; ++j) some[j] = entries[k + j].mixed;
      sample(lane, some.data(), n);
    }
    end(lane, total);
  }

  static void take_back(Lane& lane, const std::uint64_t* keys, std::size_t n) {
    while (n-- > 0) lane.appender.take_back(keys[n], 1);
  }

  void begin(Lane& lane) {
    if (lane.must_evict) evict_hot_keys(lane);
    lane.must_evict = false;
    pay(lane);
  }
  static void end(Lane& lane, std::uint64_t total) {
    lane.appender.keep();
    lane.must_evict = !lane.hot.judge();
    lane.total.store(saturating_add(lane.total.load(std::memory_order_relaxed), total), std::memory_order_relaxed);
  }

  void evict_hot_keys(Lane& lane) {
    lane.hot.evict([&](const CountEntry& entry) {
      lane.appender.allow(plan_.records.kind_of(entry.count));
      while (!lane.appender.append(entry.mixed, entry.count)) exchange(lane);
      lane.appender.keep();
    });
  }

  void sample(Lane& lane, const std::uint64_t* mixed, std::size_t n) {
    const std::size_t picked = pick(mixed, n, sample_mask_.load(std::memory_order_relaxed), lane.picked.data());
    for (std::size_t i = 0; i < picked; ++i) {
      if (lane.sampled > 0 && lane.samples[lane.sampled - 1] == lane.picked[i]) continue;
      lane.samples[lane.sampled++] = lane.picked[i];
      if (lane.sampled == lane.samples.size()) join_samples(lane);
    }
  }
  void join_samples(Lane& lane) {
    const std::lock_guard lock(sampling_);
    for (std::size_t i = 0; i < lane.sampled; ++i) estimate_.see(lane.samples[i]);
    lane.sampled = 0;
    sample_mask_.store(estimate_.mask(), std::memory_order_relaxed);
  }
  void join_samples() {
    for (const std::unique_ptr<Lane>& lane : lanes_) join_samples(*lane);
  }

  void exchange(Lane& lane) {
    level_.exchange(lane.appender, [&](std::unique_lock<std::mutex>& lock) { make_room(lock, lane.number); });
  }

  // ---- making room, under the lock

  void make_room(std::unique_lock<std::mutex>& lock, std::size_t file) {
    if (exclusive_) return level_.wait_for_change(lock);
    if (spilled() + run_estimate() + std::min<std::uint64_t>(pool_.count() * pool_.chunk_size() / 4, 4_MiB) > bound() ||
        level_.segments() > most_segments)
      return exclusively(lock, [&] {
        if (!compact(lock)) consolidate(lock, {}, true);
      });
    const std::size_t wanted = std::clamp<std::size_t>(pool_.count() / 16, 1, 1_MiB / pool_.chunk_size());
    if (round_ == 0) {
      round_ = pool_.count() / wanted;
      exclusively(lock, [&] { try_to_settle(lock); });
      if (pool_.available() > 0) return;
    }
    --round_;
    if (!settling_) return spill(lock, file);
    exclusively(lock, [&] {
      for (std::size_t tried = 0; tried < plan_.records.partitions() && pool_.available() < wanted; ++tried) {
        settle(lock, settle_cursor_);
        settle_cursor_ = (settle_cursor_ + 1) % plan_.records.partitions();
      }
    });
    if (pool_.available() >= wanted / 4 + 1) return;
    settling_ = false;
    spill(lock, file);
  }

  void spill(std::unique_lock<std::mutex>& lock, std::size_t file) {
    if (exclusive_) return level_.wait_for_change(lock);
    level_.spill(lock, file);
    constexpr std::uint64_t worth_telling = 16_MiB;
    if (level_.contents().spilled() < reported_ + worth_telling) return;
    const std::uint64_t news = unreported();
    lock.unlock();
    if (news > 0) directory_.emit(EventKind::spill, shown_, news);
    lock.lock();
  }

  // Nobody else makes room meanwhile, and nothing is being written.
  template <class Work>
  void exclusively(std::unique_lock<std::mutex>& lock, Work work) {
    exclusive_ = true;
    struct End {
      CountStore* store;
      std::unique_lock<std::mutex>* held;
      ~End() {
        if (!held->owns_lock()) held->lock();
        store->exclusive_ = false;
        store->level_.tell();
      }
    } const end{this, &lock};
    while (level_.is_writing()) level_.wait_for_change(lock);
    work();
  }

  // A trial with a partition of the usual size; with the largest, where it has most of the records.
  void try_to_settle(std::unique_lock<std::mutex>& lock) {
    const std::vector<Partition>& partitions = level_.contents().partitions;
    const std::size_t n = partitions.size();
    std::array<std::size_t, 9> order{};
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i * n / order.size();
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return partitions[a].chunks() < partitions[b].chunks(); });
    std::size_t trial = order[order.size() / 2];
    std::size_t largest = 0;
    for (std::size_t p = 1; p < n; ++p)
      if (partitions[p].chunks() > partitions[largest].chunks()) largest = p;
    if (partitions[largest].chunks() > pool_.count() / 4) trial = largest;
    const std::size_t before = partitions[trial].chunks();
    settling_ = before > 0 && settle(lock, trial) &&
                (partitions[trial].chunks() <= before / 4 + 1 || partitions[trial].chunks() * n <= pool_.count() / 3);
  }

  // Counts a partition's records that are in memory. False, and nothing has changed, where they are too many keys, or
  // their entries need more chunks.
  bool settle(std::unique_lock<std::mutex>& lock, std::size_t p) {
    const Records& records = plan_.records;
    Contents taken;
    taken.partitions.resize(1);
    Partition& from = taken.partitions[0];
    Partition& to = level_.contents().partitions[p];
    std::swap(from.full, to.full);
    std::swap(from.sorted, to.sorted);
    std::swap(from.sorted_records, to.sorted_records);
    const auto put_back = [&]() noexcept {
      for (std::size_t k = 0; k < kinds; ++k) from.full[k].splice_front(pool_, to.full[k]);
      std::swap(from.full, to.full);
      std::swap(from.sorted, to.sorted);
      std::swap(from.sorted_records, to.sorted_records);
    };
    const PartitionSource source{records, pool_, taken, {}, 0};
    std::uint64_t before = 0;
    lock.unlock();
    try {
      if (!settler_) settler_ = std::make_unique<CountingThread>();
      const std::uint64_t mask = low_mask(records.rest_bits());
      source.for_each_in_memory([&](Kind, const std::byte*, std::size_t n) {
        before += n;
        return true;
      });
      for (std::uint64_t wanted = std::min<std::uint64_t>(before, usual_distinct_);;
           wanted = std::max<std::uint64_t>(wanted * 8, 4096)) {
        CountingPass pass(settler_->counting, records.rest_bits(), static_cast<std::size_t>(wanted));
        if (source.for_each_in_memory([&](Kind kind, const std::byte* at, std::size_t n) {
              return add_records(settler_->counting, pass, records, kind, at, n, mask);
            })) {
          pass.finish();
          lock.lock();
          return replace(from, to, pass, before) || (put_back(), false);
        }
        if (wanted >= Lines::most_lines * Lines::words) break;
      }
      lock.lock();
      put_back();
      return false;
    } catch (const std::exception&) {
      if (!lock.owns_lock()) lock.lock();
      put_back();
      return false;
    }
  }

  // The entries of a pass take the place of the records that it counted. False where they need more chunks.
  bool replace(Partition& from, Partition& to, CountingPass& pass, std::uint64_t records) {
    usual_distinct_ = pass.most_entries() + pass.most_entries() / 8;
    const std::size_t were_all_large = 16 * (pass.most_entries() + 1) / pool_.chunk_size() + 4;
    if (were_all_large > from.chunks() + pool_.available()) return false;
    for (std::size_t k = 0; k < kinds; ++k) {
      from.full[k].give_to(pool_);
      from.sorted[k].give_to(pool_);
    }
    std::uint64_t entries = 0;
    do {
      for (const CountEntry& entry : pass.next(0)) {
        append_sorted(to, entry);
        ++entries;
      }
    } while (!pass.at_end());
    to.records += entries - records;
    return true;
  }

  void append_sorted(Partition& to, const CountEntry& entry) {
    const Records& records = plan_.records;
    const Kind kind = entry.count <= records.most_counted() ? Kind::counted : Kind::large;
    const auto k = static_cast<std::size_t>(kind);
    const std::size_t in_chunk = pool_.chunk_size() / records.size(kind), at = to.sorted_records[k] % in_chunk;
    if (at == 0) {
      const std::uint32_t chunk = pool_.take();
      pool_.set_owner(chunk, sign_of(entry.mixed));
      to.sorted[k].push_back(pool_, chunk);
    }
    store(pool_.at(to.sorted[k].last) + at * records.size(kind), kind, entry);
    ++to.sorted_records[k];
  }
  // The upper bits of a key in its partition: what chunks of sorted records are found by.
  std::uint32_t sign_of(std::uint64_t rest) const {
    const unsigned bits = plan_.records.rest_bits();
    return static_cast<std::uint32_t>(bits > 32 ? rest >> (bits - 32) : rest);
  }

  // Counts everything that the level has, partition by partition, and spills the counts in its place: less work than to
  // consolidate. False, and nothing has changed, where that does not pay, or a partition has too many keys.
  bool compact(std::unique_lock<std::mutex>& lock) {
    const std::vector<std::uint64_t> distinct = distinct_by_partition({});
    if (key_bits_ < 64 || will_split(level_.contents(), {}, distinct)) return false;
    Contents counts;
    counts.partitions.resize(distinct.size());
    counts.files.resize(Level::most_files);
    counts.files[0] = std::make_shared<AppendFile>(directory_, shown_, "spill counts of");
    if (!settler_) settler_ = std::make_unique<CountingThread>();
    Contents taken = level_.take_out();
    lock.unlock();
    bool done = true;
    try {
      for (std::size_t p = 0; done && p < distinct.size(); ++p) done = spill_counts(taken, p, distinct[p], counts);
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
    reported_ = 0;
    level_.tell();
    return true;
  }

  bool spill_counts(const Contents& from, std::size_t p, std::uint64_t distinct, Contents& to) {
    const Records& records = plan_.records;
    const PartitionSource source{records, pool_, from, {}, p};
    const std::uint64_t mask = low_mask(records.rest_bits());
    if (source.count() == 0) return true;
    for (std::uint64_t wanted = std::min(distinct, source.count());;
         wanted = std::max<std::uint64_t>(wanted * 8, 4096)) {
      CountingPass pass(settler_->counting, records.rest_bits(), static_cast<std::size_t>(wanted));
      if (source.for_each(settler_->buffer, [&](Kind kind, const std::byte* at, std::size_t n) {
            return add_records(settler_->counting, pass, records, kind, at, n, mask);
          })) {
        pass.finish();
        std::array<ByteBuffer, kinds> bytes;
        do {
          for (const CountEntry& entry : pass.next(0)) {
            const Kind kind = entry.count <= records.most_counted() ? Kind::counted : Kind::large;
            ByteBuffer& out = bytes[static_cast<std::size_t>(kind)];
            store(out.prepare(records.size(kind)), kind, entry);
            out.advance(records.size(kind));
          }
        } while (!pass.at_end());
        for (const Kind kind : {Kind::counted, Kind::large}) {
          const Bytes all = bytes[static_cast<std::size_t>(kind)].bytes();
          if (all.empty()) continue;
          const std::uint64_t offset = to.files[0]->extend(all.size());
          to.files[0]->write_at(offset, all);
          to.partitions[p].segments.push_back({offset, static_cast<std::uint32_t>(all.size()), 0, kind});
          to.partitions[p].records += all.size() / records.size(kind);
        }
        return true;
      }
      if (wanted >= Lines::most_lines * Lines::words) return false;
    }
  }

  void store(std::byte* to, Kind kind, const CountEntry& entry) const {
    if (kind == Kind::counted) return store_le(to, plan_.records.counted_word(entry.mixed, entry.count));
    store_le(to, entry.mixed);
    store_le(to + 8, entry.count);
  }

  // ---- finding

  std::uint64_t find_in_memory(std::size_t p, std::uint64_t mixed) {
    sort_where_it_pays(p);
    const Partition& partition = level_.contents().partitions[p];
    const std::uint64_t key = plan_.records.rest_of(mixed);
    std::uint64_t count = 0;
    for (std::size_t k = 0; k < kinds; ++k) {
      const auto kind = static_cast<Kind>(k);
      const std::size_t in_chunk = plan_.records.payload(kind, pool_.chunk_size());
      std::uint32_t chunk = partition.full[k].first;
      for (std::size_t i = 0; i < partition.full[k].count; ++i, chunk = pool_.next(chunk))
        count += find_in({pool_.at(chunk), in_chunk}, kind, key);
      const Appender& appender = lanes_.front()->appender;
      count += find_in(appender.in_chunk(kind, p), kind, key) + find_in(appender.staged(kind, p), kind, key);
      count += find_sorted(partition, kind, key);
    }
    return count;
  }

  // Looking through so many records costs no more than settling so often. Contents may be others afterwards.
  void sort_where_it_pays(std::size_t p) {
    const Partition& partition = level_.contents().partitions[p];
    std::uint64_t unsorted = 0, sorted = 0;
    for (std::size_t k = 0; k < kinds; ++k) {
      unsorted += partition.full[k].count * pool_.chunk_size() / plan_.records.size(static_cast<Kind>(k));
      sorted += partition.sorted_records[k];
    }
    if (unsorted <= 512 || unsorted * unsorted <= 8 * sorted) return;
    auto lock = level_.lock();
    if (settle(lock, p)) return;
    lock.unlock();
    consolidate_quietly(false);
    fold_lanes();
  }

  std::uint64_t find_in(Bytes bytes, Kind kind, std::uint64_t key) const {
    const std::size_t size = plan_.records.size(kind), n = bytes.size() / size;
    std::uint64_t count = 0;
    if (kind == Kind::plain) {
      const std::uint64_t mask = low_mask(plan_.records.rest_bits());
      for (std::size_t i = 0; i < n; ++i) count += (load_le<std::uint64_t>(bytes.data() + i * size) & mask) == key;
    } else {
      for (std::size_t i = 0; i < n; ++i) {
        const CountEntry entry = plan_.records.load(kind, bytes.data() + i * size);
        if (entry.mixed == key) count += entry.count;
      }
    }
    return count;
  }

  std::uint64_t find_sorted(const Partition& partition, Kind kind, std::uint64_t key) const {
    const auto k = static_cast<std::size_t>(kind);
    const std::size_t size = plan_.records.size(kind), in_chunk = pool_.chunk_size() / size;
    const std::uint32_t sign = sign_of(key);
    std::uint64_t count = 0;
    std::uint32_t chunk = partition.sorted[k].first;
    // Chunks that begin with the same sign come one after the other: look at all that could hold the key.
    for (std::size_t i = 0; i < partition.sorted[k].count && pool_.owner(chunk) <= sign;
         ++i, chunk = pool_.next(chunk)) {
      if (i + 1 < partition.sorted[k].count && pool_.owner(pool_.next(chunk)) < sign) continue;
      const std::byte* const at = pool_.at(chunk);
      std::size_t low = 0, high = std::min(in_chunk, partition.sorted_records[k] - i * in_chunk);
      while (low < high) {
        const std::size_t middle = low + (high - low) / 2;
        const CountEntry entry = plan_.records.load(kind, at + middle * size);
        if (entry.mixed == key) count += entry.count;
        if (entry.mixed == key) break;
        if (entry.mixed < key)
          low = middle + 1;
        else
          high = middle;
      }
    }
    return count;
  }

  // What is in the hands of adders that are gone comes to the table's own.
  void fold_lanes() {
    Lane& to = *lanes_.front();
    for (std::size_t i = 1; i < lanes_.size(); ++i) {
      Lane& from = *lanes_[i];
      for (std::size_t k = 0; k < kinds; ++k) {
        const auto kind = static_cast<Kind>(k);
        if (!from.appender.has(kind)) continue;
        to.appender.allow(kind);
        for (std::size_t p = 0; p < plan_.records.partitions(); ++p) fold(from.appender, to, kind, p);
      }
      const auto lock = level_.lock();
      level_.hand_over(to.appender);
      from.appender.free.give_to(pool_);
    }
  }
  void fold(Appender& from, Lane& to, Kind kind, std::size_t p) {
    const std::size_t size = plan_.records.size(kind);
    const std::uint64_t prefix = static_cast<std::uint64_t>(p) << plan_.records.rest_bits();
    PlainVector<CountEntry> moved;
    for (const Bytes bytes : {from.in_chunk(kind, p), from.staged(kind, p)})
      for (std::size_t at = 0; at < bytes.size(); at += size) {
        CountEntry entry = kind == Kind::plain
                               ? CountEntry{plan_.records.rest_of(load_le<std::uint64_t>(bytes.data() + at)), 1}
                               : plan_.records.load(kind, bytes.data() + at);
        entry.mixed |= prefix;
        moved.push_back(entry);
      }
    std::size_t i = 0;
    try {
      for (; i < moved.size(); ++i)
        while (!to.appender.append(moved[i].mixed, moved[i].count)) exchange(to);
    } catch (...) {
      while (i-- > 0) to.appender.take_back(moved[i].mixed, moved[i].count);
      throw;
    }
    to.appender.keep();
    from.clear(kind, p);
  }

  TableFile::Buffers& table_buffers() {
    if (!settler_) settler_ = std::make_unique<CountingThread>();
    return settler_->table;
  }

  // ---- counting everything

  std::vector<std::uint64_t> distinct_by_partition(std::span<const SortedTable* const> tables) {
    std::vector<std::uint64_t> distinct(plan_.records.partitions());
    const std::lock_guard lock(sampling_);
    estimate_.by_range(key_bits_, distinct);
    for (const SortedTable* table : tables)
      for (std::uint64_t& n : distinct) n += table->file().header().entries / distinct.size();
    return distinct;
  }

  bool will_split(const Contents& contents, std::span<Appender* const> all,
                  std::span<const std::uint64_t> distinct) const {
    constexpr std::size_t room = Lines::capacity(Lines::most_lines);
    for (std::size_t p = 0; p < distinct.size(); ++p)
      if (distinct[p] > room && PartitionSource{plan_.records, pool_, contents, all, p}.count() > room) return true;
    return false;
  }

  void write(const Contents& contents, std::span<Appender* const> all, std::span<const CountEntry> hot,
             std::span<const SortedTable* const> tables, std::span<const std::uint64_t> distinct, TableWriter& out) {
    const std::size_t threads = std::min<std::size_t>(plan_.threads, distinct.size());
    ReorderWindow<CutPiece> window(std::max<std::size_t>(threads, 2) * 1_MiB);
    const CountingJob job{directory_,
                          shown_,
                          key_bits_,
                          plan_.records,
                          pool_,
                          contents,
                          all,
                          hot,
                          tables,
                          distinct,
                          pool_.available() * pool_.chunk_size() / threads,
                          out,
                          window};
    std::vector<PartitionCounter> counters;
    for (std::size_t i = 0; i < threads; ++i) counters.emplace_back(job);
    Sequencer::run(distinct.size(), counters);
    out.finish(0);
  }

  void consolidate_quietly(bool all) {
    auto lock = level_.lock();
    join_samples();
    consolidate(lock, appenders(), all);
  }

  // One table takes the place of what the level and these appenders have, and of tables that are not much larger; of
  // all tables, where that is wanted.
  void consolidate(std::unique_lock<std::mutex>& lock, const std::vector<Appender*>& hands, bool all) {
    for (Appender* hand : hands) level_.hand_over(*hand);
    std::uint64_t records = 0;
    for (std::size_t p = 0; p < plan_.records.partitions(); ++p)
      records += PartitionSource{plan_.records, pool_, level_.contents(), hands, p}.count();
    std::size_t kept = runs_.size();
    for (std::uint64_t n = records; kept > 0 && (all || runs_[kept - 1].entries() <= 2 * n);)
      n += runs_[--kept].entries();
    std::vector<const SortedTable*> tables;
    for (std::size_t i = kept; i < runs_.size(); ++i) tables.push_back(runs_[i].table.get());
    runs_.reserve(runs_.size() + 1);

    const std::vector<std::uint64_t> distinct = distinct_by_partition(tables);
    if (will_split(level_.contents(), hands, distinct)) {
      level_.flush(hands);
      pool_.release();
    }
    Contents taken = level_.take_out();
    Run run;
    lock.unlock();
    try {
      TableWriter out(directory_, shown_, key_bits_, "consolidate counts of");
      write(taken, hands, {}, tables, distinct, out);
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
      for (std::size_t p = 0; p < plan_.records.partitions(); ++p)
        for (std::size_t k = 0; k < kinds; ++k) hand->clear(static_cast<Kind>(k), p);
    runs_.resize(kept);
    runs_.push_back(std::move(run));
    reported_ = 0;
    level_.tell();
  }

  // ---- the bound of what is spilled

  std::uint64_t spilled() const {
    std::uint64_t bytes = level_.contents().spilled();
    for (const Run& run : runs_) bytes += run.file->size();
    return bytes;
  }
  // A key's content is itself and, at least, a byte of its count.
  std::uint64_t bound() {
    const std::lock_guard lock(sampling_);
    const std::uint64_t distinct = estimate_.distinct();
    return 2 * plan_.budget + 4 * (key_bits_ / 8 + 1) * (distinct - distinct / 24);
  }
  // What consolidating would write.
  std::uint64_t run_estimate() {
    std::uint64_t run = 0;
    for (const Run& each : runs_) run += each.file->size();
    const std::lock_guard lock(sampling_);
    const std::uint64_t n = estimate_.distinct();
    return std::max(n * (key_bits_ + 12 - static_cast<unsigned>(std::bit_width(n | 1))) / 8 + n, run);
  }

  // What was spilled since the last time.
  std::uint64_t unreported() {
    const std::uint64_t now = level_.contents().spilled(), before = std::exchange(reported_, now);
    return now > before ? now - before : 0;
  }

  static constexpr std::size_t most_segments = 262'144;
  static constexpr std::size_t most_at_once = 1'048'576;

  Directory directory_;
  std::filesystem::path shown_;
  unsigned key_bits_;
  Mixer mix_;
  MemoryPlan plan_;
  ChunkPool pool_;
  Level level_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // the first is the table's, and shared by adders that have none
  std::vector<std::unique_ptr<AdderState>> states_;
  std::vector<AdderState*> idle_;
  AdderState* own_ = nullptr;
  std::size_t adders_ = 0;
  std::mutex sampling_;
  DistinctEstimate estimate_;
  std::atomic<std::uint64_t> sample_mask_{63};
  std::uint64_t base_total_ = 0;  // of the table that is added to
  std::unique_ptr<SortedTable> included_;
  std::vector<Run> runs_;  // the older, the larger
  bool exclusive_ = false;
  std::size_t round_ = 1;
  bool settling_ = false;
  std::size_t settle_cursor_ = 0;
  std::size_t usual_distinct_ = 65536;
  std::unique_ptr<CountingThread> settler_;
  std::uint64_t reported_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
