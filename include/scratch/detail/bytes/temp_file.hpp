// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// A file without a name, until it is committed.
//
// Where the file system has O_TMPFILE the file is nobody's until it is linked: kill -9 leaves nothing. Elsewhere, and
// for the moment between the link and the rename of a commit that replaces, it stands under `.scratch-temp-<16 hex>`,
// with an flock by the process that writes it: whoever finds such a name without a lock may remove it. Where there are no
// such locks it is called `.scratch-unlocked-<16 hex>`, and nobody removes it.
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
#include <scratch/detail/kernel/file_system.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/likeness.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/mode.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/kernel/random.hpp>
#include <scratch/detail/kernel/rename.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/kernel/unnamed_file.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr std::string_view temp_prefix = ".scratch-temp-";
inline constexpr std::string_view unlocked_temp_prefix = ".scratch-unlocked-";

/// What stood under the name before a commit.
enum class Replacing : std::uint8_t { whatever_is_there, nothing };

/// The mode of results: what the process's umask leaves, and that of the file that is replaced where there is one.
inline constexpr mode_t mode_by_umask = 0666;
/// Nobody else's business.
inline constexpr mode_t private_mode = 0600;

/// A new file in a directory, open for reading and writing, gone when this dies uncommitted. Movable; used by one
/// thread at a time. In a forked child only the descriptor is closed.
class TempFile {
 public:
  /// @param directory open, and stays so as long as this
  /// @param path      of the directory, for errors
  /// @param durable   whether what was committed outlives a power cut
  /// @param doing     what an error says failed: "create the chunk"
  /// @param mode      `private_mode` or `mode_by_umask`
  /// @param lacks     what is known of the directory, and takes what is found out; outlives this
  /// @throws Error
  TempFile(int directory, const std::filesystem::path& path, bool durable, std::string_view doing,
           mode_t mode = private_mode, Lacks* lacks = nullptr)
      : TempFile(directory, path, durable, lacks) {
    file_ = open_unnamed(directory_, mode, lacks_, [] { return random_name(temp_prefix); });
    const int error = errno;
    if (!file_ && error != 0) throw_error(error, doing, path_, open_files_hint(error));
    if (!file_) create_named(doing, mode);
    now_ = facts_of(file_.get(), path_).st_mode & 0777;
    by_umask_ = mode == mode_by_umask;
    in_the_end_ = by_umask_ ? now_ | private_mode : private_mode;
    // While it has a name nobody else looks into it.
    become(name_.empty() ? in_the_end_ : private_mode);
  }

  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  TempFile(TempFile&& other) noexcept
      : directory_(other.directory_),
        path_(std::move(other.path_)),
        durable_(other.durable_),
        lacks_(other.lacks_),
        settled_(other.settled_),
        by_umask_(other.by_umask_),
        now_(other.now_),
        in_the_end_(other.in_the_end_),
        file_(std::move(other.file_)),
        name_(std::exchange(other.name_, {})),
        made_here_(other.made_here_) {}
  TempFile& operator=(TempFile&& other) = delete;
  ~TempFile() { remove_name(); }

  /// -1 after a commit or `discard()`.
  int fd() const noexcept { return file_.get(); }

  /// As it will be where it replaces nothing. @throws Error
  Likeness likeness() const { return Likeness::of(file_.get(), path_).with(in_the_end_); }

  /// The file has this name afterwards, wholly or not at all, and is closed.
  /// @throws Error and then whatever had the name still has it. Where `fd()` is -1 afterwards the file is gone: what
  ///         the disk, or the close, says of the bytes is said once, and the bytes with it are lost. Else commit may
  ///         be tried again: after `EEXIST` where `replacing` is `nothing` and something has the name, a full disk, ...
  void commit(const std::string& name, Replacing replacing) {
    settle(name, replacing);
    give_name(name, replacing);
    finish(name, replacing);
  }

  // The same in three steps. Only the second one may be tried again.

  /// The bytes are where they shall be, and the mode is right.
  void settle(const std::string& name, Replacing replacing) {
    struct stat old {};
    const bool replaces = by_umask_ && replacing == Replacing::whatever_is_there &&
                          sys::fstatat(directory_, name.c_str(), old) == 0 && S_ISREG(old.st_mode);
    become(replaces ? old.st_mode & 0777 : in_the_end_, name);
    if (settled_) return;
    const bool synced = !durable_ || sys::fsync(file_.get()) == 0;
    const int error = !synced ? errno : writes_tell(file_.get(), lacks_) ? 0 : error_at_close(file_, path_ / name);
    if (error != 0) {
      discard();
      throw_error(error, synced ? "close" : "sync", path_ / name,
                  "it was not committed; its bytes may be lost and were dropped");
    }
    settled_ = true;
  }

