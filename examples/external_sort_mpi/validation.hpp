// SPDX-License-Identifier: MIT
//
// Every rank reads its parts back, and leaves what it saw of each as a file of the part's name: the first one, which has
// those of all, sees whether they follow each other and lack nothing.
#pragma once

#include <sstream>
#include <string>

#include "external_sort/delivery.hpp"
#include "external_sort/stage.hpp"

namespace external_sort {

inline Work read_back(const Stage& stage) {
  return with_kind(stage.plan.inputs.format, [&](const auto& kind) {
    const scratch::Workspace seen = stage.session.in(0).area("validation");
    const PartChecker checker(kind, stage.plan.longest, &seen);
    Work work;
    for (const Placed& part : stage.session.area("output").list(parts())) {
      if (!stage.plan.owns(stage.worker, part.index)) continue;
      work.set += checker.check(part, [&] { stage.go_on(); }).set;
      work.bytes_read += part.bytes;
    }
    return work;
  });
}

/// @throws support::Damaged where the parts are not in order, or do not hold what the input holds and was not left out
inline void check_all(const scratch::Workspace& session, const Format& format, const Multiset& input,
                      const Multiset& left_out) {
  const std::string noun = format.noun();
  const scratch::Workspace area = session.area("validation");
  Check whole;
  with_kind(format, [&](const auto& kind) {
    for (const scratch::Numbered& part : parts().list(area)) {
      const auto seen = Check::from_bytes(scratch::read_file(area, part.name));
      if (!seen) throw support::Damaged("what a rank saw of the part " + part.name + " is damaged");
      whole.add(kind, *seen);
    }
  });
  if (!whole.sorted())
    throw support::Damaged("the output is not sorted at " + noun + " " + std::to_string(*whole.first_unsorted));
  Multiset there = whole.set;
  there += left_out;
  if (there == input) return;
  std::ostringstream why;
  why << "the output does not hold the " << noun << "s of the input: " << there.items << " with checksum " << std::hex
      << there.sum << ", not " << std::dec << input.items << " with " << std::hex << input.sum;
  throw support::Damaged(why.str());
}

}  // namespace external_sort
