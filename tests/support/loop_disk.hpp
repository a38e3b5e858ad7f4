// SPDX-License-Identifier: MIT
//
// Disks of a test's own, which can break.
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace scratch::test {

struct Disk {
  const char* name;
  const char* type;
  const char* make;
  const char* options;
};

inline std::ostream& operator<<(std::ostream& out, const Disk& disk) { return out << disk.name; }

/// As it is made, and where it is told to promise less.
inline const std::vector<Disk> ext4_disks = {
    {"ext4", "ext4", "mkfs.ext4 -q -F", ""},
    {"ext4 noauto_da_alloc", "ext4", "mkfs.ext4 -q -F", "noauto_da_alloc"},
    {"ext4 data=writeback", "ext4", "mkfs.ext4 -q -F", "data=writeback,noauto_da_alloc"},
};

/// A file system in a file; the power can be cut.
class LoopDisk {
 public:
  LoopDisk(const Disk& disk, const std::filesystem::path& image, const std::filesystem::path& at, std::uint64_t size)
      : disk_(disk), at_(at) {
    if (::access("/dev/loop-control", R_OK | W_OK) != 0) skip("loop devices need root");
    put(image);
    std::filesystem::resize_file(image, size);
    if (std::system((std::string(disk.make) + " " + image.native() + " >/dev/null 2>&1").c_str()) != 0)
      skip(std::string("no ") + disk.make);
    FILE* pipe = ::popen(("losetup -f --show " + image.native() + " 2>/dev/null").c_str(), "r");
    char name[64] = {};
    if (pipe == nullptr || std::fgets(name, sizeof name, pipe) == nullptr) skip("no loop device");
    ::pclose(pipe);
    device_ = std::string(name, std::string_view(name).find('\n'));
    std::filesystem::create_directories(at);
    if (!mount()) {
      detach();
      skip(std::string("cannot mount ") + disk.name);
    }
  }
  LoopDisk(const LoopDisk&) = delete;
  LoopDisk& operator=(const LoopDisk&) = delete;
  ~LoopDisk() {
    ::umount2(at_.c_str(), MNT_DETACH);
    detach();
  }

  bool mount() const { return ::mount(device_.c_str(), at_.c_str(), disk_.type, 0, disk_.options) == 0; }

  /// Everything that was not on the disk, journal included, is lost.
  void cut_power() const {
    constexpr unsigned long shutdown = _IOR('X', 125, std::uint32_t);
    std::uint32_t without_flush = 2;
    const int root = ::open(at_.c_str(), O_RDONLY | O_DIRECTORY);
    const bool cut = ::ioctl(root, shutdown, &without_flush) == 0;
    ::close(root);
    if (!cut) skip("the file system cannot be shut down");
  }

  /// ext4 alone: as if it had found an error in itself. With errors=remount-ro it is read-only from then on.
  void find_error() const {
    const std::string name = std::filesystem::path(device_).filename();
    if (std::system(("echo 1 2>/dev/null >/sys/fs/ext4/" + name + "/trigger_fs_error").c_str()) != 0)
      skip("no error can be had of the file system");
  }

  void back_again() const {
    REQUIRE(::umount2(at_.c_str(), 0) == 0);
    REQUIRE(mount());
  }

 private:
  void detach() const {
    if (std::system(("losetup -d " + device_ + " >/dev/null 2>&1").c_str()) != 0) std::perror("losetup");
  }

  Disk disk_;
  std::filesystem::path at_;
  std::string device_;
};

}  // namespace scratch::test
