// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Becoming the owner of a session whose owner is dead. tests/proof/models/adopt.pml is a model of it.
//
// 1. Open the directory, following no link. Shared flock, for 100 ms; refused: busy. Who holds it holds off removal.
// 2. The name must lead to the directory that is locked; else session_gone.
// 3. metadata.json is there; else leave as refused: its creator may be about to take the owner's byte.
// 4. Take the owner's byte of .lock; refused: busy, leave as refused. No exclusive lock is tried, now or later.
// 5. Finish or undo pending merges, each under the locks of its names. One is held: whoever has it sees to it.
// 6. Remove temporary files that nobody has locked. Nothing else goes: what has no record may be a joiner's just now.
// 7. Under byte 1: metadata.json anew, this owner at its head, the one of before in `previous`, in_progress.
// 8. The mark that keeps it, or none, as this owner's policies have it.
// 5 and 6 are done whatever metadata.json says, since who wrote it may have died since. Each step may be done twice.
//
// To leave as refused: shared lock, then a look at the owner's byte; free: the removal step (life.hpp). What fails
// otherwise leaves the session as if this process had died there: it can be adopted again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/chunk/chunk_guest.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/session/entry.hpp>
#include <scratch/detail/session/json.hpp>
#include <scratch/detail/session/keep.hpp>
#include <scratch/detail/session/life.hpp>
#include <scratch/detail/session/look.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/detail/session/session_state.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/text/json_text.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/guest.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/place.hpp>
#include <scratch/session_info.hpp>
#include <scratch/workspace_options.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// What the policies of who adopts come to.
struct AdoptionChoices {
  const char* engine = "best";
  Cleanup cleanup = Cleanup::remove;
};

class Adoption {
 public:
  /// 1 to 4. @throws Error and then it is as it was
  Adoption(const Location& location, std::string_view id)
      : life_(adopt(location, id)),
        path_(life_.path()),
        kept_(is_marked_kept(life_.directory(), life_.path())),
        text_(read_head_text(life_.directory(), life_.path())),
        head_(parse_head(text_ + "]}", life_.path() / metadata_name)) {}

  /// @throws Error `invalid_name`
  static std::string name_of(const Location& location, std::string_view id) {
    std::string name = location.grammar.prefix + std::string(session_prefix) + std::string(id);
    if (!location.grammar.is_session(name) || name.find('/') != name.npos || name.find('\0') != name.npos)
      throw_error(errc::invalid_name, "adopt the session", location.root / name,
                  "an id is what list_sessions() gives: ..._<16 hex digits>");
    return name;
  }

  const std::filesystem::path& path() const noexcept { return path_; }
  bool is_kept() const noexcept { return kept_; }
  const SetFacts& set() const noexcept { return head_.set; }
  /// @pre behind `take_over`
  SessionState& state() noexcept { return *state_; }

  /// 5 to 8. @throws Error and then it can be adopted again
  std::shared_ptr<SessionState> finish(const std::filesystem::path& place, const AdoptionChoices& choices,
                                       WorkspaceOptions options) {
    take_over(place, choices, std::move(options), head_.set.settled);
    mark();
    return conclude();
  }

  // The same step by step, for a set. What fails in between leaves it as if this process had died there.

  /// 5 to 7. @param settled of its set @throws Error
  void take_over(const std::filesystem::path& place, const AdoptionChoices& choices, WorkspaceOptions options,
                 bool settled) {
    SessionFacts facts = facts_of_owner(place);
    facts.id = life_.id();
    facts.label = head_.label;
    facts.start_time = head_.start_time;
    facts.durable = options.durable;
    facts.engine = choices.engine;
    facts.user = user();
    facts.previous = previous();
    facts.progress = head_.progress_text;
    facts.set = head_.set;
    facts.set.settled = settled;
    const std::uint64_t quota = options.quota;
    state_ = std::make_shared<SessionState>(std::move(life_), std::move(facts), choices.cleanup, std::move(options));
    if (quota > 0) state_->quota().limit_to(quota);
    repair();
    compare_records();
    state_->publish();
  }

  /// 8. @throws Error
  void mark() { state_->adopt_mark(kept_); }

  /// The session is this process's, for everybody.
  std::shared_ptr<SessionState> conclude() {
    state_->announce();
    tell();
    return std::move(state_);
  }

 private:
  static SessionLife adopt(const Location& location, std::string_view id) {
    constexpr const char* doing = "adopt the session";
    std::string name = name_of(location, id);
    const std::filesystem::path path = location.root / name;
    Root root{open_root(location.wanted()), location.root};
    if (!root.directory) throw_error(errc::session_gone, doing, path, "nothing is there");
    return SessionLife::adopt(std::move(root), location.grammar, std::move(name));
  }

  // The application's object, as it gave it where it stands as this library writes it.
  std::string user() const {
    constexpr std::string_view key = ",\"user\":";
    const std::size_t at = text_.find(key);
    if (at != text_.npos && text_.ends_with(end_of_head)) {
      const std::string_view rest = std::string_view(text_).substr(at + key.size());
      const std::string_view user = rest.substr(0, rest.size() - end_of_head.size());
      if (is_json_object(user)) return minified_json(user);
    }
    return head_.user_text.empty() ? "{}" : head_.user_text;
  }

  std::string previous() const {
    std::string all = head_.previous_text.size() > 2 ? head_.previous_text : "[]";
    all.pop_back();
    if (all.size() > 1) all += ',';
    return all + "{\"pid\":" + std::to_string(head_.pid) + ",\"host\":" + json_string(head_.host) +
           ",\"boot_id\":" + json_string(head_.boot_id) + "}]";
  }