  void give_name(const std::string& name, Replacing replacing) {
    if (replacing == Replacing::nothing)
      link_new(name);
    else
      replace(name);
    name_.clear();
  }

  void finish(const std::string& name, Replacing replacing) {
    if (durable_ && sys::fsync(directory_) != 0) {
      const int error = errno;
      const bool taken_back = replacing == Replacing::nothing && sys::unlinkat(directory_, name.c_str()) == 0;
      discard();
      throw_error(error, "sync the directory of", path_ / name,
                  taken_back ? "it was not committed" : "the new file is in place, and may be lost with the power");
    }
    file_.reset();
  }

  /// Bytes were written after a commit that failed.
  void unsettle() noexcept { settled_ = false; }

  /// Nothing is left of it afterwards.
  void discard() noexcept {
    remove_name();
    file_.reset();
  }

 private:
  static constexpr int attempts = 100;  // random names that collide, cleaners that take them

  TempFile(int directory, const std::filesystem::path& path, bool durable, Lacks* lacks)
      : directory_(directory), path_(path), durable_(durable), lacks_(lacks) {}

  static std::string random_name(std::string_view prefix) { return std::string(prefix) + hex16(random_number()); }

  void become(mode_t mode, const std::string& name = {}) {
    if (mode == now_) return;
    if (!set_mode(file_.get(), mode, name.empty() ? path_ : path_ / name, lacks_)) return;
    now_ = mode;
    settled_ = false;
  }

  // A cleaner may take the lock, or the file, between its creation and ours: then it is not ours.
  void create_named(std::string_view doing, mode_t mode) {
    bool locks = lacks_ == nullptr || !lacks_->has(Lack::file_locks);
    for (int i = 0; i < attempts; ++i) {
      std::string name = random_name(locks ? temp_prefix : unlocked_temp_prefix);
      file_ = Fd(sys::openat(directory_, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
      if (!file_ && errno == EEXIST) continue;
      if (!file_) {
        const int error = errno;
        throw_error(error, doing, path_, open_files_hint(error));
      }
      name_ = std::move(name);
      if (!locks) return;
      const LockAnswer answer = try_flock(file_.get(), LOCK_EX, path_);
      if (answer == LockAnswer::taken && facts_of(file_.get(), path_).st_nlink == 1) return;
      remove_name();
      if (answer != LockAnswer::unsupported) continue;
      locks = false;
      add_to(lacks_, Lack::file_locks);
    }
    throw_error(errc::busy, doing, path_, "every name tried was taken by somebody");
  }

  void link_new(const std::string& name) {
    const int result = name_.empty()
                           ? sys::link_unnamed(file_.get(), directory_, name.c_str())
                           : rename_new(directory_, name_.c_str(), directory_, name.c_str(), WithoutFlag::link, lacks_);
    if (result == 0) return;
    const int error = errno;
    throw_error(error, "commit", path_ / name, error == EEXIST ? "something has this name; it was not touched" : "");
  }

  void replace(const std::string& name) {
    const LockAnswer answer = name_.empty() ? try_flock(file_.get(), LOCK_EX, path_ / name) : LockAnswer::taken;
    if (answer == LockAnswer::busy) throw_error(errc::busy, "commit", path_ / name);
    if (answer == LockAnswer::unsupported) add_to(lacks_, Lack::file_locks);
    for (int i = 0; name_.empty() && i < attempts; ++i) {
      std::string reserved = random_name(answer == LockAnswer::taken ? temp_prefix : unlocked_temp_prefix);
      if (sys::link_unnamed(file_.get(), directory_, reserved.c_str()) == 0)
        name_ = std::move(reserved);
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
  Lacks* lacks_;
  bool settled_ = false;
  bool by_umask_ = false;
  mode_t now_ = 0;
  mode_t in_the_end_ = 0;
  Fd file_{};
  std::string name_{};  // reserved; empty while unnamed
  MadeHere made_here_{};
};

inline bool is_temp_name(std::string_view name) {
  return name.size() == temp_prefix.size() + 16 && name.starts_with(temp_prefix) &&
         parse_hex16(name.substr(temp_prefix.size()));
}

/// Removes what killed writers left under reserved temporary names; what is still being written stays, by a dead
/// process's ring as well, of which the kernel holds the files for a moment. Best effort: what cannot be removed now can
/// be next time.
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
