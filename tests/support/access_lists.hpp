// SPDX-License-Identifier: MIT
//
// Access lists (acl(5)), without a library for them.
#pragma once

#include <sys/xattr.h>

#include <array>
#include <cstdint>
#include <filesystem>

namespace scratch::test {

/// What is made in the directory from now on may be written to by its group and by user 65534, for all that the umask
/// says, and its owner may only read it. False where there are no such lists.
inline bool set_default_access(const std::filesystem::path& directory) {
  struct Entry {
    std::uint16_t tag, rights;
    std::uint32_t id;
  };
  constexpr std::uint32_t none = 0xffffffff;
  struct {
    std::uint32_t version = 2;
    std::array<Entry, 5> entries{Entry{0x01, 4, none},   // the owner
                                 Entry{0x02, 7, 65534},  // user 65534
                                 Entry{0x04, 7, none},   // the group
                                 Entry{0x10, 7, none},   // the mask
                                 Entry{0x20, 5, none}};  // others
  } const list;
  return ::setxattr(directory.c_str(), "system.posix_acl_default", &list, sizeof list, 0) == 0;
}

}  // namespace scratch::test
