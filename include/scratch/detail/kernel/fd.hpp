// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// An open file: owned, and opened without being fooled.
#pragma once

#include <cerrno>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <scratch/detail/kernel/mode.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Owns a file descriptor. Empty when moved from.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

  /// Closes it; what the close reports is lost: whoever wrote what must last asks `error_at_close` before.
  void reset() noexcept {
    if (fd_ >= 0) {
      const int saved = errno;
      sys::close(fd_);
      errno = saved;
      fd_ = -1;
    }
  }

  /// @throws Error EMFILE, ENFILE
  Fd duplicate() const {
    Fd copy(sys::duplicate(fd_));
    if (!copy) throw_error(errno, "duplicate a file descriptor", {});
    return copy;
  }

 private:
  int fd_ = -1;
};

inline std::string open_files_hint(int error) {
  if (error == EMFILE) return "this process has too many open files: raise ulimit -n or open fewer at a time";
  if (error == ENFILE) return "the system has too many open files";
  return {};
}

/// What a file system says of the bytes only when the file is closed, as NFS and FUSE do of a quota. 0: nothing.
/// @throws Error EMFILE, ENFILE
inline int error_at_close(const Fd& file, const std::filesystem::path& path) {
  const int copy = sys::duplicate(file.get());
  if (copy < 0) {
    const int error = errno;
    throw_error(error, "close", path, open_files_hint(error));
  }
  return sys::close(copy) == 0 ? 0 : errno;
}

/// `fstat`. @throws Error
inline struct stat facts_of(int fd, const std::filesystem::path& path) {
  struct stat facts {};
  if (sys::fstat(fd, facts) != 0) throw_error(errno, "examine", path);
  return facts;
}

/// Of what has a name in a directory, and not of what a link leads to; nothing where nothing has it.
/// @param path of the directory, for errors
/// @throws Error when the kernel does not say
inline std::optional<struct stat> facts_of(int directory, const std::string& name, const std::filesystem::path& path) {
  struct stat facts {};
  if (sys::fstatat(directory, name.c_str(), facts) == 0) return facts;
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  throw_error(errno, "examine", path / name);
}

inline const char* kind_of(const struct stat& facts) {
  if (S_ISREG(facts.st_mode)) return "a regular file";
  if (S_ISDIR(facts.st_mode)) return "a directory";
  if (S_ISLNK(facts.st_mode)) return "a symbolic link";
  if (S_ISFIFO(facts.st_mode)) return "a FIFO";
  if (S_ISSOCK(facts.st_mode)) return "a socket";
  return "a device";
}

/// Opens an existing file of ours: no link is followed, no FIFO is waited for, and what is not a regular file of this
/// user with one name is refused.
/// @param flags O_RDONLY, O_RDWR, O_APPEND, O_DIRECT
/// @param path  what an error calls it
/// @throws Error ENOENT when it is not there; ELOOP for a symbolic link; `corrupt` for what is not a plain file
inline Fd open_existing(int dir, const char* name, int flags, const std::filesystem::path& path) {
  Fd file(sys::openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!file) {
    const int error = errno;
    throw_error(error, "open", path, error == ELOOP ? "a symbolic link stands in its place" : open_files_hint(error));
  }
  const struct stat facts = facts_of(file.get(), path);
  if (!S_ISREG(facts.st_mode)) throw_error(errc::corrupt, "open", path, std::string("found ") + kind_of(facts));
  const uid_t me = sys::geteuid();
  if (facts.st_uid != me && me != 0)
    throw_error(errc::corrupt, "open", path, "the file belongs to user " + std::to_string(facts.st_uid));
  if (facts.st_nlink > 1 && sys::links_now(file.get()) != 1)
    throw_error(errc::corrupt, "open", path, "the file has a second name (a hard link)");
  return file;
}

/// Makes a new file that nobody had. @throws Error EEXIST when the name is taken, by whatever
inline Fd create_new(int dir, const char* name, int flags, const std::filesystem::path& path) {
  Fd file(sys::openat(dir, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (!file) {
    const int error = errno;
    throw_error(error, "create", path, open_files_hint(error));
  }
  return file;
}

/// `open_existing`, or `create_new` where nothing has the name.
inline Fd open_or_create(int dir, const char* name, int flags, const std::filesystem::path& path) {
  for (;;) {
    try {
      return open_existing(dir, name, flags, path);
    } catch (const Error& error) {
      if (error.code() != std::errc::no_such_file_or_directory) throw;
    }
    try {
      Fd file = create_new(dir, name, flags, path);
      if ((facts_of(file.get(), path).st_mode & 0777) != 0600) set_mode(file.get(), 0600, path);  // a strange umask
      return file;
    } catch (const Error& error) {
      if (error.code() != std::errc::file_exists) throw;  // else somebody made it between the two
    }
  }
}

/// Opens a directory itself, not what a link points to. Empty with errno set where it cannot.
inline Fd open_directory(int dir, const char* name) {
  return Fd(sys::openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
}

/// As the current directory stands now. @throws Error ENOENT when that was removed
inline std::filesystem::path absolute_path(const std::filesystem::path& path) {
  if (path.is_absolute()) return path;
  std::string current(256, '\0');
  while (sys::getcwd(current.data(), current.size()) == nullptr) {
    if (errno != ERANGE) throw_error(errno, "find the current directory for", path);
    current.resize(current.size() * 2);
  }
  return std::filesystem::path(current.c_str()) / path;
}

/// Absolute, without `.` or a slash at the end. What `..` means is the kernel's business: it looks where a link leads.
/// @throws Error as `absolute_path`
inline std::filesystem::path normal_path(const std::filesystem::path& path) {
  std::filesystem::path whole("/");
  for (const std::filesystem::path& part : absolute_path(path))
    if (!part.empty() && part != ".") whole /= part;
  return whole;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
