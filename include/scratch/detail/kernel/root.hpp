// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Directories that may be trusted: made by us, or found and examined.
//
// A root that the library derives (`<app>-<uid>`) stands where anybody may write, so what has its name may be a trap:
// it must be ours, a directory, and closed to everybody else. A root that the user names must be ours and not writable
// by others; 0755 is fine. Nothing is ever changed into shape, save the mode of a directory that was just made here and
// that the umask cut.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A directory that was just made. Empty where that failed.
struct MadeDirectory {
  Fd directory = {};
  struct stat facts = {};
  bool umask_is_strange = false;  ///< it took even the owner's rights, and does so from files
  bool keeps_modes = true;
};

inline MadeDirectory open_made_directory(int parent, const char* name, mode_t mode) {
  MadeDirectory made;
  made.directory = open_directory(parent, name);
  if (!made.directory && errno == EACCES) {  // umask 0777, and not root: not even its owner may open it
    const Fd path(sys::openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    if (!path || sys::fstat(path.get(), made.facts) != 0) return {};
    if (made.facts.st_uid != sys::geteuid() || sys::chmod_unopened(path.get(), mode) != 0) {
      errno = EACCES;
      return {};
    }
    made.umask_is_strange = true;
    made.directory = open_directory(parent, name);
  }
  if (!made.directory || sys::fstat(made.directory.get(), made.facts) != 0) return {};
  if ((made.facts.st_mode & 0777) == mode) return made;
  made.umask_is_strange = made.umask_is_strange || (made.facts.st_mode & 0700) != 0700;
  const bool others_may_write = (made.facts.st_mode & 0022) != 0;
  made.keeps_modes = sys::fchmod(made.directory.get(), mode) == 0;
  if (!made.keeps_modes && (others_may_write || !means_lack(errno))) return {};
  return made;
}

/// Makes a directory and opens it; its mode is `mode`, whatever the umask. Empty with errno set where it could not:
/// EEXIST when the name is taken, ENOENT when the new directory was taken away at once.
inline MadeDirectory make_directory(int parent, const char* name, mode_t mode) {
  if (sys::mkdirat(parent, name, mode) != 0) return {};
  MadeDirectory made = open_made_directory(parent, name, mode);
  if (!made.directory) {
    const int error = errno;
    sys::unlinkat(parent, name, AT_REMOVEDIR);
    errno = error;
  }
  return made;
}

enum class RootKind : std::uint8_t {
  derived,   ///< `<app>-<uid>`: ours alone, mode 0700
  named,     ///< chosen by the user: ours, and not writable by others
  pgsql_tmp  ///< as named; made with the mode of the directory above it
};

/// A root to work in.
struct Root {
  Fd directory;
  std::filesystem::path path;
};

struct RootWanted {
  std::filesystem::path path;  ///< absolute
  RootKind kind = RootKind::named;
  std::string reason;  ///< why this one: told when it cannot be used
  uid_t owner = sys::geteuid();
  bool durable = false;  ///< one that is made outlives a power cut
};

inline std::string octal(mode_t mode) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "%04o", static_cast<unsigned>(mode & 07777));
  return text.data();
}

inline std::string described(const struct stat& facts) {
  return std::string(kind_of(facts)) + " of user " + std::to_string(facts.st_uid) + " with mode " +
         octal(facts.st_mode);
}

[[noreturn]] inline void throw_untrusted(const RootWanted& wanted, const struct stat& found) {
  const bool derived = wanted.kind == RootKind::derived;
  const bool only_mode = S_ISDIR(found.st_mode) && found.st_uid == wanted.owner;
  throw_error(errc::untrusted_directory, "use the root", wanted.path,
              "found " + described(found) + "; needed: a directory of user " + std::to_string(wanted.owner) + ", " +
                  (derived ? "mode 0700" : "not writable by group or others") + "; " +
                  (only_mode ? derived ? "chmod 700 makes it one; " : "chmod go-w makes it one; " : "") +
                  "chosen because " + wanted.reason);
}

