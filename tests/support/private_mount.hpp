// SPDX-License-Identifier: MIT
//
// File systems of a test's own: seen by this process and its children only, gone when they end.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace scratch::test {

/// From here on this process has these namespaces of its own; in one of users too, whose root he is, where he is not root.
inline bool own_namespaces(int flags) {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (::unshare(flags) == 0) return true;
  if (::unshare(CLONE_NEWUSER | flags) != 0) return false;
  try {
    put("/proc/self/setgroups", "deny");
    put("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1");
    put("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1");
  } catch (const std::exception&) {
    return false;
  }
  return true;
}

/// From here on this process has mounts of its own; skips the case where that is not allowed. Call it first.
inline void own_mounts() {
  if (!own_namespaces(CLONE_NEWNS) || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    skip("mounting needs root or user namespaces");
}

/// Mounts a tmpfs ("size=1m,nr_inodes=32"); detaches it in the end.
class TinyTmpfs {
 public:
  /// @pre own_mounts() was called
  TinyTmpfs(const std::filesystem::path& at, const std::string& options) : at_(at) {
    std::filesystem::create_directories(at);
    if (::mount("tmpfs", at.c_str(), "tmpfs", 0, options.c_str()) != 0) skip("cannot mount a tmpfs");
  }
  TinyTmpfs(const TinyTmpfs&) = delete;
  TinyTmpfs& operator=(const TinyTmpfs&) = delete;
  ~TinyTmpfs() { ::umount2(at_.c_str(), MNT_DETACH); }

  const std::filesystem::path& path() const { return at_; }

 private:
  std::filesystem::path at_;
};

}  // namespace scratch::test
