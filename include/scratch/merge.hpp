// SPDX-License-Identifier: MIT
// floor 5: wings
//
// Count tables made one, each of them exactly once.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/merge/claim.hpp>
#include <scratch/detail/count/merge/merge_rounds.hpp>
#include <scratch/detail/count/merge/merging.hpp>
#include <scratch/detail/count/merge/table_guest.hpp>
#include <scratch/detail/count/merge/table_sum.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/workspace/name_lock.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// How tables are made one.
struct MergeOptions {
  /// How many threads work, on ranges of the keys.
  unsigned threads = 1;
  /// Buffers in all. A merge takes some 8 MiB a thread, however large the tables; threads that this does not allow are
  /// not used. 8 MiB a thread are enough for 40 tables at once, and it grows in proportion; more are merged in rounds.
  std::uint64_t memory = 64_MiB;
  /// Keys that all the tables together counted less often are left out of the sum, which can then be read, but neither
  /// merged nor added to. 0 and 1: none.
  std::uint64_t at_least = 1;
  /// Told how much of the work is done: keys read of keys that are to be read. Called by the threads that do the work,
  /// one at a time; what it throws ends the merge.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};
  /// Ends the merge with ECANCELED; the tables that were being merged are as they were.
  std::stop_token stop = {};
};

namespace detail {

inline SumOptions sum_options(const MergeOptions& options) {
  return {options.threads, options.memory, std::max<std::uint64_t>(options.at_least, 1), options.progress,
          options.stop};
}

struct PreparedMerge {
  MergeRounds rounds;
  std::uint64_t total = 0;  ///< entries that are read in all of them
};

/// Looks at each table, so that none is found that cannot be merged when others were. `into` that is missing is made
/// where there is nothing to add up.
/// @pre the locks of all names are held, and no claim concerns them
template <CountKey Key>
PreparedMerge prepare_merge(const Directory& directory, const std::string& into, const std::vector<std::string>& names,
                            const SumOptions& options) {
  using Table = TableFileFor<Key>;
  const bool is_there = look_up(directory, into);
  std::size_t most = SumMemory(options, sizeof(EntryOf<MixedOf<Key>>)).tables();
  std::vector<MergeRounds::Table> tables;
  std::vector<Table> open;  // as in a round
  const auto look_at = [&](const std::string& name) {
    if (open.size() == most) open.clear();
    try {
      open.emplace_back(directory, name, key_bits<Key>);
    } catch (const Error& error) {
      if (error.code() != std::errc::too_many_files_open || open.size() < 4) throw;
      most = open.size() / 2;  // the other half is for whatever else is opened
      open.clear();
      open.emplace_back(directory, name, key_bits<Key>);
    }
    tables.push_back({name, open.back().header().entries});
    if (tables.size() > 1 || !is_there) open.back().require_all_keys("merge");
  };
  if (is_there) look_at(into);
  for (const std::string& name : names) {
    if (!is_there) require_table(directory, name, into, name);
    if (!is_there || look_up(directory, name)) look_at(name);
  }
  if (is_there && tables.size() > 1) Table(directory, into, key_bits<Key>).require_all_keys("merge");
  check_stop(options, directory.path() / into);
  if (!is_there && tables.empty()) make_empty<Key>(directory, into);
  const bool renamed = !is_there && tables.size() == 1 && options.at_least == 1;
  if (renamed) rename_table<Key>(directory, into, tables.front().name);
  if (renamed || (!is_there && tables.empty())) return {MergeRounds(into, true, {{into, 0}}, most)};

  PreparedMerge prepared{MergeRounds(into, is_there, std::move(tables), most)};
  for (MergeRounds rounds = prepared.rounds; !rounds.done();) {
    const MergeRounds::Round round = rounds.next();
    for (const std::string& name : round.names) check_claim_name(directory, round.into, name);
    prepared.total += round.entries;
  }
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
/// @throws Error `busy` when somebody writes or merges one of them; EINVAL for a table and itself; ENOENT; ENOTSUP for a
///         table that keys were left out of;
///         `wrong_key_type`; `unsupported_version`; `count_overflow`; ECANCELED; what reading and writing throw. Both
///         are as they were then, or the error says that it happened, or that it will be finished or undone: merge them
///         again.
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
  detail::explained_merge(to, {gone}, [&](detail::Outcome& outcome) {
    const detail::NameLock lock(directory, {to, gone}, "merge");         // 1
    for (const detail::Claim& claim : detail::recover(directory, lock))  // 2
      if (claim.into == to && claim.from == gone && !detail::look_up(directory, gone)) return;
    detail::check_claim_name(directory, to, gone);
    for (const std::string& name : {to, gone}) detail::require_table(directory, name, to, gone);
    detail::merge_held<Key>(directory, to, true, {gone}, detail::sum_options(options), outcome);
  });
}

/// Adds the counts of all these tables to `into`, and removes them: all of them or none, exactly once, in one pass.
///
/// Where they are more than memory has buffers for, or than may be open at once, it is done in rounds, the smallest
/// tables first, each of which is all or none. Takes time and disk space in proportion to all tables, and space for the
/// sum beside them.
///
/// @param into  where it is not there, it is made; a single table is renamed to it. Where nothing is to be added to it, it
///              stays as it is, whatever `.at_least`
/// @param names tables; those that are not there are passed over if `into` is, as after a merge that was interrupted
/// @throws Error as `merge`, for each of the tables before anything is merged; what was merged in rounds before stays
///         merged, and all other tables are as they were
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
  const detail::SumOptions whole = detail::sum_options(options);
  std::optional<detail::NameLock> held;
  std::optional<detail::PreparedMerge> merge;
  detail::explained([&] { return "nothing was merged into \"" + target + "\" yet"; },
                    [&] {
                      held.emplace(directory, std::move(all), "merge");  // 1
                      detail::recover(directory, *held);                 // 2
                      merge = detail::prepare_merge<Key>(directory, target, names, whole);
                    });

  std::uint64_t done = 0;
  for (bool is_first = true; !merge->rounds.done(); is_first = false) {
    const detail::MergeRounds::Round round = merge->rounds.next();
    detail::SumOptions each = whole;
    if (!merge->rounds.done()) each.at_least = 1;  // only of the whole sum it is known
    if (options.progress)
      each.progress = [&](std::uint64_t read, std::uint64_t entries) {  // these may be fewer than was thought
        const std::uint64_t saved = read == entries ? round.entries - entries : 0;
        options.progress(done + read + saved, merge->total);
      };
    const auto words = [&] {
      return is_first ? std::string() : "\"" + target + "\" does not have all of them yet: merge again";
    };
    detail::explained(words, [&] {
      if (!is_first) detail::sync_names(directory);  // R4 of claim.hpp: this round changes and claims other sums
      detail::explained_merge(round.into, round.names, [&](detail::Outcome& outcome) {
        detail::merge_held<Key>(directory, round.into, round.is_there, round.names, each, outcome);
      });
    });
    done += round.entries;
  }
}

}  // namespace scratch::inline SCRATCH_ABI
