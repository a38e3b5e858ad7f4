// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A set: one session in each of several places, all under one id.
//
// Each is a session like any other, locked, swept and looked at by itself. What makes them a set is in metadata.json of
// each: the paths of all, in one order. That of the first one says, too, whether the set is *settled*: whether each has
// the mark that it is to have. While a session of the set is marked as one to be kept, the first one is: where marks are
// made it comes first, where they are taken off it comes last. While that goes on the set is not settled. So of one that
// is not settled a session that is missing was not yet to be kept, or no longer, and what is left of the set is of no use;
// of a settled one it is a loss.
//
// To make one:
// 1. Every root is there, and no two are one directory.
// 2. A directory of the same name in each, locked. What fails until 6 takes all of them back.
// 3. metadata.json in each. 4. The mark in each, where they are to be kept from the beginning. 5. The set is settled.
// 6. They are there for others.
//
// To adopt one, with the steps of adoption.hpp:
// 1. Any one's metadata.json says which they are, and in which order. The places must be theirs.
// 2. 1 to 4 for each in that order; what fails until 6 lets go of all, as if this process had died. One is missing: the
//    set was settled: it cannot be adopted. It was not: those that are left are removed, the first one last.
// 3. 5 to 7 for each, the first one first: from then on the set is not settled if marks will change.
// 4. 8 for each. 5. The set is settled. 6. They are this process's, for everybody.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/random.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/session/adoption.hpp>
#include <scratch/detail/session/entry.hpp>
#include <scratch/detail/session/json.hpp>
#include <scratch/detail/session/making.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/detail/session/session_state.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/hash_ring.hpp>
#include <scratch/place.hpp>
#include <scratch/session_options.hpp>
#include <scratch/space.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

using SetStates = std::vector<std::shared_ptr<SessionState>>;

/// Whether a session has its mark from its beginning.
inline bool begins_marked(Cleanup cleanup) { return cleanup == Cleanup::keep || cleanup == Cleanup::unless_completed; }

/// The options of one session of `n`: what is said of all is dealt with before, and memory is shared.
inline SessionOptions options_of_one(SessionOptions options, std::size_t n) {
  options.need = 0;
  options.buffers /= n;
  return options;
}

/// @throws Error `insufficient_space` unless these directories have as much room, a device counting once
inline void require_space_together(const std::vector<std::filesystem::path>& places, std::uint64_t need) {
  if (need == 0) return;
  std::set<dev_t> devices;
  std::uint64_t room = 0;
  for (const std::filesystem::path& path : places) {
    const Fd place(sys::openat(AT_FDCWD, path.c_str(), O_PATH));
    if (!place) throw_error(errno, "ask for the free space of", path);
    if (!devices.insert(facts_of(place.get(), path).st_dev).second) continue;
    const std::uint64_t more = space_of(place.get(), path).bytes;
    room = more > UINT64_MAX - room ? UINT64_MAX : room + more;
  }
  if (room < need)
    throw_error(errc::insufficient_space, "find room in", places.front(),
                readable_size(need) + " needed, " + readable_size(room) + " free in " + std::to_string(places.size()) +
                    " places together");
}

/// The sessions of a new set, and what whoever looks on is to know of its places.
class SetMaker {
 public:
  SetMaker(const std::vector<Location>& locations, const SessionOptions& options, const SessionChoices& choices)
      : locations_(locations), options_(options), choices_(choices) {}

  /// @throws Error and then nothing is left
  SetStates make(const std::string& label, std::string_view middle) {
    check_roots();  // 1.
    const std::uint64_t number = random_number();
    SetFacts set;
    for (const Location& location : locations_)
      set.members.push_back((location.root / location.grammar.session(middle, number)).native());
    set.settled = !begins_marked(cleanup_among(options_, choices_));
    SetStates states;
    for (; set.index < locations_.size(); ++set.index)  // 2.
      states.push_back(make_session(locations_[set.index], label, middle, options_of_one(options_, locations_.size()),
                                    choices_, number, set));
    for (const auto& state : states) state->begin_record();  // 3.
    for (const auto& state : states) state->begin_mark();    // 4.
    if (!set.settled) states.front()->settle(true);          // 5.
    for (const auto& state : states) state->announce();      // 6.
    for (const auto& state : states) state->emit(EventKind::session_created, state->path());
    for (const auto& [i, message] : shared_) states[i]->emit(EventKind::shared_device, locations_[i].root, 0, message);
    return states;
  }

 private:
  void check_roots() {
    std::vector<std::string> names;
    for (const Location& location : locations_) names.push_back(location.root);
    static_cast<void>(HashRing(names, 1));  // there is one, and no two are equal
    std::vector<struct stat> seen;
    for (const Location& location : locations_) {
      RootWanted wanted = location.wanted();
      wanted.durable = choices_.durable;
      const struct stat facts = facts_of(make_root(wanted).get(), location.root);
      for (std::size_t i = 0; i < seen.size(); ++i) {
        const std::string other = locations_[i].root;
        if (same_file(seen[i], facts))
          throw_error(EINVAL, "make a set of sessions in", location.root, "it is the same directory as " + other);
        if (seen[i].st_dev != facts.st_dev) continue;
        shared_.insert_or_assign(seen.size(), "it is on the device of " + other);
      }
      seen.push_back(facts);
    }
    require_space_together({names.begin(), names.end()}, options_.need);
  }

