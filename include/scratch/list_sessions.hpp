// SPDX-License-Identifier: MIT
// floor 5: wings
//
// What sessions there are in a place, living and dead.
#pragma once

#include <vector>

#include <scratch/detail/session/look.hpp>
#include <scratch/place.hpp>
#include <scratch/session_info.hpp>

namespace scratch::inline SCRATCH_ABI {

/// The sessions in a place, by name: oldest first, as `NamedByTime` calls them. Nothing is changed. Sessions that end
/// meanwhile may be missing; one that cannot be read is a row with an `error`. O(files in them).
///
/// @throws Error for a place that cannot be read at all: `untrusted_directory`, what the kernel says; EPERM for
///         `all_users` by another user than root; no sessions where the root does not exist
template <Place P>
std::vector<SessionInfo> list_sessions(const P& place, ListOptions options = {}) {
  const detail::Location location = detail::location_of(place);
  return detail::SessionList(location, options).all();
}

}  // namespace scratch::inline SCRATCH_ABI
