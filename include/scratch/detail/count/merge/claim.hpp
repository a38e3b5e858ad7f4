// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What makes a merge happen exactly once, whenever its process dies or the power goes (checked by
// tests/proof/models/claims.pml, of several tables at once, and claim.pml, which also renames). "Durable": only where
// the workspace is.
//
// To merge tables B1 ... Bk into table A, which may be missing (merging.hpp has 3 to 8):
// 1. Hold the locks of all their names, or give up as busy.
// 2. Recover the claims into them and of them. Then look which of them are there, and not before.
// 3. Write the sum, without a name yet; `absorbed` in its header is a new nonce of 64 random bits, not A's.
// 4. Claim each B: rename it to `.scratch-claim.<nonce>.<length of A>.<A>.<B>`, replacing nothing.
// 5. Durable: sync the names. No claim is lost that the sum speaks of.
// 6. Commit: the sum takes the name A. That is the moment.
// 7. Durable: sync the names. No B goes whose sum may be lost.
// 8. Remove the claims. 9. Let go of the locks.
// Where 4 or 6 fails: A has not absorbed the nonce: rename the claims back. Else they stay, for whoever recovers.
//
// To recover the claims of or into some names, whose locks are held:
// R1. Hold the lock of the claim's other name, too, or give up as busy.
// R2. A is there and has absorbed the nonce: the merge happened, else it did not. Nothing else decides that.
// R3. It happened: Durable: sync the names, since who died may have done so before 7. Remove the claim.
//     It did not: rename the claim back to B.
// R4. Durable: sync the names behind the last claim, and also where none is left, since who died may have done so
//     behind 8. A has room for one nonce: no claim into it may come back once it changes, is claimed or goes.
// It can die anywhere and be done again.
//
// Only A can tell what became of its claims, so whoever takes a table away does 1 and 2 first. Removing B is easier: it
// goes under the name of its claim.
#pragma once

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
#include <scratch/detail/count/format/header.hpp>
#include <scratch/detail/count/merge/claim_name.hpp>
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
  return facts_of(where.fd(), name, where.path()).has_value();
}

inline void sync_names(const Directory& where) {
  if (where.durable() && sys::fsync(where.fd()) != 0) throw_error(errno, "sync", where.path());
}

/// The table gets the name that says what it is merged into.
inline void claim_table(const Directory& where, const Claim& claim) {
  if (rename_new(where.fd(), claim.from.c_str(), where.fd(), claim.name().c_str(), WithoutFlag::look,
                 &where.state().lacks()) != 0)
    throw_error(errno, "claim for a merge the table", where.path() / claim.from);
}

/// The claimed table is in the other one: it goes.
inline void remove_claim(const Directory& where, const Claim& claim) {
  struct stat facts {};
  const std::string name = claim.name();
  const bool there = sys::fstatat(where.fd(), name.c_str(), facts) == 0;
  if (sys::unlinkat(where.fd(), name.c_str()) != 0 && errno != ENOENT)
    throw_error(errno, "remove the merged table", where.path() / name);
  if (there) where.state().quota().removed(static_cast<std::uint64_t>(facts.st_size));
}

/// The claimed table has its own name again.
inline void undo_claim(const Directory& where, const Claim& claim) {
  const std::string name = claim.name();
  if (rename_new(where.fd(), name.c_str(), where.fd(), claim.from.c_str(), WithoutFlag::look, &where.state().lacks()) ==
      0)
    return;
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
  if (moved.error != 0) throw_error(moved.error, "read the count table", path);
  return load_count_header(Bytes(start).first(moved.size), size, path).absorbed == claim.nonce;
}

/// R2 and R3.
/// @pre the locks of both names are held
/// @returns whether the merge had happened
inline bool recover(const Directory& where, const Claim& claim) {
  const bool happened = look_up_outcome(where, claim);
  if (happened) {
    sync_names(where);
    remove_claim(where, claim);
  } else {
    undo_claim(where, claim);
  }
  return happened;
}

/// Recovers all claims that concern the names held, of or into them.
/// @returns those whose merge had happened
inline std::vector<Claim> recover(const Directory& where, const NameLock& held) {
  std::vector<Claim> happened;
  for (Claim& claim : claims_in(where)) {
    if (!held.holds(claim.into) && !held.holds(claim.from)) continue;
    const std::string& other = held.holds(claim.into) ? claim.from : claim.into;
    std::optional<NameLock> lock;
    if (!held.holds(other)) lock.emplace(where, other, "finish an interrupted merge with");  // R1
    if (recover(where, claim)) happened.push_back(std::move(claim));
  }
  sync_names(where);  // R4
  return happened;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
