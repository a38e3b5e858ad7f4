// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// What a file is like beside its bytes and its owner.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Its mode, its group, and what else an ACL allows.
class Likeness {
 public:
  static Likeness of(const struct stat& facts) {
    Likeness like;
    like.mode_ = facts.st_mode & 07777;
    like.group_ = facts.st_gid;
    return like;
  }
  /// @throws Error
  static Likeness of(int file, const std::filesystem::path& path) {
    Likeness like = of(facts_of(file, path));
    const ssize_t size = sys::get_attribute(file, acl_name, like.acl_);
    like.acl_size_ = size > 0 ? static_cast<std::size_t>(size) : 0;
    return like;
  }

  Likeness with(mode_t mode) const {
    Likeness other = *this;
    other.mode_ = mode;
    return other;
  }

  /// As far as this user may, and the file system has such things. The mode comes last: a new group takes bits of it away,
  /// an ACL has its own.
  void give(int file) const noexcept {
    sys::change_group(file, group_);
    if (acl_size_ > 0) sys::set_attribute(file, acl_name, Bytes(acl_).first(acl_size_));
    sys::fchmod(file, mode_);
  }

 private:
  static constexpr const char* acl_name = "system.posix_acl_access";

  mode_t mode_ = 0;
  gid_t group_ = 0;
  std::array<std::byte, 1024> acl_{};
  std::size_t acl_size_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
