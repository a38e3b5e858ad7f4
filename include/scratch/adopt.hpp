// SPDX-License-Identifier: MIT
// floor 5: wings
//
// Work that goes on where a killed process left it.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include <scratch/detail/session/adoption.hpp>
#include <scratch/detail/session/session_state.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/place.hpp>
#include <scratch/policy.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_info.hpp>
#include <scratch/session_options.hpp>
#include <scratch/space.hpp>

namespace scratch::inline SCRATCH_ABI {

namespace detail {

struct Adopting {
  template <Place P, SessionPolicy... Ps>
  static SessionDir<P, Ps...> adopt(P place, std::string_view id, SessionOptions options) {
    const SessionChoices choices = choices_with(options, SessionDir<P, Ps...>::choices());
    const Cleanup cleanup = cleanup_among(options, choices);
    place = resolved(std::move(place));
    const Location location = location_of(place);
    Adoption adoption(location, id);
    if (options.need > 0) require_space(adoption.path(), options.need);
    return SessionDir<P, Ps...>(std::move(place),
                                adoption.finish(location.root, {choices.engine, cleanup},
                                                workspace_options(std::move(options), choices.io, choices.durable)));
  }
};

}  // namespace detail

/// Becomes the owner of a session whose owner is dead: `adopt<Under, KeepAlways>(place, unfinished(place, "job")->id)`.
///
/// What the dead left half done is finished or undone: merges of tables (in a program that merges some) and temporary
/// files, not those of workers that still live, who go on. Committed chunks, files and tables are there, the record
/// goes on, and the session is this process's as if it had made it, with these policies, whatever those of before were:
/// with `RemoveAlways` it goes at the end. `label()`, `user()` and the start time stay, metadata.json has the owners of
/// before under "previous". A chunk's file that a dead writer had not yet recorded is told as `chunk_unrecorded`.
///
/// Not everybody who uses a session can tell: two processes may try, and one of them gets `busy`.
///
/// @param id      as `list_sessions()` and `unfinished()` give it
/// @param options .quota 0: the one that it had; .need is asked of the place as it is now
/// @throws Error `busy` where its owner is alive, somebody adopts it just now, or removes it; `session_gone`;
///         `invalid_name`; `unsupported_version` for one of another version; `corrupt` where a chunk is on record whose
///         file is not there; `locks_unreliable`; `untrusted_directory`. It can be adopted again then, where it could.
/// After a crash: it can be adopted again.
/// O(files).
template <Place P, SessionPolicy... Ps>
[[nodiscard("the session ends with the statement: give it a name")]]  //
SessionDir<P, Ps...>
adopt(P place, std::string_view id, SessionOptions options = {}) {
  return detail::Adopting::adopt<P, Ps...>(std::move(place), id, std::move(options));
}

/// The session of this label that started last among those that are kept, not completed, and whose owner is dead:
/// what can be gone on with. Nothing where there is none. Changes nothing, disturbs nobody. O(sessions).
///
/// @param label as the session's maker gave it
/// @throws Error for a place that cannot be read at all
template <Place P>
std::optional<SessionInfo> unfinished(const P& place, std::string_view label) {
  return detail::find_unfinished(detail::location_of(place), detail::clean_label(label));
}

}  // namespace scratch::inline SCRATCH_ABI
