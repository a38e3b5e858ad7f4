// SPDX-License-Identifier: MIT
// floor 5: wings
//
// Counting keys, more than fit in memory, into a file.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/file/table_writer.hpp>
#include <scratch/detail/count/merge/claim.hpp>
#include <scratch/detail/count/merge/table_guest.hpp>
#include <scratch/detail/count/table/adder_state.hpp>
#include <scratch/detail/count/table/commit_watch.hpp>
#include <scratch/detail/count/table/key_input.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/name_lock.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// What becomes of a table of the same name that was committed before.
enum class Existing : std::uint8_t {
  refuse,   ///< the new one is not made
  add,      ///< its counts are added to
  replace,  ///< the new one takes its place
};

/// How a table counts, and what becomes of one that is there.
struct CountOptions {
  /// How much memory to use, by all adders together; buffers for counting and transfers, up to 24 MiB, come on top. At
  /// least 256 KiB.
  std::uint64_t memory = 64_MiB;
  /// How many threads count what was added, when it is committed; never more than there are processors. Adding is done
  /// by the caller's: see `CountTable::adder`.
  unsigned threads = 1;
  /// Yesterday's file must not double today's counts in silence.
  Existing existing = Existing::refuse;
};

/// How a table ends: `CountTable::commit` and `CountTable::drain`.
struct CommitOptions {
  /// Keys that were counted less often are left out. A table that was committed with more than 1 can be read, but
  /// neither merged nor added to.
  std::uint64_t at_least = 1;
  /// Told how much was counted of what is to be counted. Called on the thread that commits or drains, first with `done` 0
  /// and last with all of it, before the table has its name; in between every 20 ms or so, at the latest after 50 ms of the
  /// thread's own time with one thread. What it throws ends the commit, as an error does.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};
  /// Ends it with ECANCELED, as an error does.
  std::stop_token stop = {};
};

/// A thread's own way into a table, made by `CountTable::adder()`. For one thread at a time; movable. What it was given
/// belongs to the table: dropping it cannot fail.
template <CountKey Key>
class CountAdder {
 public:
  CountAdder(CountAdder&&) noexcept = default;
  CountAdder& operator=(CountAdder&& other) noexcept {
    if (this != &other) {
      release();
      input_ = std::move(other.input_);
    }
    return *this;
  }
  ~CountAdder() { release(); }

  /// As `CountTable::add`.
  /// @throws Error as there; EINVAL when the table is gone or committed; `count_overflow` when all counts of the table
  ///         come near 2^64, beyond which only the table itself can add
  template <detail::KeyLike<Key> I = Key>
  void add(I key) {
    input_.add(detail::key_of<Key>(key));
  }
  /// The same, `n` times. @throws Error as `CountTable::add`
  template <detail::KeyLike<Key> I = Key, std::integral N>
  void add(I key, N n) {
    input_.add(detail::key_of<Key>(key), detail::count_of(n));
  }
  template <detail::KeyLike<Key> I = Key, std::floating_point N>
  void add(I key, N n) = delete;
  /// Each key once. @throws Error as `CountTable::add`
  void add(std::span<const Key> keys) { input_.add(keys); }
  /// `keys[i]` `counts[i]` times. @throws Error as `CountTable::add`
  void add(std::span<const Key> keys, std::span<const std::uint64_t> counts) { input_.add(keys, counts); }

 private:
  template <CountKey>
  friend class CountTable;
  explicit CountAdder(detail::KeyInput<Key> input) : input_(std::move(input)) {}

  void release() noexcept {
    if (input_) input_.state()->store.release(input_.here());
  }

  detail::KeyInput<Key> input_;
};

