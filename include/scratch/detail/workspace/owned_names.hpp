// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Which files of a plain directory are ours.
//
// `.scratch-files` holds a record for each file that gets a name, appended before it does:
//   NUL <16 hex: XXH3-64 of the rest> " " <inode> " " <birth, nanoseconds> " " <name relative to the workspace> NUL
// A file is ours where a record has its name, its inode and its birth (0, and not compared, where nobody told): what
// somebody else put there under the same name is not. A record that does not check is passed over. Sessions need no such
// record, since everything in them is ours.
//
// Whoever appends holds a shared flock on the file until his own file has its name. Whoever finds that it has doubled
// writes it anew, under an exclusive one, without the records of files that are in their directories under no name at all.
#pragma once

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/chunk/chunk_record.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/file_system.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Tells a file from every other that has or had its name.
struct FileIdentity {
  std::uint64_t inode = 0;
  std::int64_t birth = 0;  // 0: the kernel did not say

  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
  friend bool operator<(const FileIdentity& a, const FileIdentity& b) {
    return a.inode != b.inode ? a.inode < b.inode : a.birth < b.birth;
  }
};

/// Whether one of these is the same file, as far as the kernel told of both.
inline bool holds(const std::set<FileIdentity>& identities, FileIdentity identity) {
  const auto first = identities.lower_bound({identity.inode, std::numeric_limits<std::int64_t>::min()});
  if (identity.birth == 0) return first != identities.end() && first->inode == identity.inode;
  return identities.contains(identity) || identities.contains({identity.inode, 0});
}

