// SPDX-License-Identifier: MIT
//
// One input after the other, each into a table of its own: what is counted is not counted again after a kill.
//
// In the session stand, for input i, `input_i.read`, what was found in it, and then `input_i`, its table. When all are
// there they are brought to the first place, and only then does the session say that they are being merged: until then
// a table that is missing was not counted, afterwards it is in another one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "options.hpp"
#include "rows.hpp"
#include "support/sessions.hpp"
#include "worker.hpp"

namespace kmer_frequency {

/// What came of counting.
struct AllCounted {
  std::vector<Counted> workers;
  FilesRead read;
  std::vector<std::string> tables;        ///< in the first place
  std::optional<std::uint64_t> distinct;  ///< keys, where the table may have fewer
};

/// Counts each input, save those whose table is there.
/// @param inputs  as they were when the work began
/// @param told    how far reading has come
/// @throws support::Refused, support::Stopped, scratch::Error
AllCounted count_each_input(support::Sessions& sessions, const Options& options, const RowSource& inputs,
                            const std::function<void(const ReadSoFar&)>& told, const OnCommit& committing);

/// All of these tables stand in the first place afterwards.
void gather(support::Sessions& sessions, const std::vector<std::string>& tables);

}  // namespace kmer_frequency
