// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Tables merged by the steps of claim.hpp, whoever holds their locks.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/detail/count/file/small_counts.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/file/table_writer.hpp>
#include <scratch/detail/count/merge/claim.hpp>
#include <scratch/detail/count/merge/claim_name.hpp>
#include <scratch/detail/count/merge/table_sum.hpp>
#include <scratch/detail/kernel/random.hpp>
#include <scratch/detail/kernel/rename.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Calls `work()`; its errors say `words()`, too.
template <class Words, class Work>
void explained(Words words, Work work) {
  try {
    work();
  } catch (const Error& error) {
    const std::string more = words();
    const std::string between = error.hint().empty() || more.empty() ? "" : "; ";
    throw Error(error.code(), error.doing(), error.path(), error.hint() + between + more, error.other_path());
  }
}

/// What became of tables that were to be merged.
enum class Outcome { undone, happened, unknown };

/// Calls `work(outcome)`; its errors name the tables, and say the outcome.
template <class Work>
void explained_merge(const std::string& into, const std::vector<std::string>& names, Work work) {
  Outcome outcome = Outcome::undone;
  const auto words = [&] {
    const bool one = names.size() == 1;
    const std::string which = one ? "\"" + names.front() + "\"" : std::to_string(names.size()) + " tables";
    const std::string what = "merging " + which + " into \"" + into + "\": ";
    const std::string of_them = one ? "one" : "any";
    switch (outcome) {
      case Outcome::undone:
        break;
      case Outcome::happened:
        return what + "that happened; what is left of it goes when " + of_them + " of them is merged or written again";
      case Outcome::unknown:
        return what + "that is finished or undone when " + of_them + " of them is merged or written again";
    }
    return what + (one ? "both" : "all") + " are as they were";
  };
  explained(words, [&] { work(outcome); });
}

inline void require_table(const Directory& directory, const std::string& name, const std::string& into,
                          const std::string& from) {
  if (look_up(directory, name)) return;
  throw Error(ENOENT, "merge", directory.path() / from, "there is no table \"" + name + "\"", directory.path() / into);
}

/// @throws Error `invalid_name` where a claim would have too long a name
inline void check_claim_name(const Directory& directory, const std::string& into, const std::string& from) {
  if (Claim{0, into, from}.name().size() > longest_name)
    throw Error(errc::invalid_name, "merge", directory.path() / from, "both names together have more than 210 bytes",
                directory.path() / into);
}

/// Looks at A whether the merge happened; where it did not, the claims are undone.
inline Outcome settle(const Directory& directory, const std::vector<Claim>& claims) {
  Outcome outcome = Outcome::undone;
  for (const Claim& claim : claims) {
    try {
      if (look_up_outcome(directory, claim)) return Outcome::happened;
      undo_claim(directory, claim);
    } catch (const std::exception&) {
      outcome = Outcome::unknown;  // the claim stays, for whoever recovers
    }
  }
  return outcome;
}

// The worker of a `Sequencer` that closes tables: the memory of a file that has no name any more goes with it.
template <class Table>
struct TableCloser {
  std::vector<Table>* tables;

  void work(std::size_t i, Sequencer&) { const Table closed = std::move((*tables)[i]); }
};

// 3 to 8 of claim.hpp.
/// @param is_there `into`; it was looked for once, and whoever does not find it a second time must not replace it
/// @param names    what becomes part of it
/// @pre 1 and 2 were done; claims have names
template <CountKey Key>
void merge_held(const Directory& directory, const std::string& into, bool is_there,
                const std::vector<std::string>& names, const SumOptions& options, Outcome& outcome) {
  using Table = TableFileFor<Key>;
  std::vector<Table> tables;
  std::uint64_t absorbed = 0, nonce = 0;
  if (is_there) {
    tables.emplace_back(directory, into, key_bits<Key>);
    absorbed = tables.front().header().absorbed;
  }
  for (const std::string& name : names) tables.emplace_back(directory, name, key_bits<Key>);
  for (const Table& table : tables) table.require_all_keys("merge");
  std::sort(tables.begin(), tables.end(),
            [](const Table& a, const Table& b) { return a.header().entries < b.header().entries; });
  while (nonce == 0 || nonce == absorbed) nonce = random_number();

  const std::unique_ptr<AppendFile> sum =
      write_table_sum<Key>(directory, directory.path() / into, tables, nonce, options);  // 3
  std::vector<Claim> claims;
  try {
    for (const std::string& name : names) claim_table(directory, claims.emplace_back(Claim{nonce, into, name}));  // 4
    sync_names(directory);                                                                                        // 5
    sum->commit(into, is_there ? Replacing::whatever_is_there : Replacing::nothing);  // 6, 7
  } catch (...) {
    outcome = settle(directory, claims);
    throw;
  }
  outcome = Outcome::happened;
  for (const Claim& claim : claims) remove_claim(directory, claim);  // 8
  std::vector<TableCloser<Table>> closers(std::max(options.threads, 1U), {&tables});
  Sequencer::run(tables.size(), closers);
  directory.emit(EventKind::merge_round, directory.path() / into, sum->size(),
                 names.size() == 1 ? names.front() : std::to_string(names.size()) + " tables");
}

template <CountKey Key>
void make_empty(const Directory& directory, const std::string& name) {
  const std::filesystem::path path = directory.path() / name;
  if constexpr (std::is_same_v<Key, std::uint16_t>) {
    AppendFile out(directory, path, "merge into");
    SmallCounts().store(out, 0);
    out.commit(name, Replacing::nothing);
  } else {
    TableWriterOf<MixedOf<Key>> out(directory, path, key_bits<Key>, "merge into");
    out.finish(0);
    out.commit(name, Replacing::nothing);
  }
}

/// A table takes a name that nothing has: as if it was merged into an empty one, in one step.
/// @pre the locks of both names are held, and no claim concerns them
template <CountKey Key>
void rename_table(const Directory& directory, const std::string& into, const std::string& from) {
  const TableFileFor<Key> table(directory, from, key_bits<Key>);
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

}  // namespace scratch::inline SCRATCH_ABI::detail
