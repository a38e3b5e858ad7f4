// SPDX-License-Identifier: MIT
//
// What --place says.
#pragma once

#include <string>

#include <scratch/any_place.hpp>
#include <scratch/place.hpp>

namespace support {

/// @param name shm, tmp, or a directory
/// @param app  whose sessions they are in the first two
inline scratch::AnyPlace place_of(const std::string& name, const char* app) {
  if (name == "shm") return scratch::Shm{app};
  if (name == "tmp") return scratch::TmpDir{app};
  return scratch::Under{name};
}

}  // namespace support
