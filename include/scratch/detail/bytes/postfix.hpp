// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// What input iterators have in common: copies of one are one position.
#pragma once

#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// `it++` is `++it` that gives nothing to read: what stood at the old position is gone.
template <class Iterator>
class Postfix {
 public:
  Postfix operator++(int) {
    ++static_cast<Iterator&>(*this);
    return *this;
  }
};

}  // namespace scratch::inline SCRATCH_ABI::detail