/// Counts keys within a budget of memory, and puts what does not fit into unnamed files of the workspace: nothing of it
/// is left when this dies uncommitted, or when the process is killed.
///
/// Holds the name, against other writers and mergers in any process, from construction until it is committed or gone.
/// For one thread at a time, others add through adders of their own. Movable. Disk space: at most 2 budgets and 4 times
/// the distinct keys' content (the key's own size and the bytes that its count needs), besides the table itself. What
/// was spilled is off the disk when this object and its adders are gone; until then a tenth of the free memory, and no
/// less than 64 MiB, stays in the page cache, and the rest leaves it for the disk as it is written.
///
/// After a crash: the table that had the name before, or none. `commit()` says what holds then.
template <CountKey Key>
class CountTable {
 public:
  /// What `adder()` gives.
  using Adder = CountAdder<Key>;

  /// @throws Error `invalid_name`; `busy` when another writer or merger has the name; EEXIST with `Existing::refuse`;
  ///         `would_exceed_memory` for a budget below 256 KiB; with `Existing::add` what `CountReader` throws
  CountTable(Workspace workspace, std::string_view name, CountOptions options = {})
      : directory_(detail::table_directory(workspace)),
        name_(check(name, options)),
        existing_(options.existing),
        lock_(std::make_unique<detail::NameLock>(directory_, name_, "write the count table")) {
    detail::recover(directory_, *lock_);
    const std::filesystem::path path = directory_.path() / name_;
    const bool there = detail::look_up(directory_, name_);
    if (there && existing_ == Existing::refuse)
      detail::throw_error(std::make_error_code(std::errc::file_exists), "write the count table", path,
                          "something has this name: choose .existing = Existing::add or Existing::replace");
    auto state = std::make_shared<State>(directory_, path, options.memory, options.threads);
    if (there && existing_ == Existing::add) {
      total_ = state->store.include(detail::TableFileFor<Key>(directory_, name_, detail::key_bits<Key>));
      state->look_closely_from(total_);
    }
    detail::AdderStateOf<detail::MixedOf<Key>>& own = state->store.own();
    input_ = detail::KeyInput<Key>(std::move(state), own, true);
  }
  CountTable(CountTable&&) noexcept = default;
  /// What is assigned to is dropped first.
  CountTable& operator=(CountTable&& other) noexcept {
    if (this == &other) return *this;
    close();
    directory_ = std::move(other.directory_);
    name_ = std::move(other.name_);
    existing_ = other.existing_;
    lock_ = std::move(other.lock_);
    input_ = std::move(other.input_);
    exceptions_ = other.exceptions_;
    total_ = other.total_;
    keys_ = other.keys_;
    return *this;
  }
  ~CountTable() { close(); }

  /// A way to add for another thread: any number of them, made and dropped at any time, by any thread, until the commit.
  /// They share the table's memory; where it is too little for one more to have a part of its own, it shares the
  /// table's, and is slower.
  /// @throws Error EINVAL after the commit; std::bad_alloc
  Adder adder() {
    input_.check();
    return Adder(Input(input_.state(), store().acquire(), false));
  }

  /// Counts a key once. Amortised O(1): some nanoseconds, once in a while a write.
  ///
  /// @throws Error ERANGE for a number that is no key; when memory is full, why it could not be spilled; `busy` when
  ///         another thread is found in here. Then this call counted nothing, and all that was counted before is kept:
  ///         make room and go on.
  template <detail::KeyLike<Key> I = Key>
  void add(I key) {
    input_.add(detail::key_of<Key>(key));
  }
  /// Counts it `n` times.
  /// @throws as above; ERANGE for a number below zero; `count_overflow` when the count would pass 2^64 - 1
  template <detail::KeyLike<Key> I = Key, std::integral N>
  void add(I key, N n) {
    input_.add(detail::key_of<Key>(key), detail::count_of(n));
  }
  template <detail::KeyLike<Key> I = Key, std::floating_point N>
  void add(I key, N n) = delete;

  /// Counts each key once: the fast way for many.
  /// @throws as above: all of them were counted, or none. A call with more than 1,048,576 keys may end after some of
  ///         them; the error then says how many of the first ones were counted
  void add(std::span<const Key> keys) { input_.add(keys); }

