// SPDX-License-Identifier: MIT
// floor 5: wings
//
// Removes what dead sessions left in a place.
#pragma once

#include <utility>

#include <scratch/detail/session/sweeping.hpp>
#include <scratch/place.hpp>
#include <scratch/sweep_options.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Removes what dead sessions left in a place. A live session is never harmed, whatever its age, and neither is a
/// directory that this library did not make, whatever its name.
///
/// Made for a program's start: it ends within its budget, and what it cannot do it reports, a bad entry in `failed`,
/// and in `refused` what keeps it from the whole place: `untrusted_directory`, `locks_unreliable`, `busy`, what the
/// kernel says. Thread-safe, and uses threads of its own where there is much to do; any number of processes may sweep
/// one place. What is not older than 20 ms and may be about to be locked it meets again after 10 ms, once for all.
/// @throws Error EINVAL for an option that makes no sense; EPERM for `all_users` by another user than root, and where
///         users have no roots of their own; with `must` what else would be `refused`
/// After a crash: what it was removing is trash, which the next sweep takes.
template <Place P>
SweepReport sweep(const P& place, SweepOptions options = {}) {
  detail::Sweeping sweeping(options);
  sweeping.sweep(place);
  return std::move(sweeping).report();
}

/// The same for several places: all tablespaces of a database. The budget is one for all.
template <std::ranges::input_range R>
requires Place<std::ranges::range_value_t<R>> SweepReport sweep(const R& places, SweepOptions options = {}) {
  detail::Sweeping sweeping(options);
  for (const auto& place : places) sweeping.sweep(place);
  return std::move(sweeping).report();
}

}  // namespace scratch::inline SCRATCH_ABI
