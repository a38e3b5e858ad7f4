// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Directories that may be trusted: made by us, or found and examined.
//
// A root that the library derives (`<app>-<uid>`) stands where anybody may write, so what has its name may be a trap:
// it must be ours, a directory, and closed to everybody else. A root that the user names must be ours and not writable
// by others; 0755 is fine, and so is a link to one, if nobody else could have made the link. Nothing is ever changed into
// shape, save the mode of a directory that was just made here and that the umask cut.
//
// The directory above may be open to everybody, as /tmp and Kubernetes' emptyDir are. Where it is not sticky others can
// take the root away or put something in its place, but nothing that passes as ours, and what was opened stays the one
// that was examined: it is used by its descriptor.
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
  made.keeps_modes = sys::fchmod(made.directory.get(), (made.facts.st_mode & 07000) | mode) == 0;
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
  std::snprintf(text.data(), text.size(), "%04o", mode & 07777);
  return text.data();
}

inline std::string described(const struct stat& facts) {
  return std::string(kind_of(facts)) + " of user " + std::to_string(facts.st_uid) + " with mode " +
         octal(facts.st_mode);
}

/// As a shell takes it.
inline std::string shell_word(const std::filesystem::path& path) {
  std::string word = "'";
  for (const char c : path.native()) word += c == '\'' ? "'\\''" : std::string(1, c);
  return word + "'";
}

inline bool anybody_may_write(const struct stat& directory) { return (directory.st_mode & S_IWOTH) != 0; }

/// What helps where a root cannot be read, or nothing can be made in it.
inline std::string hint_for_root(const std::filesystem::path& root, int error) {
  if (error == EACCES) return "chmod u+rwx " + shell_word(root) + " if it is yours, or another place";
  if (error == EROFS) return "its file system is read-only: SCRATCH_DIR, or another place";
  return open_files_hint(error);
}

/// Whether others can exchange what stands in it.
inline bool anybody_may_rename(const struct stat& directory) {
  return anybody_may_write(directory) && (directory.st_mode & S_ISVTX) == 0;
}

inline bool has_trusted_mode(const RootWanted& wanted, const struct stat& found) {
  return wanted.kind == RootKind::derived ? (found.st_mode & 0777) == 0700 : (found.st_mode & 022) == 0;
}

/// What to do about a directory that is not to be trusted.
inline std::string advice(const RootWanted& wanted, const struct stat& found) {
  const bool derived = wanted.kind == RootKind::derived;
  if (S_ISDIR(found.st_mode) && found.st_uid == wanted.owner)
    return std::string("chmod ") + (derived ? "700 " : "go-w ") + shell_word(wanted.path) + " makes it one";
  if (derived) return "SCRATCH_DIR=<a directory> chooses another";
  if (S_ISDIR(found.st_mode) && anybody_may_write(found))
    return "a directory in it can be one: " + (wanted.path / "scratch").native();
  return "name another";
}

[[noreturn]] inline void throw_untrusted(const RootWanted& wanted, const struct stat& found) {
  throw_error(errc::untrusted_directory, "use the root", wanted.path,
              "found " + described(found) + "; needed: a directory of user " + std::to_string(wanted.owner) + ", " +
                  (wanted.kind == RootKind::derived ? "mode 0700" : "not writable by group or others") + "; " +
                  advice(wanted, found) + "; chosen because " + wanted.reason);
}

/// What stands there, examined. @throws Error `untrusted_directory`
inline void check_trusted(const RootWanted& wanted, const struct stat& found) {
  if (!S_ISDIR(found.st_mode) || found.st_uid != wanted.owner || !has_trusted_mode(wanted, found))
    throw_untrusted(wanted, found);
}

/// The names in a directory outlive a power cut. @throws Error
inline void sync_directory(const std::filesystem::path& path) {
  const Fd open(sys::openat(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY));
  if (!open || sys::fsync(open.get()) != 0) throw_error(errno, "sync the directory", path);
}

[[noreturn]] inline void throw_missing_parent(const RootWanted& wanted) {
  const std::filesystem::path parent = wanted.path.parent_path();
  std::filesystem::path missing;
  for (const std::filesystem::path& part : parent) {
    missing /= part;
    if (!Fd(sys::openat(AT_FDCWD, missing.c_str(), O_PATH))) break;
  }
  throw_error(
      ENOENT, "create the root", wanted.path,
      "chosen because " + wanted.reason + "; " + missing.native() + " is not there: mkdir -p " + shell_word(parent));
}

/// The directory in which a root stands.
struct AboveRoot {
  Fd directory;  ///< empty: there is none
  struct stat facts = {};
};