/// What stands there, examined. @throws Error `untrusted_directory`
inline void check_trusted(const RootWanted& wanted, const struct stat& found) {
  const mode_t open_to_others = wanted.kind == RootKind::derived ? 077 : 022;
  if (!S_ISDIR(found.st_mode) || found.st_uid != wanted.owner || (found.st_mode & open_to_others) != 0)
    throw_untrusted(wanted, found);
}

/// The names in a directory outlive a power cut. @throws Error
inline void sync_directory(const std::filesystem::path& path) {
  const Fd open(sys::openat(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY));
  if (!open || sys::fsync(open.get()) != 0) throw_error(errno, "sync the directory", path);
}

/// Makes the missing directories of a path, each 0700. What is there is left as it is.
inline void make_parents(const std::filesystem::path& path, bool durable) {
  std::filesystem::path grown;
  for (const std::filesystem::path& part : path) {
    const std::filesystem::path above = grown;
    grown /= part;
    if (part == path.root_path() || sys::mkdirat(AT_FDCWD, grown.c_str(), 0700) != 0) continue;
    const Fd made = open_directory(AT_FDCWD, grown.c_str());
    if (made) sys::fchmod(made.get(), 0700);
    if (durable) sync_directory(above);
  }
}

inline Fd open_parent(const RootWanted& wanted, const std::filesystem::path& parent) {
  Fd above(sys::openat(AT_FDCWD, parent.c_str(), O_PATH | O_DIRECTORY));
  if (!above) {
    const int error = errno;
    if (error == ENOENT) return {};
    throw_error(error, "open the directory above the root", parent, "chosen because " + wanted.reason);
  }
  const struct stat facts = facts_of(above.get(), parent);
  if ((facts.st_mode & S_IWOTH) != 0 && (facts.st_mode & S_ISVTX) == 0)
    throw_error(errc::untrusted_directory, "use the directory above the root", parent,
                "everybody may write there and it is not sticky (mode " + octal(facts.st_mode) +
                    "), so anybody could swap the root; chmod +t, or choose another place");
  return above;
}

/// Opens a root that is there. Empty when nothing is.
/// @throws Error `untrusted_directory`, naming what was found and what is needed; what the kernel says
inline Fd open_root(const RootWanted& wanted) {
  const std::filesystem::path parent = wanted.path.parent_path();
  const std::string name = wanted.path.filename();
  if (name.empty()) throw_error(errc::invalid_name, "use the root", wanted.path, "the file system's root is no place");
  const Fd above = open_parent(wanted, parent);
  if (!above) return {};
  Fd root = open_directory(above.get(), name.c_str());
  if (!root) {
    const int error = errno;
    if (error == ENOENT) return {};
    struct stat found {};
    if (sys::fstatat(above.get(), name.c_str(), found) == 0) check_trusted(wanted, found);
    throw_error(error, "open the root", wanted.path, open_files_hint(error));
  }
  check_trusted(wanted, facts_of(root.get(), wanted.path));
  return root;
}

/// Opens a root, making it first when it is not there.
/// @throws Error as `open_root`
inline Fd make_root(const RootWanted& wanted) {
  if (Fd root = open_root(wanted)) return root;
  const std::filesystem::path parent = wanted.path.parent_path();
  const std::string name = wanted.path.filename();
  if (wanted.kind != RootKind::pgsql_tmp) make_parents(parent, wanted.durable);
  const Fd above = open_parent(wanted, parent);
  if (!above) throw_error(ENOENT, "open the directory above the root", parent, "chosen because " + wanted.reason);
  mode_t mode = 0700;
  if (wanted.kind == RootKind::pgsql_tmp) mode = facts_of(above.get(), parent).st_mode & 0750;
  const bool made = static_cast<bool>(make_directory(above.get(), name.c_str(), mode).directory);
  const int error = errno;
  if (made || error == EEXIST) {  // by somebody else, just now
    if (wanted.durable) sync_directory(parent);
    if (Fd root = open_root(wanted); root || made) return root;
  }
  throw_error(error, "create the root", wanted.path,
              "chosen because " + wanted.reason + "; SCRATCH_DIR or TMPDIR, or a place such as Under{}, names another");
}

}  // namespace scratch::inline SCRATCH_ABI::detail