  /// Counts `keys[i]` `counts[i]` times.
  /// @throws as above; EINVAL unless both have one size
  void add(std::span<const Key> keys, std::span<const std::uint64_t> counts) { input_.add(keys, counts); }

  /// How often a key was counted so far, exactly. Amortised O(1), also where keys are added in between.
  /// @throws Error ERANGE for a number that is no key; `busy` while there are adders; what a spill throws
  template <detail::KeyLike<Key> I = Key>
  std::uint64_t get(I key) {
    const Key checked = detail::key_of<Key>(key);
    const typename Input::Use use(input_);
    refuse_adders("look up keys in");
    return find(checked);
  }

  /// `counts[i]` is the count of `keys[i]`.
  void get(std::span<const Key> keys, std::span<std::uint64_t> counts) {
    const typename Input::Use use(input_);
    input_.check_sizes(keys.size(), counts.size());
    refuse_adders("look up keys in");
    for (std::size_t i = 0; i < keys.size(); ++i) counts[i] = find(keys[i]);
  }

  /// Everything added so far is out of memory afterwards, in the workspace. It is not committed.
  /// @throws Error `busy` while there are adders; nothing is lost
  void flush() {
    const typename Input::Use use(input_);
    refuse_adders("flush");
    store().drain(input_.here());
    store().flush();
  }

  /// The table is there under its name, whole; this object counts no more, and `distinct()` is known. O(all that was
  /// added).
  ///
  /// @throws Error `busy` while there are adders; ECANCELED when it was stopped. Whatever had the name still has it, all
  ///         counts are kept: make room and commit again
  /// After a crash: the old table or the new one, with a durable workspace; else, after a power cut, possibly neither.
  void commit(CommitOptions options = {}) {
    const typename Input::Use use(input_);
    refuse_adders("write the count table");
    store().drain(input_.here());
    const std::uint64_t total = store().total();
    detail::CommitWatch watch(input_.state()->path, std::move(options.progress), std::move(options.stop));
    keys_ = store().commit(
        name_, existing_ == Existing::refuse ? detail::Replacing::nothing : detail::Replacing::whatever_is_there, total,
        std::max<std::uint64_t>(options.at_least, 1), watch);
    total_ = total;
    input_.state()->end(detail::Ended::committed);
    lock_.reset();
    directory_.emit(EventKind::table_committed, input_.state()->path, 0, std::to_string(keys_->kept) + " keys");
  }

  /// Gives all that was counted to `f`, instead of writing it: each key once, with its exact count, in no promised
  /// order. Nothing is written, a table that was committed before under this name stays as it is, and this object counts
  /// no more. O(all that was added).
  ///
  /// Called from as many threads as the table's options say, at the same time, with at most 1,024 keys; `thread` is
  /// below that number and tells them apart. The memory of a part of the keys is given back before `f` gets the first of
  /// them, so that it can add them to another table; `flush()` gives back all of it at once, before. `f` must not use
  /// this table. Of `options`, `at_least` leaves out as in a commit.
  ///
  /// @throws Error `busy` while there are adders; what reading or splitting what was spilled throws; ECANCELED when it
  ///         was stopped; what `f` throws, and then it is not called again, save that other threads end the calls that
  ///         they are in. Until something was taken out to be given, all counts are kept: make room and drain, or commit.
  ///         Afterwards the table has ended: `total()` is the sum of what was given or left out, the rest is gone
  /// After a crash: the table that had the name before, or none.
  template <class F>
  requires std::invocable < F&, std::span<const Count<Key>>,
  unsigned > void drain(F&& f, CommitOptions options = {}) {
    const typename Input::Use use(input_);
    refuse_adders("drain the count table");
    store().drain(input_.here());
    const std::uint64_t total = store().total();
    detail::CommitWatch watch(input_.state()->path, std::move(options.progress), std::move(options.stop),
                              "drain the count table", "stopped");
    using Mixed = detail::MixedOf<Key>;
    using Draining = detail::DrainingOf<Mixed>;
    Draining draining{.give =
                          [&f](std::span<const detail::EntryOf<Mixed>> entries, unsigned thread) {
                            std::array<Count<Key>, Draining::most> counts;
                            detail::unmix_entries<Key>(entries.data(), entries.size(), counts.data());
                            f(std::span<const Count<Key>>(counts).first(entries.size()), thread);
                          },
                      .at_least = std::max<std::uint64_t>(options.at_least, 1),
                      .watch = watch};
    const auto end = [&]() noexcept {
      keys_ = {draining.keys, draining.left_out};
      total_ = draining.total;
      input_.state()->end(detail::Ended::drained);
      lock_.reset();
    };
    try {
      store().give_all(draining, total);
    } catch (...) {
      if (draining.begun) end();
      throw;
    }
    end();
  }

