// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Which session of a set has a name.
//
// The roots' paths are on a ring (hash_ring.hpp), so that a name belongs to the same place in every process. A place that
// is full or has failed gets no name that is not there yet: the next one on the ring gets it, and keeps a record of it
// (placed_names.hpp). To find a name's place:
// 1. Of its own place and those that have it on record, in the order of the ring, the first in which it stands.
// 2. It stands nowhere yet: the last place that has it on record and can take it.
// 3. The first one on the ring that can take it. If this is not its own, it is put on record there first; a place in
//    which that fails cannot take it.
// 4. None can: its own, where whoever writes is told what is wrong.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/chunk_info.hpp>
#include <scratch/detail/chunk/chunk_record.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/session/placed_names.hpp>
#include <scratch/detail/text/natural_order.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>
#include <scratch/hash_ring.hpp>
#include <scratch/usage.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A place with less room than this is full.
inline constexpr std::uint64_t room_for_names = 4_MiB;

/// A session of a set, as this process has it.
struct SetMember {
  std::filesystem::path path;
  std::optional<Workspace> here;  ///< empty: it could not be had
  std::optional<Error> why = {};  ///< then: the reason
};

/// Thread-safe.
class SetPlaces {
 public:
  /// @pre there is one, and no two stand in one root
  explicit SetPlaces(std::vector<SetMember> members) : ring_(roots(members)) {
    members_.reserve(members.size());
    for (SetMember& member : members) members_.emplace_back(std::move(member));
  }
  SetPlaces(const SetPlaces&) = delete;
  SetPlaces& operator=(const SetPlaces&) = delete;

  std::size_t size() const noexcept { return members_.size(); }

  /// @throws Error `invalid_name`, `forked_object`; `session_gone` once it was closed
  Workspace of(std::string_view given) {
    check();
    constexpr std::size_t longest = 4096;
    if (given.empty() || given.size() > longest)
      throw_error(errc::invalid_name, "choose a place for", std::string(given.substr(0, longest_name)),
                  "a name has a byte at least, and 4,096 at most");
    const std::string name(given);
    const std::size_t home = ring_.of(name);
    // What can be taken is asked without the lock: who is told of a session that is gone may use the set.
    const bool at_home = has(members_[home], name) || can_take(members_[home]);
    if (!is_on_record(name) && at_home) return here(home);
    std::vector<bool> takes;
    for (const Member& member : members_) takes.push_back(can_take(member));
    const std::lock_guard hold(mutex_);
    const std::vector<std::size_t> order = ring_.of(name, size());
    const auto knows = [&](std::size_t i) { return i == home || members_[i].placed->has(name); };
    // 1.
    for (const std::size_t i : order)
      if (members_[i].here && knows(i) && has(members_[i], name)) return here(i);
    // 2.
    for (std::size_t k = order.size(); k-- > 0;)
      if (const std::size_t i = order[k]; members_[i].here && i != home && knows(i) && takes[i]) return here(i);
    // 3.
    for (const std::size_t i : order)
      if (takes[i] && (i == home || put_on_record(members_[i], name))) return here(i);
    // 4.
    return here(home);
  }

  /// The session that has a chunk of the set. @throws Error what keeps it from being had
  Workspace of(const ChunkInfo& chunk) const { return here(chunk.id % size()); }

  /// By id. @throws Error where one cannot be had, or read
  std::vector<ChunkInfo> chunks() const {
    std::vector<ChunkInfo> all;
    for (std::size_t i = 0; i < size(); ++i)
      for (ChunkInfo& chunk : here(i).chunks()) all.push_back(std::move(chunk));
    std::sort(all.begin(), all.end(), [](const ChunkInfo& a, const ChunkInfo& b) { return a.id < b.id; });
    return all;
  }

  /// @throws Error where one cannot be had, or read
  Usage usage() const {
    Usage usage;
    for (std::size_t i = 0; i < size(); ++i) usage += here(i).usage();
    return usage;
  }

  /// Areas of one name are one row. @throws Error as `usage()`
  UsageReport usage_report() const {
    const auto less = [](const std::string& a, const std::string& b) { return natural_less(a, b); };
    std::map<std::string, Usage, decltype(less)> areas(less);
    UsageReport all;
    for (std::size_t i = 0; i < size(); ++i) {
      const UsageReport report = here(i).usage_report();
      for (const UsageReport::Row& row : report.rows) areas[row.area] += row.usage;
      all.total += report.total;
    }
    for (const auto& [area, usage] : areas) all.rows.push_back({area, usage});
    return all;
  }

  /// Of the i-th session. @throws Error what keeps it from being had
  Workspace at(std::size_t i) const { return here(i); }

  /// Lets go of the sessions: from now on there is none. Not thread-safe. In a forked child: nothing.
  void let_go() noexcept {
    if (!made_here_.is_true()) return;
    for (Member& member : members_) {
      if (member.placed) member.placed->close();
      member.here.reset();
    }
    closed_ = true;
  }

  /// @throws Error `forked_object`; `session_gone` once it was closed
  void check() const {
    if (!made_here_.is_true())
      throw_error(errc::forked_object, "use the set of sessions", members_.front().path,
                  "join it from the child by the path of a member");
    if (closed_) throw_error(errc::session_gone, "use the set of sessions", members_.front().path, "it was closed");
  }

 private:
  struct Member : SetMember {
    explicit Member(SetMember&& member) : SetMember(std::move(member)) {
      if (here) placed.emplace(directory_of(*here).fd(), path, directory_of(*here).durable());
    }
    std::optional<PlacedNames> placed{};
  };

  static std::vector<std::string> roots(const std::vector<SetMember>& members) {
    std::vector<std::string> names;
    names.reserve(members.size());
    for (const SetMember& member : members) names.push_back(member.path.parent_path());
    return names;
  }

  Workspace here(std::size_t i) const {
    check();
    if (members_[i].here) return *members_[i].here;
    throw Error(*members_[i].why);
  }

  // Whether any place has the name that is not its own.
  bool is_on_record(const std::string& name) {
    const std::lock_guard hold(mutex_);
    bool found = false;
    for (Member& member : members_) found = has_on_record(member, name) || found;
    return found;
  }

  // What cannot be read is in a place that has failed, and so are the names in it.
  static bool has_on_record(Member& member, const std::string& name) {
    if (!member.here) return false;
    try {
      member.placed->refresh();
    } catch (const Error&) {
    }
    return member.placed->has(name);
  }

  static bool put_on_record(Member& member, const std::string& name) {
    try {
      member.placed->add(name);
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  static bool has(const Member& member, const std::string& name) {
    struct stat facts {};
    return member.here && is_inner_path(name) &&
           sys::fstatat(directory_of(*member.here).fd(), name.c_str(), facts) == 0;
  }

  static bool can_take(const Member& member) {
    if (!member.here) return false;
    SharedState& state = directory_of(*member.here).state();
    try {
      state.check();
    } catch (const Error&) {
      return false;
    }
    if (state.write_failed()) return false;
    if (state.quota().limit() > 0 && state.quota().used() >= state.quota().limit()) return false;
    struct statvfs facts {};
    if (sys::fstatvfs(state.fd(), facts) != 0 || (facts.f_flag & ST_RDONLY) != 0) return false;
    if (facts.f_files > 0 && facts.f_favail == 0) return false;
    const bool has_end = facts.f_blocks > 0;
    return !has_end || facts.f_bavail >= room_for_names / std::max<std::uint64_t>(facts.f_frsize, 1);
  }

  HashRing ring_;
  MadeHere made_here_{};
  std::mutex mutex_{};
  std::vector<Member> members_{};
  bool closed_ = false;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