inline AboveRoot open_above(const RootWanted& wanted) {
  const std::filesystem::path parent = wanted.path.parent_path();
  AboveRoot above{Fd(sys::openat(AT_FDCWD, parent.c_str(), O_PATH | O_DIRECTORY))};
  if (!above.directory) {
    const int error = errno;
    if (error == ENOENT) return {};
    throw_error(error, "open the directory above the root", parent, "chosen because " + wanted.reason);
  }
  above.facts = facts_of(above.directory.get(), parent);
  const uid_t owner = above.facts.st_uid;
  if (anybody_may_rename(above.facts) && owner != 0 && owner != sys::geteuid())
    throw_error(errc::untrusted_directory, "use the directory above the root", parent,
                "it belongs to user " + std::to_string(owner) +
                    ", everybody may write there, and it is not sticky, so anybody could swap the root: chmod +t " +
                    shell_word(parent) + " helps, or another place");
  return above;
}

/// What a link at a root's place leads to: asked of the link that was examined, which its name may not lead to any more.
/// @throws Error `untrusted_directory`; ENOENT, ELOOP, ...
inline Fd follow_link(const RootWanted& wanted, const AboveRoot& above, const char* name) {
  const auto fail = [&](int error, const std::string& what) {
    throw_error(error, "open the root", wanted.path, what + "; chosen because " + wanted.reason);
  };
  const Fd link(sys::openat(above.directory.get(), name, O_PATH | O_NOFOLLOW));
  if (!link) fail(errno, "it is a link");
  const uid_t owner = facts_of(link.get(), wanted.path).st_uid;
  if (anybody_may_rename(above.facts) || (owner != wanted.owner && owner != 0))
    throw_error(errc::untrusted_directory, "use the root", wanted.path,
                "it is a link of user " + std::to_string(owner) +
                    ", and others can exchange it: name the directory itself; chosen because " + wanted.reason);
  std::array<char, 4096> text{};  // PATH_MAX
  if (sys::readlinkat(link.get(), "", text.data(), text.size() - 1) < 0) fail(errno, "it is a link");
  Fd root(sys::openat(above.directory.get(), text.data(), O_RDONLY | O_DIRECTORY));
  if (root) return root;
  const int error = errno;
  const std::filesystem::path target = wanted.path.parent_path() / text.data();
  fail(error, "it is a link to " + target.native() + (error == ENOENT ? ": mkdir -m 700 " + shell_word(target) : ""));
  return {};
}

/// Opens a root that is there. Empty when nothing is.
/// @throws Error `untrusted_directory`, naming what was found and what is needed; what the kernel says
inline Fd open_root(const RootWanted& wanted) {
  const std::string name = wanted.path.filename();
  if (name.empty()) throw_error(errc::invalid_name, "use the root", wanted.path, "the file system's root is no place");
  const AboveRoot above = open_above(wanted);
  if (!above.directory) return {};
  Fd root = open_directory(above.directory.get(), name.c_str());
  if (!root) {
    const int error = errno;
    if (error == ENOENT) return {};
    struct stat found {};
    const bool examined = sys::fstatat(above.directory.get(), name.c_str(), found) == 0;
    if (examined && S_ISLNK(found.st_mode) && wanted.kind != RootKind::derived)
      root = follow_link(wanted, above, name.c_str());
    else if (examined)
      check_trusted(wanted, found);
    if (!root) throw_error(error, "open the root", wanted.path, hint_for_root(wanted.path, error));
  }
  check_trusted(wanted, facts_of(root.get(), wanted.path));
  return root;
}

/// Opens a root, making it first when it is not there. What is missing above it is not made.
/// @throws Error as `open_root`; ENOENT
inline Fd make_root(const RootWanted& wanted) {
  if (Fd root = open_root(wanted)) return root;
  const AboveRoot above = open_above(wanted);
  if (!above.directory) throw_missing_parent(wanted);
  const mode_t mode = wanted.kind == RootKind::pgsql_tmp ? above.facts.st_mode & 0750 : 0700;
  const bool made =
      static_cast<bool>(make_directory(above.directory.get(), wanted.path.filename().c_str(), mode).directory);
  const int error = errno;
  if (made || error == EEXIST) {  // by somebody else, just now
    if (wanted.durable) sync_directory(wanted.path.parent_path());
    if (Fd root = open_root(wanted); root || made) return root;
  }
  throw_error(error, "create the root", wanted.path,
              "chosen because " + wanted.reason + "; SCRATCH_DIR or TMPDIR, or a place such as Under{}, names another");
}

}  // namespace scratch::inline SCRATCH_ABI::detail
