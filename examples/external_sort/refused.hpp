// SPDX-License-Identifier: MIT
//
// What the user asked for cannot be done: one line that says what and why.
#pragma once

#include <stdexcept>

namespace external_sort {

struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace external_sort
