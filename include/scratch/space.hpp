// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// How much room there really is.
//
// On a file system in memory, free blocks are a promise that memory may not keep: /dev/shm says half of the machine is
// free until the out-of-memory killer acts. There the least of these counts:
//   the file system's free bytes
//   MemAvailable, less a reserve for everybody else (a twentieth of the memory, at most 512 MiB)
//   for the memory cgroup of this process and each one around it: its limit (memory.max or memory.high) less what it
//   uses and could not drop
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Room for new files.
struct Space {
  std::uint64_t bytes = 0;        ///< that can be written
  std::uint64_t inodes = 0;       ///< files that can be made; the largest number where nothing limits them
  bool memory_backed = false;     ///< what is written takes memory
  std::uint64_t file_system = 0;  ///< what the file system says is free
  std::string limited_by = {};    ///< what `bytes` comes from: "the file system", "free memory", "the memory cgroup",
                                  ///< for a `SpaceWatch` also "the quota"
};

namespace detail {

/// A small text file as the kernel makes them; nullopt where it cannot be read.
inline std::optional<std::string> read_text(const std::string& path) {
  const Fd file(sys::openat(AT_FDCWD, path.c_str(), O_RDONLY));
  if (!file) return std::nullopt;
  std::string text;
  std::array<char, 8192> buffer{};
  for (;;) {
    const sys::Moved moved = sys::read_all(file.get(), std::as_writable_bytes(std::span(buffer)));
    text.append(buffer.data(), moved.size);
    if (moved.error != 0) return std::nullopt;
    if (moved.size < buffer.size()) return text;
  }
}

inline std::optional<std::uint64_t> leading_number(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end != text.data() ? std::optional(number) : std::nullopt;
}

/// Calls `visit(line)` for each line, until it returns true.
template <class Visit>
void for_each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (visit(text.substr(0, end))) return;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

/// The number behind `key` at the beginning of a line: "MemAvailable:  1234 kB".
inline std::optional<std::uint64_t> number_of(std::string_view text, std::string_view key) {
  std::optional<std::uint64_t> number;
  for_each_line(text, [&](std::string_view line) {
    if (!line.starts_with(key)) return false;
    number = leading_number(line.substr(key.size()));
    return true;
  });
  return number;
}

/// Memory that may still be taken, the reserve left out. `root` is put before the paths that are read.
inline std::optional<std::uint64_t> free_memory(const std::string& root = {}) {
  const std::optional<std::string> text = read_text(root + "/proc/meminfo");
  if (!text) return std::nullopt;
  const std::optional<std::uint64_t> total = number_of(*text, "MemTotal:");
  const std::optional<std::uint64_t> available = number_of(*text, "MemAvailable:");
  if (!total || !available) return std::nullopt;
  const std::uint64_t reserve = std::min(*total / 20, std::uint64_t{512} << 10);
  return (*available - std::min(*available, reserve)) << 10;
}

/// Where a hierarchy of cgroups is mounted (empty: nowhere), and where in it we are.
struct Cgroup {
  std::string mount{};
  std::string place{};  // "" or "/a/b"
  bool unified = false;
};

inline std::string field(std::string_view line, std::size_t n) {
  for (; n > 0; --n) line.remove_prefix(std::min(line.find(' '), line.size() - 1) + 1);
  return std::string(line.substr(0, line.find(' ')));
}

/// Version 1's hierarchy of a controller or version 2's, as /proc/self/cgroup and mountinfo tell.
inline Cgroup find_cgroup(const std::string& root, bool unified, std::string_view controller = "memory") {
  const std::optional<std::string> places = read_text(root + "/proc/self/cgroup");
  const std::optional<std::string> mounts = read_text(root + "/proc/self/mountinfo");
  if (!places || !mounts) return {};
  const std::string wanted = std::string(",").append(controller).append(",");
  std::optional<std::string> place;
  for_each_line(*places, [&](std::string_view line) {  // "0::/a/b", "4:memory:/a/b"
    const std::size_t first = line.find(':');
    const std::size_t second = first == line.npos ? first : line.find(':', first + 1);
    if (second == line.npos) return false;
    const std::string controllers = std::string(",").append(line.substr(first + 1, second - first - 1)).append(",");
    if (unified ? controllers == ",," : controllers.find(wanted) != controllers.npos)
      place = std::string(line.substr(second + 1));
    return place.has_value();
  });
  if (!place) return {};
  Cgroup found;
  for_each_line(*mounts, [&](std::string_view line) {  // "36 35 98:0 /root /mount options ... - type source options"
    const std::size_t dash = line.find(" - ");
    if (dash == line.npos) return false;
    const std::string_view kind = line.substr(dash + 3);
    const std::string options = "," + field(kind, 2) + ",";
    if (unified ? field(kind, 0) != "cgroup2" : field(kind, 0) != "cgroup" || options.find(wanted) == options.npos)
      return false;
    const std::string below = field(line, 3);
    std::string inside = *place;
    if (below.starts_with("/..")) {  // a cgroup around all that this process can see: ours is somewhere in it
      inside.clear();
    } else if (below != "/") {
      const bool is_inside =
          inside.starts_with(below) && (inside.size() == below.size() || inside[below.size()] == '/');
      if (!is_inside) return false;
      inside.erase(0, below.size());
    }
    found = {root + field(line, 4), std::move(inside), unified};
    return true;
  });
  if (found.place == "/" || found.place.find("/..") != found.place.npos) found.place.clear();
  return found;
}

/// What one cgroup leaves; nullopt: it has no limit.
inline std::optional<std::uint64_t> left_in(const std::string& directory, bool unified) {
  constexpr std::uint64_t no_limit = std::uint64_t{1} << 62;  // version 1 says 2^63 less a page
  std::uint64_t most = no_limit;
  const auto number_in = [&](const char* file) -> std::optional<std::uint64_t> {
    const std::optional<std::string> text = read_text(directory + file);
    return text ? leading_number(*text) : std::nullopt;  // not a number: "max"
  };
  const auto limit = [&](const char* file) { most = std::min(most, number_in(file).value_or(no_limit)); };
  limit(unified ? "/memory.max" : "/memory.limit_in_bytes");
  if (unified) limit("/memory.high");  // past it the kernel slows the process down until it hardly moves
  const std::optional<std::uint64_t> used = number_in(unified ? "/memory.current" : "/memory.usage_in_bytes");
  if (most == no_limit || !used) return std::nullopt;
  const std::string facts = read_text(directory + "/memory.stat").value_or("");
  // Pages of files on disks are dropped when there is need; those of a tmpfs are not among them.
  std::uint64_t taken = *used;
  for (const char* droppable : {"inactive_file ", "active_file "})
    taken -= std::min(taken, number_of(facts, std::string(unified ? "" : "total_") + droppable).value_or(0));
  return most - std::min(most, taken);
}

/// The least that `left(directory, unified)` says of the cgroups around this process; nullopt: none limits it.
template <class Left>
std::optional<std::uint64_t> least_in_cgroups(const std::string& root, std::string_view controller, Left left) {
  std::optional<std::uint64_t> least;
  for (const bool unified : {true, false}) {
    Cgroup cgroup = find_cgroup(root, unified, controller);
    while (!cgroup.mount.empty()) {
      const std::optional<std::uint64_t> here = left(cgroup.mount + cgroup.place, unified);
      if (here) least = std::min(least.value_or(*here), *here);
      if (cgroup.place.empty()) break;
      cgroup.place.erase(cgroup.place.rfind('/') == std::string::npos ? 0 : cgroup.place.rfind('/'));
    }
  }
  return least;
}

/// The least that the memory cgroups around this process leave; nullopt: none limits it.
inline std::optional<std::uint64_t> left_in_cgroups(const std::string& root = {}) {
  return least_in_cgroups(root, "memory", left_in);
}

/// Of the file system that an open file or directory is on. @throws Error
inline Space space_of(int fd, const std::filesystem::path& path) {
  struct statfs kind {};
  struct statvfs facts {};
  if (sys::fstatfs(fd, kind) != 0 || sys::fstatvfs(fd, facts) != 0)
    throw_error(errno, "ask for the free space of", path);
  constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();
  const auto magic = static_cast<std::uint32_t>(kind.f_type);
  Space space;
  space.memory_backed = magic == TMPFS_MAGIC || magic == RAMFS_MAGIC;
  space.inodes = facts.f_files == 0 ? unlimited : facts.f_favail;
  const std::uint64_t blocks = facts.f_bavail, block = std::max<std::uint64_t>(facts.f_frsize, 1);
  const bool endless = (space.memory_backed && facts.f_blocks == 0) || blocks > unlimited / block;
  space.file_system = endless ? unlimited : blocks * block;
  space.bytes = space.file_system;
  space.limited_by = "the file system";
  if (!space.memory_backed) return space;
  const auto limit = [&](std::optional<std::uint64_t> bytes, const char* by) {
    if (!bytes || *bytes >= space.bytes) return;
    space.bytes = *bytes;
    space.limited_by = by;
  };
  limit(free_memory(), "free memory");
  limit(left_in_cgroups(), "the memory cgroup");
  return space;
}

}  // namespace detail