  /// How many keys there are in the table; of one that was drained, how many were given.
  /// @pre `commit()` or `drain()` has ended this
  std::uint64_t distinct() const { return keys().kept; }
  /// How many keys are not there, since they were counted less often than `CommitOptions::at_least`.
  /// @pre `commit()` or `drain()` has ended this
  std::uint64_t left_out() const { return keys().left_out; }
  /// The sum of all counts; 2^64 - 1 also stands for whatever is more. What adders that live have in hand may be
  /// missing.
  std::uint64_t total() const noexcept { return !input_ ? 0 : keys_ ? total_ : input_.state()->store.total(); }

 private:
  using State = detail::CountState<Key>;
  using Input = detail::KeyInput<Key>;
  static constexpr std::uint64_t least_memory = 256_KiB;

  const detail::CommittedKeys& keys() const {
    if (!keys_)
      detail::throw_error(std::make_error_code(std::errc::invalid_argument), "tell how many keys has",
                          directory_.path() / name_, "that is known after commit()");
    return *keys_;
  }

  static std::string check(std::string_view name, const CountOptions& options) {
    constexpr const char* doing = "write the count table";
    detail::check_file_name(name, doing);
    if (options.memory < least_memory)
      detail::throw_error(
          errc::would_exceed_memory, doing, std::string(name),
          "a budget of " + readable_size(options.memory) + "; it takes at least " + readable_size(least_memory));
    return std::string(name);
  }

  void close() noexcept {
    if (!input_) return;
    State& state = *input_.state();
    // Who unwinds knows that something failed; who forgets to commit does not.
    const bool dropped = state.ended == detail::Ended::not_yet && state.made_here.is_true() &&
                         std::uncaught_exceptions() <= exceptions_ && state.store.total() != total_;
    state.end(detail::Ended::gone);
    lock_.reset();  // who is told may have the name
    if (dropped) directory_.emit(EventKind::table_dropped, state.path, 0, "it was not committed");
  }

  detail::StoreOf<Key>& store() const { return input_.state()->store; }

  void refuse_adders(const char* doing) const {
    if (const std::size_t n = store().adders(); n > 0)
      detail::throw_error(errc::busy, doing, input_.state()->path,
                          std::to_string(n) + (n == 1 ? " adder lives" : " adders live") + ": drop them first");
  }

  std::uint64_t find(Key key) {
    store().drain(input_.here());
    detail::MixedOf<Key> mixed;
    detail::mix_keys<Key>(&key, 0, 1, &mixed);
    return store().get(mixed);
  }

  detail::Directory directory_;
  std::string name_;
  Existing existing_;
  std::unique_ptr<detail::NameLock> lock_;  // until the commit
  Input input_{};
  int exceptions_ = std::uncaught_exceptions();
  std::uint64_t total_ = 0;  // of the table that is added to; after the commit, of all
  std::optional<detail::CommittedKeys> keys_{};
};

}  // namespace scratch::inline SCRATCH_ABI
