// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What makes a merge happen exactly once, whenever its process dies (checked by tests/models/claim.pml).
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
#pragma once

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/detail/checksum.hpp>
#include <scratch/detail/dir.hpp>
#include <scratch/detail/name_lock.hpp>
#include <scratch/detail/names.hpp>
#include <scratch/detail/syscalls.hpp>
#include <scratch/detail/table_file.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr std::string_view claim_prefix = ".scratch-claim.";

/// Says that table `from` is being merged into table `into`.
struct Claim {
  std::uint64_t nonce = 0;
  std::string into, from;

  std::string name() const {
    return std::string(claim_prefix) + hex16(nonce) + "." + std::to_string(into.size()) + "." + into + "." + from;
  }

  static std::optional<Claim> parse(std::string_view name) {
    constexpr std::size_t hex = 16;
    if (!name.starts_with(claim_prefix)) return std::nullopt;
    name.remove_prefix(claim_prefix.size());
    if (name.size() < hex + 1 || name[hex] != '.') return std::nullopt;
    const auto nonce = parse_hex16(name.substr(0, hex));
    name.remove_prefix(hex + 1);
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), length);
    name.remove_prefix(static_cast<std::size_t>(end - name.data()));
    if (!nonce || error != std::errc() || !name.starts_with('.')) return std::nullopt;
    name.remove_prefix(1);
    if (length == 0 || name.size() < length + 2 || name[length] != '.') return std::nullopt;
    return Claim{*nonce, std::string(name.substr(0, length)), std::string(name.substr(length + 1))};
  }
};

inline std::vector<Claim> claims_in(const Workspace& workspace) {
  std::vector<Claim> claims;
  for_each_entry(workspace.fd(), workspace.path(), [&](const Entry& entry) {
    if (std::optional<Claim> claim = Claim::parse(entry.name)) claims.push_back(std::move(*claim));
  });
  return claims;
}

inline bool exists(const Workspace& workspace, const std::string& name) {
  struct stat facts {};
  if (sys::fstatat(workspace.fd(), name.c_str(), facts) == 0) return true;
  if (errno != ENOENT) throw Error(errno, "examine", workspace.path() / name);
  return false;
}

inline void sync_names(const Workspace& workspace) {
  if (workspace.durable() && sys::fsync(workspace.fd()) != 0) throw Error(errno, "sync", workspace.path());
}

/// The claimed table is in the other one: it goes.
inline void remove_claim(const Workspace& workspace, const Claim& claim) {
  struct stat facts {};
  const std::string name = claim.name();
  const bool there = sys::fstatat(workspace.fd(), name.c_str(), facts) == 0;
  if (sys::unlinkat(workspace.fd(), name.c_str()) != 0 && errno != ENOENT)
    throw Error(errno, "remove the merged table", workspace.path() / name);
  if (there) workspace.ground().quota().removed(static_cast<std::uint64_t>(facts.st_size));
}

/// The claimed table has its own name again.
inline void undo_claim(const Workspace& workspace, const Claim& claim) {
  const std::string name = claim.name();
  if (sys::rename_new(workspace.fd(), name.c_str(), workspace.fd(), claim.from.c_str()) != 0)
    throw Error(errno, "give back its name to the table", workspace.path() / name,
                "a merge was interrupted; its source waits under this name", workspace.path() / claim.from);
}

/// Whether the merge that a claim speaks of happened.
/// @pre the lock of `claim.into` is held
inline bool happened(const Workspace& workspace, const Claim& claim) {
  if (!exists(workspace, claim.into)) return false;
  return TableFile(workspace, claim.into, 0).header().absorbed == claim.nonce;
}

/// Recovers the claims that concern a table, of or into it.
///
/// @param name  whose lock is held
/// @param other another name whose lock is held, or the same
/// @returns whether a merge of `other` into `name` turned out to have happened
inline bool recover(const Workspace& workspace, const std::string& name, const std::string& other) {
  bool finished = false;
  for (const Claim& claim : claims_in(workspace)) {
    const auto concerns = [&](const std::string& table) { return claim.into == table || claim.from == table; };
    if (!concerns(name) && !concerns(other)) continue;
    std::vector<NameLock> locks;
    for (const std::string& table : {claim.into, claim.from})
      if (table != name && table != other) locks.emplace_back(workspace, table, "finish an interrupted merge with");
    if (happened(workspace, claim)) {
      remove_claim(workspace, claim);
      finished = finished || (claim.into == name && claim.from == other);
    } else {
      undo_claim(workspace, claim);
    }
  }
  return finished;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