  const std::vector<Location>& locations_;
  const SessionOptions& options_;
  const SessionChoices& choices_;
  std::map<std::size_t, std::string> shared_{};  // roots on the device of an earlier one
};

/// Sessions of a set that were left by their owner.
class SetAdoption {
 public:
  /// 1 and 2. @throws Error and then it is as it was, or what was left of it is removed
  SetAdoption(const std::vector<Location>& locations, std::string_view id) : locations_(locations) {
    find(id);
    std::optional<Error> missing;
    bool is_known = true;  // what became of it
    members_.reserve(order_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) {
      try {
        members_.emplace_back(location(i), id);
      } catch (const Error& error) {
        if (error.code() != errc::session_gone) throw;
        if (!missing) missing = error;
        if (i == 0 || !open_root(location(i).wanted())) is_known = false;
      }
    }
    if (!missing) return;
    if (!is_known || members_.front().set().settled) throw Error{*missing};
    drop();
    throw_error(errc::session_gone, doing, missing->path(), "it had ended: what was left of it is removed");
  }

  /// Which of the places the i-th session is in.
  std::size_t place(std::size_t i) const { return order_[i]; }

  /// 3 to 6. @throws Error and then it can be adopted again
  SetStates finish(const SessionOptions& options, const SessionChoices& policies) {
    const SessionChoices choices = choices_with(options, policies);
    const AdoptionChoices chosen{choices.engine, cleanup_among(options, choices)};
    std::vector<std::filesystem::path> roots;
    for (std::size_t i = 0; i < members_.size(); ++i) roots.push_back(location(i).root);
    require_space_together(roots, options.need);
    const bool marked = begins_marked(chosen.cleanup);
    const bool changes =
        std::any_of(members_.begin(), members_.end(), [&](const Adoption& one) { return one.is_kept() != marked; });
    for (std::size_t i = 0; i < members_.size(); ++i)  // 3.
      take_over(i, chosen, workspace_options(options_of_one(options, members_.size()), choices.io, choices.durable),
                !changes);
    for (std::size_t i = 0; i < members_.size(); ++i)  // 4.
      members_[marked ? i : members_.size() - 1 - i].mark();
    if (changes) members_.front().state().settle(true);  // 5.
    SetStates states;
    for (Adoption& one : members_) states.push_back(one.conclude());  // 6.
    return states;
  }

 private:
  static constexpr const char* doing = "adopt the set of sessions";

  const Location& location(std::size_t i) const { return locations_[order_[i]]; }

  // 1.
  void find(std::string_view id) {
    if (locations_.empty()) throw_error(EINVAL, doing, {}, "there is no place");
    std::optional<SetFacts> set;
    std::vector<std::string> paths;
    for (const Location& location : locations_) {
      const std::string name = Adoption::name_of(location, id);
      paths.push_back((location.root / name).native());
      if (!set) set = read_set(location, name);
    }
    if (!set) throw_error(errc::session_gone, doing, paths.front(), "nothing is there");
    if (set->members.empty()) throw_error(EINVAL, doing, paths.front(), "it is alone: adopt() it");
    for (const std::string& member : set->members) {
      const auto found = std::find(paths.begin(), paths.end(), member);
      if (found != paths.end()) order_.push_back(static_cast<std::size_t>(found - paths.begin()));
    }
    if (order_.size() == set->members.size() && order_.size() == paths.size()) return;
    std::string all;
    for (const std::string& member : set->members) all += (all.empty() ? "" : ", ") + member;
    throw_error(EINVAL, doing, paths.front(), "its sessions are " + all + ": give the place of each, once");
  }

  // Nothing: there is none, or it says nothing of itself.
  static std::optional<SetFacts> read_set(const Location& location, const std::string& name) {
    const Fd root = open_root(location.wanted());
    if (!root) return std::nullopt;
    const std::filesystem::path path = location.root / name;
    const Fd directory = open_directory(root.get(), name.c_str());
    if (!directory && errno != ENOENT) throw_error(errno, "open", path);
    if (!directory || !has_file(directory.get(), metadata_name, path)) return std::nullopt;
    return read_head(directory.get(), path).set;
  }

  void take_over(std::size_t i, const AdoptionChoices& choices, WorkspaceOptions options, bool settled) {
    members_[i].take_over(location(i).root, choices, std::move(options), settled);
  }

  void drop() {
    for (; !members_.empty(); members_.pop_back()) {
      Adoption& one = members_.back();
      one.take_over(one.path().parent_path(), {"best", Cleanup::remove}, {}, false);
      one.mark();
      one.conclude()->close();
    }
  }

  const std::vector<Location>& locations_;
  std::vector<std::size_t> order_{};  // the place of each
  std::vector<Adoption> members_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