/// Of an open file, or, with a name, of what has it in an open directory. Nothing where there is no such file.
/// @throws Error what else the kernel says
inline std::optional<FileIdentity> identity_of(int fd, const char* name = nullptr) {
  struct statx facts {};
  constexpr unsigned mask = STATX_INO | STATX_BTIME;
  if ((name == nullptr ? sys::statx(fd, mask, facts) : sys::statx(fd, name, mask, facts)) == 0) {
    const bool has_birth = (facts.stx_mask & STATX_BTIME) != 0;
    return FileIdentity{facts.stx_ino,
                        has_birth ? facts.stx_btime.tv_sec * 1'000'000'000 + facts.stx_btime.tv_nsec : 0};
  }
  struct stat old {};
  const bool lacks_statx = errno == ENOSYS || errno == EPERM || errno == EOPNOTSUPP;
  if (lacks_statx && (name == nullptr ? sys::fstat(fd, old) : sys::fstatat(fd, name, old)) == 0)
    return FileIdentity{old.st_ino, 0};
  if (errno == ENOENT && name != nullptr) return std::nullopt;
  throw_error(errno, "examine", name == nullptr ? std::filesystem::path() : std::filesystem::path(name));
}

/// Thread-safe, and safe against other processes.
class OwnedNames {
  // What is appended to. Its lock is held while files of this process get their names.
  struct Log {
    Fd file;
    unsigned naming = 0;  // so many of them
  };

 public:
  /// A name is on record and stays so as long as this lives, during which the file gets it.
  /// @pre dies before the names do
  class [[nodiscard]] OnRecord {
   public:
    OnRecord() = default;
    OnRecord(const OnRecord&) = delete;
    OnRecord& operator=(const OnRecord&) = delete;
    OnRecord(OnRecord&& other) noexcept
        : names_(std::exchange(other.names_, nullptr)), log_(std::move(other.log_)), made_here_(other.made_here_) {}
    OnRecord& operator=(OnRecord&&) = delete;
    ~OnRecord() {
      if (names_ != nullptr && made_here_.is_true()) names_->named(*log_);
    }

   private:
    friend class OwnedNames;
    void begin(OwnedNames& names, std::shared_ptr<Log> log) noexcept {
      names_ = &names;
      log_ = std::move(log);
      ++log_->naming;
    }

    OwnedNames* names_ = nullptr;
    std::shared_ptr<Log> log_{};
    MadeHere made_here_{};
  };

  OwnedNames(int directory, std::filesystem::path path)
      : directory_(directory), path_(std::move(path)), file_(path_ / file_name) {}

  /// @throws Error when the record cannot be written; `busy` where somebody was stopped while he wrote it anew
  OnRecord add(const std::string& name, FileIdentity identity) {
    OnRecord on_record;  // ends when the mutex is free
    const std::lock_guard hold(mutex_);
    lock_log();
    on_record.begin(*this, log_);
    std::string record;
    append_record(record, name, identity);
    append(record);
    return on_record;
  }

  /// Every name on record, those of other processes too; none leads out of the directory. @throws Error
  std::set<std::string> all() {
    const std::lock_guard hold(mutex_);
    refresh();
    std::set<std::string> names;
    for (const auto& [name, identities] : known_) names.insert(name);
    return names;
  }

  /// Whether the file `name` of an open directory is the one that stands on record as `record`. @throws Error
  bool is_ours(int directory, const std::string& name, const std::string& record) {
    const std::optional<FileIdentity> identity = identity_of(directory, name.c_str());
    const std::lock_guard hold(mutex_);
    if (!identity) return false;
    if (!is_known(record, *identity)) refresh();
    return is_known(record, *identity);
  }

 private:
  static constexpr const char* file_name = ".scratch-files";
  static constexpr std::uint64_t largest = 256_MiB;
  static constexpr std::uint64_t small = 1_MiB;  // not worth writing anew

  static void append_record(std::string& log, const std::string& name, FileIdentity identity) {
    std::string text;
    text.reserve(name.size() + 48);
    append_number(text, "", identity.inode);
    text.append(" ").append(std::to_string(identity.birth)).append(" ").append(name);
    log.append(1, '\0').append(hex16(xxh3(bytes_of(text)))).append(" ").append(text).append(1, '\0');
  }

  bool is_known(const std::string& name, FileIdentity identity) const {
    const auto found = known_.find(name);
    return found != known_.end() && holds(found->second, identity);
  }

  // The log is the file of today afterwards, and locked. What was known of another one is forgotten.
  void lock_log() {
    for (;; log_.reset()) {
      // A child of fork must not share the lock with its parent.
      if (!log_ || !made_here_.is_true()) {
        log_ = std::make_shared<Log>(Log{open_or_create(directory_, file_name, O_RDWR | O_APPEND, file_)});
        made_here_ = MadeHere();
        forget();
      }
      const std::shared_ptr<Log> log = log_;
      if (log->naming == 0 && !lock_shared(log->file))
        throw_error(errc::busy, "record the file's name in", file_,
                    "another process was stopped while it wrote it anew");
      UnlockAtEnd unlock(log->file);
      if (log->naming > 0) unlock.cancel();
      const struct stat facts = facts_of(log->file.get(), file_);
      if (facts.st_nlink == 0) continue;  // somebody has just written it anew
      compaction_is_due_ = checked_size(facts) > compact_at_;
      unlock.cancel();
      return;
    }
  }

  bool lock_shared(const Fd& file) const {
    const auto attempt = [&] { return try_flock(file.get(), LOCK_SH, file_); };
    return try_for(Patience{5000}, attempt) != LockAnswer::busy;
  }

  // A file has its name, or does not get it.
  void named(Log& log) noexcept {
    const std::lock_guard hold(mutex_);
    if (--log.naming > 0) return;
    unlock(log.file.get());
    if (compaction_is_due_) compact();
  }

  void append(const std::string& record) {
    const Fd& file = log_->file;
    const ssize_t written = sys::append_once(file.get(), bytes_of(record));
    const int error = written < 0                                     ? errno
                      : written < static_cast<ssize_t>(record.size()) ? ENOSPC
                      : tells_at_close_                               ? error_at_close(file, file_)
                                                                      : 0;
    if (error != 0) throw_error(error, "record the file's name in", file_);
  }

  void forget() {
    known_.clear();
    read_to_ = 0;
    inode_ = 0;
    tells_at_close_ = !writes_tell(log_->file.get(), nullptr);
  }

  void refresh() {
    struct stat facts {};
    if (sys::fstatat(directory_, file_name, facts) != 0 && errno == ENOENT) return;
    read_on(open_existing(directory_, file_name, O_RDONLY, file_));
  }

  // Reads what was not read before.
  void read_on(const Fd& log) {
    const struct stat facts = facts_of(log.get(), file_);
    const std::uint64_t size = checked_size(facts);
    if (facts.st_ino != inode_ || size < read_to_) {
      known_.clear();
      read_to_ = 0;
      inode_ = facts.st_ino;
    }
    std::string text(size - read_to_, '\0');
    const sys::Moved moved = sys::pread_all(log.get(), std::as_writable_bytes(std::span(text)), read_to_);
    if (moved.error != 0) throw_error(moved.error, "read", file_);
    text.resize(moved.size);
    std::size_t at = 0;
    for (std::size_t end = 0; (end = text.find('\0', at)) != text.npos; at = end + 1)
      take(std::string_view(text).substr(at, end - at));
    read_to_ += at;
  }

  void take(std::string_view record) {
    if (record.size() < 18 || record[16] != ' ') return;
    const std::string_view text = record.substr(17);
    if (parse_hex16(record.substr(0, 16)) != xxh3(bytes_of(text))) return;
    FileIdentity identity;
    const char* const end = text.data() + text.size();
    const auto inode = std::from_chars(text.data(), end, identity.inode);
    if (inode.ec != std::errc() || inode.ptr == end) return;
    const auto birth = std::from_chars(inode.ptr + 1, end, identity.birth);
    if (birth.ec != std::errc() || birth.ptr == end) return;
    std::string name(birth.ptr + 1, end);
    if (is_inner_path(name)) known_[std::move(name)].insert(identity);
  }

  // What fails here leaves the file as it is, until next time.
  void compact() noexcept {
    try {
      const Fd log = open_existing(directory_, file_name, O_RDONLY, file_);
      if (try_flock(log.get(), LOCK_EX, file_) != LockAnswer::taken) return;
      const UnlockAtEnd unlock(log);
      if (facts_of(log.get(), file_).st_nlink == 0) return;
      read_on(log);
      std::string text;
      std::optional<std::string> area;
      std::set<FileIdentity> there;
      for (const auto& [name, identities] : known_) {
        if (std::string below = name.substr(0, name.rfind('/') + 1); below != area) {
          there = identities_in(below);
          area = std::move(below);
        }
        for (const FileIdentity& identity : identities)
          if (holds(there, identity)) append_record(text, name, identity);
      }
      TempFile anew(directory_, path_, false, "write the record of files in");
      if (sys::pwrite_all(anew.fd(), bytes_of(text), 0).error != 0) return;
      anew.commit(file_name, Replacing::whatever_is_there);
      compact_at_ = std::max<std::uint64_t>(small, 2 * text.size());
    } catch (...) {
    }
  }

  std::set<FileIdentity> identities_in(const std::string& area) const {
    std::set<FileIdentity> there;
    const Fd open(sys::openat(directory_, area.empty() ? "." : area.c_str(), O_RDONLY | O_DIRECTORY));
    if (!open && errno != ENOENT) throw_error(errno, "list", path_ / area);
    if (!open) return there;
    for_each_entry(open.get(), path_ / area, [&](const Entry& entry) {
      if (const auto identity = identity_of(open.get(), entry.name.data())) there.insert(*identity);
    });
    return there;
  }

  // In a directory where others may write, root too trusts only its own record of what it may remove. Gives the size.
  std::uint64_t checked_size(const struct stat& facts) const {
    if (facts.st_uid != sys::geteuid())
      throw_error(errc::corrupt, "use", file_, "this record of files belongs to user " + std::to_string(facts.st_uid));
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    if (size > largest) throw_error(errc::corrupt, "use", file_, "larger than 256 MiB");
    return size;
  }

  int directory_;
  std::filesystem::path path_;
  std::filesystem::path file_;  // the record
  std::mutex mutex_{};
  std::map<std::string, std::set<FileIdentity>> known_{};  // what was read of the file `inode_` up to `read_to_`
  std::uint64_t inode_ = 0;
  std::uint64_t read_to_ = 0;
  std::shared_ptr<Log> log_{};
  MadeHere made_here_{};
  bool tells_at_close_ = true;
  std::uint64_t compact_at_ = small;
  bool compaction_is_due_ = false;
};

/// The directories of these files: "", "sorting/".
inline std::set<std::string> areas_of(const std::set<std::string>& files) {
  std::set<std::string> areas;
  for (const std::string& file : files) areas.insert(file.substr(0, file.rfind('/') + 1));
  return areas;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
