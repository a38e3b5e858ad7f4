// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What makes a merge happen exactly once, whenever its process dies (checked by tests/proof/models/claim.pml).
//
// To merge table B into table A:
// 1. Hold the locks of both names, or give up as busy.
// 2. Recover: finish or undo the claims that dead processes left into A, into B, and of B.
// 3. Claim: rename B to `.scratch-claim.<nonce>.<length of A>.<A>.<B>`, the nonce being 64 random bits.
// 4. Commit: a new A, with `absorbed` = nonce in its header, takes the place of A.
// 5. Remove the claim.
//
// To recover a claim, under the locks of both of its names: where A.absorbed is the nonce, the merge happened: remove
// the claim. Else it did not: rename the claim back to B. A failed merge is undone only where it surely did not happen.
//
// Only A can tell what became of its claims, so whoever takes a table away does 1 and 2 first. Removing B is easier: it
// goes under the name of its claim.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/count/table/claim_name.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/rename.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/name_lock.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline std::vector<Claim> claims_in(const Directory& where) {
  std::vector<Claim> claims;
  for_each_entry(where.fd(), where.path(), [&](const Entry& entry) {
    if (std::optional<Claim> claim = Claim::parse(entry.name)) claims.push_back(std::move(*claim));
  });
  return claims;
}

inline bool look_up(const Directory& where, const std::string& name) {
  struct stat facts {};
  if (sys::fstatat(where.fd(), name.c_str(), facts) == 0) return true;
  if (errno != ENOENT) throw Error(errno, "examine", where.path() / name);
  return false;
}

inline void sync_names(const Directory& where) {
  if (where.durable() && sys::fsync(where.fd()) != 0) throw Error(errno, "sync", where.path());
}

/// The claimed table is in the other one: it goes.
inline void remove_claim(const Directory& where, const Claim& claim) {
  struct stat facts {};
  const std::string name = claim.name();
  const bool there = sys::fstatat(where.fd(), name.c_str(), facts) == 0;
  if (sys::unlinkat(where.fd(), name.c_str()) != 0 && errno != ENOENT)
    throw Error(errno, "remove the merged table", where.path() / name);
  if (there) where.state().quota().removed(static_cast<std::uint64_t>(facts.st_size));
}

/// The claimed table has its own name again.
inline void undo_claim(const Directory& where, const Claim& claim) {
  const std::string name = claim.name();
  if (rename_new(where.fd(), name.c_str(), where.fd(), claim.from.c_str(), WithoutFlag::look) == 0) return;
  const int error = errno;
  if (error == ENOENT) return;  // somebody recovered it before its names were locked here
  throw Error(error, "give back its name to the table", where.path() / name,
              "a merge was interrupted; its source waits under this name", where.path() / claim.from);
}

/// Whether the merge that a claim speaks of happened.
/// @pre the lock of `claim.into` is held
inline bool look_up_outcome(const Directory& where, const Claim& claim) {
  if (!look_up(where, claim.into)) return false;
  const std::filesystem::path path = where.path() / claim.into;
  const Fd table = open_existing(where.fd(), claim.into.c_str(), O_RDONLY, path);
  const auto size = static_cast<std::uint64_t>(facts_of(table.get(), path).st_size);
  std::array<std::byte, count_header_size> start{};
  const sys::Moved moved = sys::pread_all(table.get(), start, 0);
  if (moved.error != 0) throw Error(moved.error, "read the count table", path);
  return load_count_header(Bytes(start).first(moved.size), size, path).absorbed == claim.nonce;
}

/// @pre the locks of both names are held
inline bool recover(const Directory& where, const Claim& claim) {
  const bool finished = look_up_outcome(where, claim);
  if (finished)
    remove_claim(where, claim);
  else
    undo_claim(where, claim);
  return finished;
}

/// Recovers the claims that concern a table, of or into it.
///
/// @param name  whose lock is held
/// @param other another name whose lock is held, or the same
/// @returns whether a merge of `other` into `name` turned out to have happened
inline bool recover(const Directory& where, const std::string& name, const std::string& other) {
  bool finished = false;
  for (const Claim& claim : claims_in(where)) {
    const auto concerns = [&](const std::string& table) { return claim.into == table || claim.from == table; };
    if (!concerns(name) && !concerns(other)) continue;
    std::vector<NameLock> locks;
    for (const std::string& table : {claim.into, claim.from})
      if (table != name && table != other) locks.emplace_back(where, table, "finish an interrupted merge with");
    if (recover(where, claim)) finished = finished || (claim.into == name && claim.from == other);
  }
  return finished;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
