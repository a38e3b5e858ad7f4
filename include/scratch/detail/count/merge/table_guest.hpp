// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Interrupted merges, as a guest of a workspace: finished or undone before a table is taken away.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <scratch/detail/count/merge/claim.hpp>
#include <scratch/detail/count/merge/claim_name.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/file_removal.hpp>
#include <scratch/detail/workspace/guest.hpp>
#include <scratch/detail/workspace/name_lock.hpp>
#include <scratch/detail/workspace/owned_names.hpp>
#include <scratch/detail/workspace/shared_state.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

class TableGuest final : public Guest {
 public:
  static constexpr std::string_view kind = "tables";

  explicit TableGuest(SharedState& state) : Guest(kind), state_(state) {}

  /// The name's lock, with no interrupted merge that concerns the name. Nothing where nobody of ours ever wrote a
  /// table: there are no locks then, and no claims.
  std::unique_ptr<Hold> hold(const Directory& where, const std::string& name, const char* doing) override {
    struct Locked final : Hold {
      explicit Locked(NameLock taken) : lock(std::move(taken)) {}
      NameLock lock;
    };
    struct stat facts {};
    const uid_t me = sys::geteuid();
    if (sys::fstatat(where.fd(), name_locks_file, facts) != 0 || (facts.st_uid != me && me != 0)) return nullptr;
    auto held = std::make_unique<Locked>(NameLock(where, name, doing));
    recover(where, held->lock);
    return held;
  }

  /// A table that goes takes its claim along; where only the one goes that it was being merged into, it first has its
  /// name again, unless that merge happened.
  void before_removal(FileRemoval& removal, const Directory& where, const std::string& prefix,
                      const NameFilter& goes) override {
    for (const Claim& claim : claims_in(where)) {
      const bool source = goes(claim.from);
      if (!source && !goes(claim.into)) continue;
      try {
        const NameLock lock(where, {claim.into, claim.from}, "remove");
        if (source)
          removal.remove(where.fd(), claim.name(), prefix + claim.from);
        else
          recover(where, claim);
      } catch (const Error& error) {
        removal.spare(prefix + claim.into, error);  // else nobody would know any more what is in it
      }
    }
  }

  /// Merges. One whose names somebody holds is that one's business.
  void repair(const Directory& where) override {
    for (const Claim& claim : claims_in(where)) {
      try {
        const NameLock lock(where, {claim.into, claim.from}, "finish an interrupted merge with");
        recover(where, lock);
      } catch (const Error& error) {
        if (error.code() != errc::busy) throw;
      }
    }
  }

  /// Tables that were being merged stand under the names of their claims.
  std::uint64_t bytes_kept(const NameSet& ours) override {
    std::uint64_t bytes = 0;
    for (const std::string& area : areas_of(ours)) {
      const Fd open = open_directory(state_.fd(), area.empty() ? "." : area.c_str());
      if (!open) continue;
      for_each_entry(open.get(), state_.path() / area, [&](const Entry& entry) {
        const auto claim = Claim::parse(entry.name);
        if (!claim || !ours.contains(area + claim->from)) return;
        if (const auto facts = facts_of(open.get(), std::string(entry.name), state_.path() / area))
          bytes += static_cast<std::uint64_t>(facts->st_size);
      });
    }
    return bytes;
  }

 private:
  SharedState& state_;
};

/// Registered before `main` in every program that instantiates `table_directory`.
template <class = void>
inline const bool tables_are_guests = register_guest([](SharedState& state) -> std::unique_ptr<Guest> {
  return std::make_unique<TableGuest>(state);
});

/// The directory of a workspace, for whatever writes, reads or merges tables in it.
template <class = void>
const Directory& table_directory(const Workspace& workspace) noexcept {
  [[maybe_unused]] const bool registered = tables_are_guests<>;
  return directory_of(workspace);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
