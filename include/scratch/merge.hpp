// SPDX-License-Identifier: MIT
// floor 5: wings
//
// Count tables made one, each of them exactly once.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/count/table/claim.hpp>
#include <scratch/detail/count/table/small_counts.hpp>
#include <scratch/detail/count/table/table_file.hpp>
#include <scratch/detail/count/table/table_guest.hpp>
#include <scratch/detail/count/table/table_sum.hpp>
#include <scratch/detail/count/table/table_writer.hpp>
#include <scratch/detail/kernel/random.hpp>
#include <scratch/detail/kernel/rename.hpp>
#include <scratch/detail/kernel/thread.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/workspace/name_lock.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

struct MergeOptions {
  /// How many threads work: on ranges of one merge, or on several merges.
  unsigned threads = 1;
  /// Buffers in all. A merge takes some 8 MiB a thread, however large the tables; threads that this does not allow are
  /// not used.
  std::uint64_t memory = 64_MiB;
  /// Told how much of the work is done: keys read of keys there are (`merge`), tables merged of tables there are
  /// (`merge_all`). Called by the threads that do the work, one at a time; what it throws ends the merge.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};
  /// Ends the merge with ECANCELED; the tables that were being merged are as they were.
  std::stop_token stop = {};
};

namespace detail {

inline void require_table(const Directory& directory, const std::string& name, const std::string& into,
                          const std::string& from) {
  if (look_up(directory, name)) return;
  throw Error(ENOENT, "merge", directory.path() / from, "there is no table \"" + name + "\"", directory.path() / into);
}

/// Calls `work()`; its errors say `words()`, too.
template <class Words, class Work>
void explained(Words words, Work work) {
  try {
    work();
  } catch (const Error& error) {
    const std::string hint = error.hint().empty() ? words() : error.hint() + "; " + words();
    throw Error(error.code(), error.doing(), error.path(), hint, error.other_path());
  }
}

/// What became of two tables that were to be merged.
struct Outcome {
  const char* words = undone;

