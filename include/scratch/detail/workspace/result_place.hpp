// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Where a result goes: what its name leads to, and what may be done to that.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A directory and a name in it that is no link. The way there is the kernel's to understand: `x/../y` may lead anywhere
/// where `x` is a link.
struct ResultPlace {
  enum class Way : std::uint8_t {
    replaced,  ///< nothing has the name, or a file of this user: the result takes it whole
    in_place,  ///< somebody else's file, whose owner and other names stay: its bytes become the result's
    through    ///< a device, a FIFO, what /proc says is open: the bytes go where it leads
  };

  std::filesystem::path path{};
  Fd directory{};
  std::string name{};
  Way way = Way::replaced;
  std::optional<struct stat> old = {};  ///< the regular file that has the name

  /// @throws Error when nothing may be written there
  static ResultPlace of(std::filesystem::path path) {
    constexpr int most_links = 40;
    for (int links = 0; links <= most_links; ++links) {
      ResultPlace place = named(std::move(path));
      std::array<char, 4097> target{};
      const ssize_t size = sys::readlinkat(place.directory.get(), place.name.c_str(), target.data(), target.size() - 1);
      if (size < 0) {
        if (errno != EINVAL && errno != ENOENT) throw_error(errno, "look for", place.path);
        place.look();
        return place;
      }
      struct statfs system {};
      if (sys::fstatfs(place.directory.get(), system) == 0 && system.f_type == PROC_SUPER_MAGIC) {
        place.way = Way::through;  // it stands for what is open, whether that has a name or not
        return place;
      }
      path = place.path.parent_path() / target.data();
    }
    throw_error(ELOOP, "follow", path);
  }

  /// What is written there goes to `fd()` of the answer. @throws Error
  Fd open() const {
    const int flags = O_WRONLY | O_NOCTTY | (way == Way::through ? O_APPEND : O_NOFOLLOW | O_NONBLOCK);
    Fd file(sys::openat(directory.get(), name.c_str(), flags));
    if (file) return file;
    const int error = errno;
    throw_error(error, "open", path, open_files_hint(error));
  }

 private:
  static ResultPlace named(std::filesystem::path path) {
    ResultPlace place;
    place.name = path.filename();
    if (place.name.empty() || place.name == "." || place.name == "..")
      throw_error(EISDIR, "write", path, "name the file, not only its directory");
    const std::filesystem::path parent = path.parent_path();
    place.directory = Fd(sys::openat(AT_FDCWD, parent.empty() ? "." : parent.c_str(), O_PATH | O_DIRECTORY));
    if (!place.directory) {
      const int error = errno;
      throw_error(error, "open the directory", parent, open_files_hint(error));
    }
    place.path = std::move(path);
    return place;
  }

  void look() {
    struct stat facts {};
    if (sys::fstatat(directory.get(), name.c_str(), facts) != 0) {
      if (errno != ENOENT) throw_error(errno, "examine", path);
      return;
    }
    if (S_ISDIR(facts.st_mode)) throw_error(EISDIR, "write", path, "a directory has the target's name");
    if (S_ISSOCK(facts.st_mode)) throw_error(ENXIO, "write", path, "it is a socket");
    if (!sys::may(directory.get(), name.c_str(), W_OK)) throw_error(errno, "write", path);
    if (!S_ISREG(facts.st_mode)) {
      way = Way::through;
      return;
    }
    old = facts;
    const uid_t me = sys::geteuid();
    if (facts.st_uid == me) return;
    const struct stat around = facts_of(directory.get(), path.parent_path());
    if (me != 0 && around.st_uid != me && (around.st_mode & S_ISVTX) != 0)
      throw_error(EPERM, "write", path, "it belongs to somebody else, in a sticky directory");
    way = Way::in_place;
  }
};

}  // namespace scratch::inline SCRATCH_ABI::detail
