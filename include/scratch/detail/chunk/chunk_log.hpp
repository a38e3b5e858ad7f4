// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The chunks of a directory and its areas: the record of them (chunks.jsonl, see chunk_record.hpp) and their ids.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/bytes/line_log.hpp>
#include <scratch/detail/chunk/chunk_ids.hpp>
#include <scratch/detail/chunk/chunk_index.hpp>
#include <scratch/detail/chunk/chunk_record.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Thread-safe; any number of processes may have one for the same directory. Every member throws Error: of the files,
/// and `forked_object` in a child of the process that made it.
class ChunkLog {
 public:
  /// Touches nothing yet.
  /// @param directory open, and stays so as long as this
  /// @param path      what errors call it
  /// @param patience  with others who take an id
  /// @param lacks     what is known of the directory, and takes what is found out; may be null
  ChunkLog(int directory, const std::filesystem::path& path, Patience patience = {10'000}, Lacks* lacks = nullptr)
      : directory_(directory),
        path_(path),
        lines_(directory, chunks_name.data(), path / chunks_name, longest_chunk_record),
        ids_(directory, path, patience, lacks) {}

  /// Which ids chunks get: in a set of sessions each has its own. Before anybody takes one.
  void give_out(ChunkNumbers numbers) noexcept { ids_.give_out(numbers); }

  /// Where ids are counted: see ChunkIds. Before anybody takes one.
  void count_in(int fd, const std::filesystem::path& path, off_t byte) { ids_.count_in(fd, path, byte); }

  /// An id that no chunk of this directory has or had, and nobody else gets. O(1), save for the first one.
  std::uint64_t next_id() {
    const Held held = hold("take a chunk's id from");
    return ids_.next([this] {
      refresh();
      return above_all_;
    });
  }

  /// The chunk is on record afterwards, for every process; with `durable` also after a power cut.
  /// @throws Error and then it is not
  void append(const ChunkRecord& record, bool durable) {
    const std::string line = chunk_record(record);
    const Held held = hold("record a chunk in");
    if (line.size() > longest_chunk_record)
      throw_error(EFBIG, "record a chunk in", lines_.path(),
                  "the record has " + readable_size(line.size()) +
                      ", at most 16 MiB are kept: write several chunks, or with a larger .block");
    lines_.append(line, "record a chunk in");
    if (!durable) return;
    try {
      lines_.sync();
    } catch (...) {
      lines_.append(gone_record(record.info.id), "take back a chunk in");
      throw;
    }
  }

  /// Comes before a chunk's file is renamed, to a name below this directory or, where `to` is empty, to elsewhere. From
  /// then on everybody looks where the file is, whatever happens to this process.
  /// @throws Error and then the file must stay where it is
  void leaves(std::uint64_t id, std::string_view to) {
    const Held held = hold("move a chunk of");
    lines_.append(leaves_record(id, to), "move a chunk of");
  }

  /// The chunk's file was not renamed after all; comes after `leaves`.
  void stays(std::uint64_t id) {
    if (const std::optional<ChunkRecord> record = find(id); record && is_leaving(id)) append(*record, false);
  }

  /// The chunk's file has another name now; comes after `leaves`.
  void rename(std::uint64_t id, std::string_view file) {
    std::optional<ChunkRecord> record = find(id);
    if (!record) return;
    record->info.file = file;
    append(*record, false);
  }

  /// The chunk is off the record afterwards. O(1).
  void remove(std::uint64_t id) {
    const Held held = hold("remove a chunk from");
    lines_.append(gone_record(id), "remove a chunk from");
  }

  /// Calls `visit(const ChunkEntry&)` for every chunk on record, by id: those of other processes too. It must not use
  /// this log.
  template <class Visit>
  void for_each(Visit visit) {
    const Held held = hold("read");
    refresh();
    chunks_.for_each(visit);
  }

  /// The same for those that were recorded behind `position`, in the order of their records.
  /// @returns the position behind all of them
  template <class Visit>
  std::uint64_t for_each_after(std::uint64_t position, Visit visit) {
    const Held held = hold("read");
    refresh();
    chunks_.for_each_from(position, visit);
    return lines_.position();
  }

  std::vector<ChunkInfo> chunks() {
    std::vector<ChunkInfo> all;
    for_each([&](const ChunkEntry& chunk) { all.push_back(chunk.info); });
    return all;
  }

  /// How many `chunks()` there are, and how many bytes of the log say so: another number, another list.
  struct Extent {
    std::uint64_t chunks = 0;
    std::uint64_t bytes = 0;
  };
  Extent extent() {
    const Held held = hold("read");
    refresh();
    return {chunks_.size(), lines_.position()};
  }

  /// Lines that are no records: cut short, damaged, or somebody else's.
  std::uint64_t skipped() {
    const Held held = hold("read");
    refresh();
    return skipped_ + lines_.skipped();
  }

  /// Lets go of the files; they are opened again when they are needed.
  void close() noexcept {
    if (!made_here_.is_true()) return;
    const std::lock_guard hold(mutex_);
    lines_.close();
    ids_.close();
  }

  /// The chunk whose file this is. O(n) the first time, then O(1).
  std::optional<ChunkInfo> find_file(const std::string& file) {
    const Held held = hold("read");
    refresh();
    const ChunkEntry* const entry = chunks_.find_file(file);
    if (entry == nullptr) return std::nullopt;
    return entry->info;
  }

  /// Where a chunk's file is; nothing when there is no such chunk.
  std::optional<std::string> file_of(std::uint64_t id) {
    const Held held = hold("read");
    refresh();
    const ChunkEntry* const entry = chunks_.find(id);
    if (entry == nullptr) return std::nullopt;
    return entry->info.file;
  }

  /// The whole record of a chunk, block sums too; nothing when there is none.
  /// @throws Error `corrupt` where two chunks have the id on record
  std::optional<ChunkRecord> find(std::uint64_t id) {
    const Held held = hold("read");
    refresh();
    const ChunkEntry* const entry = chunks_.find(id);
    if (entry == nullptr) return std::nullopt;
    if (const auto rival = rivals_.find(id); rival != rivals_.end())
      throw_error(errc::corrupt, "read the record of chunk " + std::to_string(id) + " in", lines_.path(),
                  entry->info.file + " has this id on record, and so has " + rival->second);
    const std::string line = lines_.read(entry->offset, entry->length);
    const auto checked = checked_text(line);
    auto record = checked ? parse_record(*checked) : std::nullopt;
    if (!record || record->gone || record->leaves)
      throw_error(errc::corrupt, "read the record of a chunk in", lines_.path());
    record->info.file = entry->info.file;
    return record;
  }

 private:
  using Held = std::unique_lock<std::mutex>;

  // In a forked child another thread of the parent may hold the lock for ever.
  Held hold(const char* doing) {
    if (!made_here_.is_true()) throw_error(errc::forked_object, doing, lines_.path());
    return Held(mutex_);
  }

  void refresh() {
    const auto take = [this](std::string_view line, std::uint64_t offset) { read_line(line, offset); };
    if (!lines_.read_new(take)) refuse_old();
    for (auto one = leaving_.begin(); one != leaving_.end();)
      one = is_settled(one->first, one->second) ? leaving_.erase(one) : std::next(one);
  }

  void refuse_old() const {
    if (facts_of(directory_, std::string(old_chunks_name), path_))
      throw_error(errc::unsupported_version, "read the chunks of", path_, "version 0.1 wrote them, into chunks.log");
  }

  bool is_leaving(std::uint64_t id) {
    const Held held = hold("read");
    return leaving_.contains(id);
  }

  bool is_settled(std::uint64_t id, const std::string& to) {
    ChunkEntry* const entry = chunks_.find(id);
    if (entry == nullptr) return true;
    const ChunkInfo& info = entry->info;
    const auto facts = facts_of(directory_, info.file, path_);
    if (facts && S_ISREG(facts->st_mode) && static_cast<std::uint64_t>(facts->st_size) == info.size) return false;
    if (to.empty())
      chunks_.erase(id);
    else
      chunks_.rename(*entry, to);
    return true;
  }

  void read_line(std::string_view line, std::uint64_t offset) {
    if (line.empty()) return;
    const auto text = checked_text(line);
    auto record = text ? parse_record(*text) : std::nullopt;
    if (!record) return static_cast<void>(++skipped_);
    const std::uint64_t id = record->info.id;
    if (!fits(*record)) {
      rivals_.emplace(id, std::move(record->info.file));
      return static_cast<void>(++skipped_);
    }
    above_all_ = std::max(above_all_, id == UINT64_MAX ? id : id + 1);
    leaving_.erase(id);
    if (record->leaves)
      leaving_.emplace(id, std::move(record->info.file));
    else if (record->gone)
      forget(id);
    else
      chunks_.put({std::move(record->info), record->block, offset, line.size()});
  }

  void forget(std::uint64_t id) {
    chunks_.erase(id);
    rivals_.erase(id);
  }

  // A chunk that has another file than before was on its way there.
  bool fits(const ChunkRecord& record) {
    if (record.gone || record.leaves) return true;
    const ChunkEntry* const before = chunks_.find(record.info.id);
    if (before == nullptr || before->info.file == record.info.file) return true;
    const auto leaving = leaving_.find(record.info.id);
    return leaving != leaving_.end() && leaving->second == record.info.file;
  }

  int directory_;
  std::filesystem::path path_;
  MadeHere made_here_{};
  std::mutex mutex_{};
  LineLog lines_;
  ChunkIds ids_;
  ChunkIndex chunks_{};
  std::map<std::uint64_t, std::string> leaving_{};  // where the files go that were being renamed
  std::map<std::uint64_t, std::string> rivals_{};   // other files that have a chunk's id on record
  std::uint64_t above_all_ = 0;                     // every id on record
  std::uint64_t skipped_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