  static constexpr const char* undone = "both are as they were";
  static constexpr const char* happened =
      "that happened; what is left of it goes when one of them is merged or written again";
  static constexpr const char* unknown = "that is finished or undone when one of them is merged or written again";
};

/// Calls `work(outcome)`; its errors name both tables, and say the outcome.
template <class Work>
void explained_merge(const std::string& into, const std::string& from, Work work) {
  Outcome outcome;
  explained([&] { return "merging \"" + from + "\" into \"" + into + "\": " + outcome.words; }, [&] { work(outcome); });
}

// 3 to 8 of claim.hpp.
/// @pre 1 and 2 were done
template <CountKey Key>
void merge_held(const Directory& directory, const std::string& into, const std::string& from, const SumOptions& options,
                Outcome& outcome) {
  Claim claim{0, into, from};
  if (claim.name().size() > longest_name)
    throw Error(errc::invalid_name, "merge", directory.path() / from, "both names together have more than 210 bytes",
                directory.path() / into);
  require_table(directory, into, into, from);
  require_table(directory, from, into, from);
  const TableFile ours(directory, into, 0);
  const TableFile theirs(directory, from, 0);
  for (const TableFile* table : {&ours, &theirs})
    if (table->header().key_bits != key_bits<Key>)
      throw Error(errc::wrong_key_type, "merge", directory.path() / from,
                  "keys of " + std::to_string(theirs.header().key_bits) + " bits into keys of " +
                      std::to_string(ours.header().key_bits) + ", asked for " + std::to_string(key_bits<Key>),
                  directory.path() / into);
  for (const TableFile* table : {&ours, &theirs}) table->require_all_keys("merge");
  while (claim.nonce == 0 || claim.nonce == ours.header().absorbed) claim.nonce = random_number();
  const std::unique_ptr<AppendFile> sum = write_table_sum<Key>(directory, ours, theirs, claim.nonce, options);  // 3
  claim_table(directory, claim);                                                                                // 4
  try {
    sync_names(directory);                            // 5
    sum->commit(into, Replacing::whatever_is_there);  // 6, 7
  } catch (...) {
    outcome.words = Outcome::unknown;
    try {
      const bool happened = look_up_outcome(directory, claim);
      if (!happened) undo_claim(directory, claim);
      outcome.words = happened ? Outcome::happened : Outcome::undone;
    } catch (const std::exception&) {
      // The claim stays, for whoever recovers.
    }
    throw;
  }
  outcome.words = Outcome::happened;
  remove_claim(directory, claim);  // 8
  directory.emit(EventKind::merge_round, directory.path() / into, sum->size(), from);
}

template <CountKey Key>
void make_empty(const Directory& directory, const std::string& name) {
  const std::filesystem::path path = directory.path() / name;
  if constexpr (std::is_same_v<Key, std::uint16_t>) {
    AppendFile out(directory, path, "merge into");
    SmallCounts().store(out, 0);
    out.commit(name, Replacing::nothing);
  } else {
    TableWriter out(directory, path, key_bits<Key>, "merge into");
    out.finish(0);
    out.commit(name, Replacing::nothing);
  }
}

/// A table takes a name that nothing has: as if it was merged into an empty one, in one step.
/// @pre the locks of both names are held, and no claim concerns them
template <CountKey Key>
void rename_table(const Directory& directory, const std::string& into, const std::string& from) {
  const TableFile table(directory, from, key_bits<Key>);
  table.require_all_keys("merge");
  if (rename_new(directory.fd(), from.c_str(), directory.fd(), into.c_str(), WithoutFlag::look,
                 &directory.state().lacks()) != 0)
    throw Error(errno, "merge", directory.path() / from, {}, directory.path() / into);
  try {
    directory.committed(into);
    sync_names(directory);
  } catch (...) {
    rename_new(directory.fd(), into.c_str(), directory.fd(), from.c_str(), WithoutFlag::look,
               &directory.state().lacks());
    throw;
  }
  directory.emit(EventKind::merge_round, directory.path() / into, table.size(), from);
}

struct PreparedMerges {
  std::vector<std::string> tables;  ///< `into` and those that are there
  bool first_is_done = false;       ///< it has become `into`, which was not there
};

/// Sees to it that `into` is there.
/// @pre the locks of all names are held, and no claim concerns them
template <CountKey Key>
PreparedMerges prepare_merges(const Directory& directory, const std::string& into,
                              const std::vector<std::string>& names, const std::stop_token& stop) {
  PreparedMerges prepared;
  if (!look_up(directory, into)) {
    for (const std::string& name : names) require_table(directory, name, into, name);
    if (stop.stop_requested()) throw Error(ECANCELED, "merge into", directory.path() / into, "stopped");
    prepared.first_is_done = !names.empty();
    if (prepared.first_is_done)
      rename_table<Key>(directory, into, names.front());
    else
      make_empty<Key>(directory, into);
  }
  prepared.tables.push_back(into);
  for (const std::string& name : names)
    if (look_up(directory, name)) prepared.tables.push_back(name);
  return prepared;
}

}  // namespace detail

/// Adds the counts of one table to another, and removes the one: exactly once, whatever happens.
///
/// Takes time and disk space in proportion to both tables, and memory of a few buffers. Readers go on with what they
/// opened.
///
/// @param into a committed table: it has the sums afterwards
/// @param from another one, of the same key type: gone afterwards
/// @throws Error `busy` when somebody writes or merges one of them; EINVAL for a table and itself; ENOENT;
///         `wrong_key_type`; `count_overflow`; ECANCELED; what reading and writing throw. Both are as they were then,
///         or the error says that it happened, or that it will be finished or undone: merge them again.
/// After a crash: both as they were, or the sums and no `from`, once anybody merges or writes one of the two again;
/// until then `from` may be missing. Merging again when it had happened does nothing, or says that `from` is not there.
template <CountKey Key>
void merge(Workspace workspace, std::string_view into, std::string_view from, MergeOptions options = {}) {
  detail::check_file_name(into, "merge into");
  detail::check_file_name(from, "merge");
  if (into == from)
    throw Error(std::make_error_code(std::errc::invalid_argument), "merge", workspace.path() / from,
                "a table and itself; it was not changed", workspace.path() / into);
  const detail::Directory& directory = detail::table_directory(workspace);
  const std::string to(into), gone(from);
  detail::explained_merge(to, gone, [&](detail::Outcome& outcome) {
    const detail::NameLock lock(directory, {to, gone}, "merge");         // 1
    for (const detail::Claim& claim : detail::recover(directory, lock))  // 2
      if (claim.into == to && claim.from == gone && !detail::look_up(directory, gone)) return;
    detail::merge_held<Key>(directory, to, gone, {options.threads, options.memory, options.progress, options.stop},
                            outcome);
  });
}

