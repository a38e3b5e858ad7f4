// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The record of all chunks of a directory and its areas (chunks.log, see chunk_record.hpp), and the counter that their
// ids come from (.scratch-ids).
//
// The counter is the next free id as 20 decimal digits and a newline, read and written under a lock that the kernel
// drops when its holder dies. It may be older than the log (a power cut, a damaged file): whoever takes an id for the
// first time reads the log once and goes on above every id there. After that an id costs O(1).
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/chunk/chunk_index.hpp>
#include <scratch/detail/chunk/chunk_record.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr const char* chunk_ids_name = ".scratch-ids";
inline constexpr std::uint64_t longest_chunk_record = 256_MiB;

/// Thread-safe; any number of processes may have one for the same directory.
class ChunkLog {
 public:
  /// Touches nothing yet.
  /// @param directory open, and stays so as long as this
  /// @param path what errors call it
  /// @param patience with others who take an id
  ChunkLog(int directory, std::filesystem::path path, Patience patience = {10'000})
      : directory_(directory), path_(std::move(path)), patience_(patience) {}

  /// An id that no chunk of this directory has or had, and nobody else gets.
  /// @throws Error `busy` when another process has been taking one for 10 s: it was stopped while it did
  /// After a crash: an id that was taken but not recorded may never be used.
  std::uint64_t next_id() {
    const auto alone = enter("take a chunk's id from");
    if (!ids_) {
      Fd ids = open_own(chunk_ids_name, O_RDWR | O_CREAT);
      refresh_locked();
      ids_ = std::move(ids);
    }
    const CounterLock lock(ids_.get(), path_ / chunk_ids_name, patience_);
    const std::optional<std::uint64_t> stored = read_counter();
    if (!stored) refresh_locked();  // new, or damaged: the log knows
    const std::uint64_t id = std::max(floor_, stored.value_or(0));
    if (id == UINT64_MAX)
      throw_error(errc::corrupt, "take a chunk's id from", path_ / chunk_ids_name, "it says that all were given out");
    write_counter(id + 1);
    floor_ = id + 1;
    return id;
  }

  /// The chunk is on record afterwards, for every process; with `durable` also after a power cut.
  /// @throws Error and then it is not
  void append(const ChunkRecord& record, bool durable) {
    const std::string line = chunk_record(record);
    const auto alone = enter("record a chunk in");
    if (line.size() > longest_chunk_record)
      throw_error(EFBIG, "record a chunk in", log_path(),
                  "the record has " + readable_size(line.size()) + ", at most 256 MiB are kept");
    append_locked(line);
    if (durable && (sys::fsync(log_.get()) != 0 || !sync_name())) {
      const int error = errno;
      append_locked(gone_record(record.info.id));
      throw_error(error, "sync", log_path());
    }
  }

  /// Comes before a chunk's file is renamed, to a name below this directory or, where `to` is empty, to elsewhere. From
  /// then on everybody looks where the file is, whatever happens to this process.
  /// @throws Error and then the file must stay where it is
  void leaves(std::uint64_t id, std::string_view to) {
    const auto alone = enter("move a chunk of");
    append_locked(leaves_record(id, to));
  }

  /// The chunk's file has the other name now, that `leaves` spoke of, or still its own. @throws Error
  void rename(std::uint64_t id, std::string_view file) {
    std::optional<ChunkRecord> record = find(id);
    if (!record) return;
    record->info.file = file;
    append(*record, false);
  }

  /// The chunk is off the record afterwards. @throws Error
  void remove(std::uint64_t id) {
    const auto alone = enter("remove a chunk from");
    append_locked(gone_record(id));
  }

  /// Every chunk on record, by id: those of other processes too. Reads what was appended since the last look.
  /// @throws Error
  std::vector<ChunkInfo> chunks() {
    const auto alone = enter("read");
    refresh_locked();
    std::vector<ChunkInfo> all;
    all.reserve(entries_.size());
    entries_.for_each([&](const ChunkEntry& entry) { all.push_back(entry.info); });
    return all;
  }

  /// Calls `visit(const ChunkInfo&)` for each of `chunks()` without copying them. It must not use this log.
  template <class Visit>
  void for_each_chunk(Visit visit) {
    const auto alone = enter("read");
    refresh_locked();
    entries_.for_each([&](const ChunkEntry& entry) { visit(entry.info); });
  }

  /// How many `chunks()` there are, and how many bytes of the log say so: another number, another list.
  struct Extent {
    std::uint64_t chunks = 0;
    std::uint64_t bytes = 0;
  };
  Extent extent() {
    const auto alone = enter("read");
    refresh_locked();
    return {entries_.size(), offset_};
  }

  /// The chunk whose file this is. O(log chunks) but for the first time. @throws Error
  std::optional<ChunkInfo> find_file(std::string_view file) {
    const auto alone = enter("read");
    refresh_locked();
    const ChunkEntry* const entry = entries_.find_file(file);
    if (entry == nullptr) return std::nullopt;
    return entry->info;
  }

  /// The whole record of a chunk, block sums too; nothing when there is none.
  /// @throws Error `corrupt` where two chunks have the id on record
  std::optional<ChunkRecord> find(std::uint64_t id) {
    const auto alone = enter("read");
    refresh_locked();
    const ChunkEntry* const entry = entries_.find(id);
    if (entry == nullptr) return std::nullopt;
    if (const auto rival = rivals_.find(id); rival != rivals_.end())
      throw_error(errc::corrupt, "read the record of chunk " + std::to_string(id) + " in", log_path(),
                  entry->info.file + " has this id on record, and so has " + rival->second);
    std::string text(entry->length, '\0');
    const sys::Moved moved = sys::pread_all(log_.get(), std::as_writable_bytes(std::span(text)), entry->offset);
    if (moved.error != 0) throw_error(moved.error, "read", log_path());
    const auto checked = checked_text(text);
    auto record = checked ? parse_record(*checked) : std::nullopt;
    if (!record || record->gone || record->leaves)
      throw_error(errc::corrupt, "read the record of a chunk in", log_path());
    record->info = entry->info;
    return record;
  }

 private:
  // A file that was being renamed when the last record about its chunk was written.
  struct Leaving {
    std::uint64_t id;
    std::string to;
    bool settled = false;  // it was seen where it is now
  };

  // Locks the counter against other processes; threads exclude each other by the mutex. Where there are no locks every
  // name is made anew nevertheless, so that no chunk replaces another.
  class CounterLock {
   public:
    CounterLock(int fd, const std::filesystem::path& path, Patience patience) : fd_(fd) {
      if (try_for(patience, [&] { return try_byte_lock(fd, 0, path); }) == LockAnswer::busy)
        throw_error(errc::busy, "take a chunk's id from", path,
                    "another process was stopped while it took one; it must go on, or end");
    }
    CounterLock(const CounterLock&) = delete;
    CounterLock& operator=(const CounterLock&) = delete;
    ~CounterLock() { byte_unlock(fd_, 0); }

   private:
    int fd_;
  };

  static constexpr std::size_t counter_size = 21;

  std::filesystem::path log_path() const { return path_ / chunks_log_name; }

  // In this order: a child forked while another thread was in here finds the mutex locked for ever.
  std::unique_lock<std::mutex> enter(const char* doing) {
    if (!made_here_.is_true()) throw_error(errc::forked_object, doing, log_path());
    return std::unique_lock(mutex_);
  }

  Fd open_own(const char* name, int flags) const {
    Fd file(sys::openat(directory_, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600));
    if (!file) {
      const int error = errno;
      if (error == ENOENT && (flags & O_CREAT) == 0) return file;
      throw_error(error, "open", path_ / name, open_files_hint(error));
    }
    const struct stat facts = facts_of(file.get(), path_ / name);
    const uid_t me = sys::geteuid();
    if (!S_ISREG(facts.st_mode) || facts.st_nlink > 1 || (facts.st_uid != me && me != 0))
      throw_error(errc::corrupt, "open", path_ / name,
                  std::string("found ") + kind_of(facts) + " that is not this library's");
    if ((facts.st_mode & 0600) != 0600 && facts.st_uid == me) sys::fchmod(file.get(), 0600);  // a strange umask
    return file;
  }

  std::optional<std::uint64_t> read_counter() {
    char text[counter_size];
    const sys::Moved moved = sys::pread_all(ids_.get(), std::as_writable_bytes(std::span(text)), 0);
    if (moved.error != 0) throw_error(moved.error, "read", path_ / chunk_ids_name);
    std::uint64_t value = 0;
    if (moved.size != counter_size || text[counter_size - 1] != '\n') return std::nullopt;
    const auto [end, error] = std::from_chars(text, text + counter_size - 1, value);
    if (error != std::errc() || end != text + counter_size - 1) return std::nullopt;
    return value;
  }

  void write_counter(std::uint64_t next) {
    char text[counter_size + 1];
    std::snprintf(text, sizeof text, "%020llu\n", static_cast<unsigned long long>(next));
    const sys::Moved moved = sys::pwrite_all(ids_.get(), std::as_bytes(std::span(text).first(counter_size)), 0);
    if (moved.error != 0) throw_error(moved.error, "count the chunks in", path_ / chunk_ids_name);
  }

  // The log's own name, once: whoever made the log may have died before.
  bool sync_name() {
    if (!name_synced_) name_synced_ = sys::fsync(directory_) == 0;
    return name_synced_;
  }

  // A reader may have opened the log for reading only.
  void append_locked(const std::string& line) {
    if (!writable_) {
      log_ = open_own(chunks_log_name.data(), O_RDWR | O_APPEND | O_CREAT);
      writable_ = true;
    }
    const ssize_t written = sys::append_once(log_.get(), bytes_of(line));
    const int error = written < 0 ? errno : ENOSPC;
    // Without its last newline the line still counts: the next record begins with one.
    if (written < static_cast<ssize_t>(line.size()) - 1) throw_error(error, "record a chunk in", log_path());
  }

  void refresh_locked() {
    read_lines();
    follow_leaving();
  }

  // Where are the files that were being renamed?
  void follow_leaving() {
    for (Leaving& one : leaving_)
      if (!one.settled) one.settled = settle(one);
  }

  bool settle(const Leaving& one) {
    const ChunkEntry* const entry = entries_.find(one.id);
    if (entry == nullptr) return true;
    const ChunkInfo& info = entry->info;
    struct stat facts {};
    const bool there = sys::fstatat(directory_, info.file.c_str(), facts) == 0;
    if (!there && errno != ENOENT && errno != ENOTDIR) throw_error(errno, "look for a chunk", path_ / info.file);
    if (there && S_ISREG(facts.st_mode) && static_cast<std::uint64_t>(facts.st_size) == info.size) return false;
    if (one.to.empty())
      entries_.erase(one.id);
    else
      entries_.rename(one.id, one.to);
    return true;
  }

  std::vector<Leaving>::iterator find_leaving(std::uint64_t id) {
    return std::find_if(leaving_.begin(), leaving_.end(), [id](const Leaving& one) { return one.id == id; });
  }

  void forget_leaving(std::uint64_t id) {
    const auto one = find_leaving(id);
    if (one == leaving_.end()) return;
    std::iter_swap(one, leaving_.end() - 1);
    leaving_.pop_back();
  }

  // Takes in the lines that were completed since the last time.
  void read_lines() {
    if (!log_) log_ = open_own(chunks_log_name.data(), O_RDONLY);
    if (!log_) return;
    std::size_t size = 256_KiB;
    PlainVector<char> window;
    window.resize(size);
    std::size_t kept = 0;  // bytes of an unfinished line at the window's start
    while (true) {
      const MutableBytes room = std::as_writable_bytes(std::span(window.data() + kept, size - kept));
      const sys::Moved moved = sys::pread_all(log_.get(), room, offset_ + kept);
      if (moved.error != 0) throw_error(moved.error, "read", log_path());
      const std::string_view text(window.data(), kept + moved.size);
      std::size_t at = 0;
      for (std::size_t end; (end = text.find('\n', at)) != text.npos; at = end + 1) {
        read_line(text.substr(at, end - at));
        offset_ += end + 1 - at;
      }
      kept = text.size() - at;
      if (moved.size < room.size()) return read_unended(text.substr(at));
      if (kept == size && size > longest_chunk_record)
        throw_error(errc::corrupt, "read", log_path(), "a line has more than 256 MiB");
      window.erase_front(at);
      if (kept == size) size *= 2;
      window.resize(size);
    }
  }

  // The log's end, whose newline a full disk may have cut off: what checks is whole.
  void read_unended(std::string_view line) {
    if (!checked_text(line)) return;
    read_line(line);
    offset_ += line.size();
  }

  // Of the line that begins at `offset_`. It is read again where this throws.
  void read_line(std::string_view line) {
    if (line.empty()) return;
    const auto text = checked_text(line);
    auto record = text ? parse_record(*text) : std::nullopt;
    if (!record) return;
    ChunkInfo& info = record->info;
    const std::uint64_t id = info.id;
    floor_ = std::max(floor_, id == UINT64_MAX ? id : id + 1);
    if (record->leaves) return take_leaving(id, std::move(info.file));
    if (!record->gone) {
      take_chunk(std::move(info), line.size());
    } else {
      entries_.erase(id);
      rivals_.erase(id);
    }
    forget_leaving(id);
  }

  void take_leaving(std::uint64_t id, std::string to) {
    leaving_.reserve(leaving_.size() + 1);
    forget_leaving(id);
    leaving_.push_back({id, std::move(to)});
  }

  void take_chunk(ChunkInfo info, std::size_t length) {
    const ChunkEntry* const known = entries_.find(info.id);
    const bool is_other = known != nullptr && known->info.file != info.file && find_leaving(info.id) == leaving_.end();
    if (is_other) return static_cast<void>(rivals_.emplace(info.id, std::move(info.file)));
    info.user = normal_user(info.user);
    entries_.put({std::move(info), offset_, length});
  }

  int directory_;
  std::filesystem::path path_;
  Patience patience_;
  MadeHere made_here_;
  std::mutex mutex_;
  Fd log_;
  Fd ids_;
  bool writable_ = false;
  bool name_synced_ = false;
  std::uint64_t floor_ = 0;   // above every id seen
  std::uint64_t offset_ = 0;  // of the log: what comes before was taken in
  ChunkIndex entries_;
  std::vector<Leaving> leaving_;                 // each id at most once, and few at a time
  std::map<std::uint64_t, std::string> rivals_;  // other files that have a chunk's id on record
};

}  // namespace scratch::inline SCRATCH_ABI::detail
