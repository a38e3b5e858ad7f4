// SPDX-License-Identifier: MIT
//
// What the user asked for cannot be done: one line that says what and why.
#pragma once

#include <stdexcept>

namespace table_export {

struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace table_export