/// The room where `path` is. Call it `scratch::space`: unqualified, `std::filesystem::space` is found as well.
/// @throws Error ENOENT, EACCES, ...
inline Space space(const std::filesystem::path& path) {
  const detail::Fd place(sys::openat(AT_FDCWD, path.c_str(), O_PATH));
  if (!place) {
    const int error = errno;
    detail::throw_error(error, "ask for the free space of", path, detail::open_files_hint(error));
  }
  return detail::space_of(place.get(), path);
}

/// Asks before the work begins. Room found now can be gone a moment later: a `Quota` or `SpaceWatch` looks on.
/// @throws Error `insufficient_space` when fewer than `need` bytes, or no inode, are free where `path` is
inline void require_space(const std::filesystem::path& path, std::uint64_t need) {
  const Space room = scratch::space(path);
  if (room.bytes < need)
    detail::throw_error(errc::insufficient_space, "find room in", path,
                        readable_size(need) + " needed, " + readable_size(room.bytes) + " free, limited by " +
                            room.limited_by + (room.memory_backed ? "; a place on a disk may have more" : ""));
  if (room.inodes == 0)
    detail::throw_error(errc::insufficient_space, "find room in", path,
                        "no inode is free: the file system has as many files as it can");
}

}  // namespace scratch::inline SCRATCH_ABI
