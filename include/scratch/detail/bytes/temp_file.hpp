// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// A file without a name, until it is committed.
//
// Where the file system has O_TMPFILE the file is nobody's until it is linked: kill -9 leaves nothing. Elsewhere, and
// for the moment between the link and the rename of a commit that replaces, it stands under `.scratch-temp-<16 hex>`,
// with an flock by the process that writes it: whoever finds such a name without a lock may remove it.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/kernel/random.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr std::string_view temp_prefix = ".scratch-temp-";

/// What stood under the name before a commit.
enum class Replacing : std::uint8_t { whatever_is_there, nothing };

/// A new file in a directory, open for reading and writing, gone when this dies uncommitted. Movable; used by one
/// thread at a time. In a forked child only the descriptor is closed.
class TempFile {
 public:
  /// @param directory open, and stays so as long as this
  /// @param path      of the directory, for errors
  /// @param durable   whether what was committed outlives a power cut
  /// @param doing     what an error says failed: "create the chunk"
  /// @throws Error
  TempFile(int directory, const std::filesystem::path& path, bool durable, std::string_view doing)
      : directory_(directory), path_(path), durable_(durable) {
    file_ = Fd(sys::openat(directory_, ".", O_TMPFILE | O_RDWR, 0600));
    const int error = errno;
    const bool unsupported = error == EOPNOTSUPP || error == EISDIR || error == EINVAL;
    if (!file_ && !unsupported) throw_error(error, doing, path_, open_files_hint(error));
    if (!file_) create_named(doing);
    const struct stat facts = facts_of(file_.get(), path_);
    if ((facts.st_mode & 0777) != 0600 && sys::fchmod(file_.get(), 0600) != 0)  // a strange umask
      throw_error(errno, "set the mode of a new file in", path_);
  }

  TempFile(TempFile&& other) noexcept = default;
  TempFile& operator=(TempFile&& other) noexcept {
    if (this != &other) {
      remove_name();
      directory_ = other.directory_;
      path_ = std::move(other.path_);
      durable_ = other.durable_;
      file_ = std::move(other.file_);
      name_ = std::exchange(other.name_, {});
      made_here_ = other.made_here_;
    }
    return *this;
  }
  ~TempFile() { remove_name(); }

  /// -1 after a commit or `discard()`.
  int fd() const noexcept { return file_.get(); }

  /// The file has this name afterwards, wholly or not at all, and is closed.
  /// @throws Error and then whatever had the name still has it. `EEXIST` where `replacing` is `nothing` and something
  ///         has it; then, and when the disk was full, commit may be tried again. A failed sync is never repeated:
  ///         the file is gone.
  void commit(const std::string& name, Replacing replacing) {
    if (durable_ && !synced_) {
      if (sys::fsync(file_.get()) != 0) {
        const int error = errno;
        discard();
        throw_error(error, "sync", path_ / name, "it was not committed; its bytes may be lost and were dropped");
      }
      synced_ = true;
    }
    if (replacing == Replacing::nothing)
      link_new(name);
    else
      replace(name);
    name_.clear();
    if (durable_ && sys::fsync(directory_) != 0) {
      const int error = errno;
      if (replacing == Replacing::nothing) sys::unlinkat(directory_, name.c_str());
      discard();
      throw_error(error, "sync the directory of", path_ / name,
                  replacing == Replacing::nothing ? "it was not committed"
                                                  : "the new file is in place, and may be lost with the power");
    }
    file_.reset();
  }

  /// Nothing is left of it afterwards.
  void discard() noexcept {
    remove_name();
    file_.reset();
  }

 private:
  static constexpr int attempts = 100;  // random names that collide, cleaners that take them

  static std::string random_name() { return std::string(temp_prefix) + hex16(random_number()); }

  // A cleaner may take the lock, or the file, between its creation and ours: then it is not ours.
  void create_named(std::string_view doing) {
    for (int i = 0; i < attempts; ++i) {
      const std::string name = random_name();
      file_ = Fd(sys::openat(directory_, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
      if (!file_ && errno == EEXIST) continue;
      if (!file_) {
        const int error = errno;
        throw_error(error, doing, path_, open_files_hint(error));
      }
      if (sys::flock(file_.get(), LOCK_EX | LOCK_NB) == 0 && facts_of(file_.get(), path_).st_nlink == 1) {
        name_ = name;
        return;
      }
      sys::unlinkat(directory_, name.c_str());
    }
    throw_error(errc::busy, doing, path_, "every name tried was taken by somebody");
  }

  int link_as(const char* name) const {
    if (sys::link_unnamed(file_.get(), directory_, name) == 0) return 0;
    if (errno != ENOENT) return -1;
    return sys::linkat(file_.get(), "", directory_, name, AT_EMPTY_PATH);  // there is no /proc here
  }

  void link_new(const std::string& name) {
    const int result =
        name_.empty() ? link_as(name.c_str()) : sys::rename_new(directory_, name_.c_str(), directory_, name.c_str());
    if (result == 0) return;
    const int error = errno;
    throw_error(error, "commit", path_ / name, error == EEXIST ? "something has this name; it was not touched" : "");
  }

  void replace(const std::string& name) {
    for (int i = 0; name_.empty() && i < attempts; ++i) {
      if (i == 0 && sys::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) throw_error(errno, "lock", path_ / name);
      const std::string reserved = random_name();
      if (link_as(reserved.c_str()) == 0)
        name_ = reserved;
      else if (errno != EEXIST)
        throw_error(errno, "commit", path_ / name);
    }
    if (name_.empty()) throw_error(errc::busy, "commit", path_ / name);
    if (sys::rename(directory_, name_.c_str(), directory_, name.c_str()) != 0) {
      const int error = errno;
      throw_error(error, "commit", path_ / name,
                  error == EISDIR ? "a directory has this name; it was not touched" : "");
    }
  }

  void remove_name() noexcept {
    if (!name_.empty() && made_here_.is_true()) sys::unlinkat(directory_, name_.c_str());
    name_.clear();
  }

  int directory_;
  std::filesystem::path path_;
  bool durable_;
  bool synced_ = false;
  Fd file_;
  std::string name_;  // reserved; empty while unnamed
  MadeHere made_here_;
};

inline bool is_temp_name(std::string_view name) {
  return name.size() == temp_prefix.size() + 16 && name.starts_with(temp_prefix) &&
         parse_hex16(name.substr(temp_prefix.size()));
}

/// Removes what killed writers left under reserved temporary names; what is still being written stays. Best effort:
/// what cannot be removed now can be next time.
inline void remove_stale_temp_files(int directory, const std::filesystem::path& path) {
  std::vector<std::string> names;
  try {
    for_each_entry(directory, path, [&](const Entry& entry) {
      if (is_temp_name(entry.name)) names.emplace_back(entry.name);
    });
  } catch (const Error&) {
    return;
  }
  for (const std::string& name : names) {
    const Fd file(sys::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    if (!file || sys::flock(file.get(), LOCK_EX | LOCK_NB) != 0) continue;
    struct stat ours {
    }, named{};
    if (sys::fstat(file.get(), ours) != 0 || sys::fstatat(directory, name.c_str(), named) != 0) continue;
    if (!S_ISREG(ours.st_mode) || ours.st_uid != sys::geteuid()) continue;
    if (ours.st_dev == named.st_dev && ours.st_ino == named.st_ino) sys::unlinkat(directory, name.c_str());
  }
}

}  // namespace scratch::inline SCRATCH_ABI::detail