  static bool is_chunk_file(std::string_view name) {
    if (!name.starts_with("chunk_") || !name.ends_with(".bin")) return false;
    const std::string_view digits = name.substr(6, name.size() - 10);
    return !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  }

  static bool is_directory(const Directory& where, const Entry& entry) {
    if (entry.type != DT_UNKNOWN) return entry.type == DT_DIR;
    const auto facts = facts_of(where.fd(), std::string(entry.name), where.path());
    return facts && S_ISDIR(facts->st_mode);
  }

  // The session's directory and every area of it.
  void repair() {
    std::vector<std::string> prefixes{""};
    while (!prefixes.empty()) {
      const std::string prefix = std::move(prefixes.back());
      prefixes.pop_back();
      const std::optional<Directory> here = Directory(state_).area_of(prefix);
      if (!here) continue;
      // 5.
      for (const std::unique_ptr<Guest>& guest : state_->guests()) guest->repair(*here);
      // 6.
      remove_stale_temp_files(here->fd(), here->path());
      for_each_entry(here->fd(), here->path(), [&](const Entry& entry) {
        if (Quota::is_unfinished(entry.name)) sys::unlinkat(here->fd(), entry.name.data());
        if (is_chunk_file(entry.name)) unrecorded_.insert(prefix + std::string(entry.name));
        if (is_directory(*here, entry)) prefixes.push_back(prefix + std::string(entry.name) + "/");
      });
    }
  }

  // What a living joiner does to its chunk meanwhile is no damage.
  bool has_its_file(const ChunkInfo& chunk) const {
    struct stat facts {};
    const bool there = sys::fstatat(state_->fd(), chunk.file.c_str(), facts) == 0;
    return there && S_ISREG(facts.st_mode) && static_cast<std::uint64_t>(facts.st_size) == chunk.size;
  }

  void compare_records() {
    ChunkLog& log = chunk_log(*state_);
    std::vector<ChunkInfo> doubtful;
    log.for_each([&](const ChunkEntry& chunk) {
      unrecorded_.erase(chunk.info.file);
      if (!has_its_file(chunk.info)) doubtful.push_back(chunk.info);
    });
    for (const ChunkInfo& chunk : doubtful) {
      const auto answer = try_for(Patience{100}, [&] {
        const std::optional<ChunkRecord> now = log.find(chunk.id);
        return !now || has_its_file(now->info) ? LockAnswer::taken : LockAnswer::busy;
      });
      if (answer == LockAnswer::busy)
        throw_error(errc::corrupt, "adopt the session, whose record has a chunk without its file",
                    state_->path() / chunk.file,
                    "chunk " + std::to_string(chunk.id) + " has " + std::to_string(chunk.size) +
                        " bytes on record: look at what is left with SessionView");
    }
  }

  void tell() const {
    state_->emit(EventKind::session_adopted, state_->path(), 0,
                 "its owner was process " + std::to_string(head_.pid) + " on " + head_.host);
    for (const std::string& file : unrecorded_) {
      struct stat facts {};
      if (sys::fstatat(state_->fd(), file.c_str(), facts) == 0)
        state_->emit(EventKind::chunk_unrecorded, state_->path() / file, static_cast<std::uint64_t>(facts.st_size),
                     "it is whole, and no chunk");
    }
  }

  SessionLife life_;
  std::filesystem::path path_;
  bool kept_;
  std::string text_;
  MetadataHead head_;
  std::shared_ptr<SessionState> state_{};
  std::set<std::string> unrecorded_{};
};

/// The latest of the sessions of a label that are kept, not completed, and whose owner is dead.
/// @param label clean @throws Error for a place that cannot be read at all
inline std::optional<SessionInfo> find_unfinished(const Location& location, std::string_view label) {
  const Fd root = open_root(location.wanted());
  if (!root) return std::nullopt;
  struct Candidate {
    std::string start_time;
    std::int64_t seconds, nanoseconds;  // when its metadata.json changed
    std::string name;
  };
  std::vector<Candidate> candidates;
  for_each_entry(root.get(), location.root, [&](const Entry& entry) {
    if (!location.grammar.is_session(entry.name)) return;
    const std::filesystem::path path = location.root / entry.name;
    try {
      const Fd directory = open_directory(root.get(), entry.name.data());
      struct stat metadata {};
      if (!directory || facts_of(directory.get(), path).st_uid != sys::geteuid() ||
          !is_marked_kept(directory.get(), path) || owner_alive(directory.get(), path) ||
          sys::fstatat(directory.get(), metadata_name.data(), metadata) != 0)
        return;
      const MetadataHead head = read_head(directory.get(), path);
      if (head.label == label && head.status != "completed")
        candidates.push_back(
            {head.start_time, metadata.st_mtim.tv_sec, metadata.st_mtim.tv_nsec, std::string(entry.name)});
    } catch (const Error&) {  // it is none that could be gone on with
    }
  });
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    if (a.start_time != b.start_time) return a.start_time > b.start_time;
    if (a.seconds != b.seconds) return a.seconds > b.seconds;
    return a.nanoseconds != b.nanoseconds ? a.nanoseconds > b.nanoseconds : a.name > b.name;
  });
  for (const Candidate& candidate : candidates)
    if (auto info = find({root.get(), location.root, candidate.name}, location.grammar)) return info;
  return std::nullopt;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