/// Adds the counts of all these tables to `into`, and removes them, in rounds of pairs, several pairs at a time.
///
/// @param into  where it is not there, the first of `names` is renamed to it
/// @param names tables; those that are not there are passed over if `into` is, as after a merge that was interrupted
/// @throws Error as `merge`, `busy` before anything is merged; what was merged before stays merged, and all other tables
///         are as they were
/// After a crash: call it again, with the same names, and every count is exact.
template <CountKey Key>
void merge_all(Workspace workspace, std::string_view into, std::vector<std::string> names, MergeOptions options = {}) {
  detail::check_file_name(into, "merge into");
  std::set<std::string_view> seen{into};
  for (const std::string& name : names) {
    detail::check_file_name(name, "merge");
    if (!seen.insert(name).second)
      throw Error(std::make_error_code(std::errc::invalid_argument), "merge", workspace.path() / name,
                  "it is named twice; nothing was merged", workspace.path() / std::string(into));
  }
  const detail::Directory& directory = detail::table_directory(workspace);
  const std::string target(into);
  std::set<std::string> all(names.begin(), names.end());
  all.insert(target);
  std::optional<detail::NameLock> held;
  detail::PreparedMerges prepared;
  detail::explained([&] { return "nothing was merged into \"" + target + "\" yet"; },
                    [&] {
                      held.emplace(directory, std::move(all), "merge");  // 1
                      detail::recover(directory, *held);                 // 2
                      prepared = detail::prepare_merges<Key>(directory, target, names, options.stop);
                    });
  std::vector<std::string> tables = std::move(prepared.tables);
  std::uint64_t done = prepared.first_is_done ? 1 : 0;
  const std::uint64_t total = tables.size() - 1 + done;
  if (done > 0 && options.progress) options.progress(done, total);
  std::mutex mutex;
  std::exception_ptr failure;

  while (tables.size() > 1) {
    const std::size_t pairs = tables.size() / 2;
    const auto at_once =
        static_cast<unsigned>(std::min<std::uint64_t>(pairs, detail::merging_threads(options.threads, options.memory)));
    const detail::SumOptions each{std::max(options.threads / at_once, 1U), options.memory / at_once, {}, options.stop};
    std::atomic<std::size_t> next{0};
    const auto work = [&]() noexcept {
      for (std::size_t i = next++; i < pairs; i = next++) {
        try {
          detail::explained_merge(tables[2 * i], tables[2 * i + 1], [&](detail::Outcome& outcome) {
            detail::merge_held<Key>(directory, tables[2 * i], tables[2 * i + 1], each, outcome);
          });
          const std::lock_guard lock(mutex);
          ++done;
          if (options.progress && !failure) options.progress(done, total);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!failure) failure = std::current_exception();
          next = pairs;
        }
      }
    };
    std::vector<detail::Thread> threads;
    try {
      for (unsigned t = 1; t < at_once; ++t) threads.emplace_back(work);
    } catch (const std::exception&) {
      // fewer threads do the same work
    }
    work();
    for (detail::Thread& thread : threads) thread.join();
    if (failure) std::rethrow_exception(failure);
    std::vector<std::string> left;
    for (std::size_t i = 0; i < tables.size(); i += 2) left.push_back(std::move(tables[i]));
    tables = std::move(left);
    if (tables.size() == 1) return;
    // R4 of claim.hpp: the next round changes and claims these tables.
    detail::explained([&] { return "not all is merged into \"" + target + "\" yet: merge again"; },
                      [&] { detail::sync_names(directory); });
  }
}

}  // namespace scratch::inline SCRATCH_ABI
