// SPDX-License-Identifier: MIT
//
// What earlier runs left goes before the work begins.
#pragma once

#include <string>

#include <scratch/sweep.hpp>

#include "errors.hpp"

namespace support {

/// Sweeps at a program's start. Where that is refused although sessions work, the program says so and goes on.
template <scratch::Place P>
scratch::SweepReport sweep_at_start(const P& place, const scratch::SweepOptions& options = {}) {
  scratch::SweepReport report = scratch::sweep(place, options);
  const auto& refused = report.refused;
  if (refused && (refused->code() == scratch::errc::locks_unreliable || refused->code() == scratch::errc::busy))
    notice(std::string("what earlier runs left stays: ") + refused->what());
  return report;
}

}  // namespace support
