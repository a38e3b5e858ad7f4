// SPDX-License-Identifier: MIT
// floor 5: wings
//
// Work in several places that goes on where a killed process left it.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include <scratch/detail/session/set_making.hpp>
#include <scratch/place.hpp>
#include <scratch/policy.hpp>
#include <scratch/session_options.hpp>
#include <scratch/session_set.hpp>

namespace scratch::inline SCRATCH_ABI {

template <Place P, SessionPolicy... Ps>
SessionSet<P, Ps...> detail::SetMaking::adopt(std::vector<P> places, std::string_view id, SessionOptions options) {
  std::vector<Location> locations;
  for (P& place : places) {
    place = resolved(std::move(place));
    locations.push_back(location_of(place));
  }
  SetAdoption adoption(locations, id);
  SetStates states = adoption.finish(options, choices<P, Ps...>());
  std::vector<P> in_order;
  for (std::size_t i = 0; i < states.size(); ++i) in_order.push_back(std::move(places[adoption.place(i)]));
  return SessionSet<P, Ps...>(sessions<P, Ps...>(std::move(in_order), std::move(states)));
}

/// Becomes the owner of a set of sessions whose owner is dead: of all of them, or of none.
///
/// `adopt_set<Under, KeepAlways>(places, unfinished(places.front(), "job")->id)`. Each of them is afterwards as `adopt()`
/// leaves it; names stand where they stood. One that is missing, having been removed or not being mounted, is an error:
/// what was in it is not passed over in silence. Only where the owner died while it made the set or completed it, and a
/// sweep has taken one since, is what is left of the set of no use: it is removed then.
///
/// @param places  those of the set, in any order
/// @param id      as `list_sessions()` and `unfinished()` give it, in any of the places
/// @param options .quota, of each: 0: the one that it had; .need is asked of all places together
/// @throws Error EINVAL where these are not the places of the set, or it is a session alone; `session_gone` where one of
///         the set is not there; as `adopt()` for each. It can be adopted again then, where it could.
/// After a crash: it can be adopted again.
/// O(files).
template <Place P, SessionPolicy... Ps>
[[nodiscard("the sessions end with the statement: give the set a name")]]  //
SessionSet<P, Ps...>
adopt_set(std::vector<P> places, std::string_view id, SessionOptions options = {}) {
  return detail::SetMaking::adopt<P, Ps...>(std::move(places), id, std::move(options));
}

}  // namespace scratch::inline SCRATCH_ABI
