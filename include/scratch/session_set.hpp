// SPDX-License-Identifier: MIT
// floor 5: wings
//
// One session in each of several places: more disks than one.
#pragma once

#include <cerrno>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/session/set_making.hpp>
#include <scratch/detail/session/set_places.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>
#include <scratch/place.hpp>
#include <scratch/policy.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_options.hpp>
#include <scratch/usage.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

template <Place P, SessionPolicy... Ps>
class SessionSet;

namespace detail {

/// How the sessions of a set come to their owner.
struct SetMaking {
  template <Place P, SessionPolicy... Ps>
  static SessionChoices choices() {
    return SessionDir<P, Ps...>::choices();
  }

  template <Place P, SessionPolicy... Ps>
  static std::vector<SessionDir<P, Ps...>> sessions(std::vector<P> places, SetStates states) {
    std::vector<SessionDir<P, Ps...>> all;
    all.reserve(states.size());
    for (std::size_t i = 0; i < states.size(); ++i)
      all.push_back(SessionDir<P, Ps...>(std::move(places[i]), std::move(states[i])));
    return all;
  }

  template <Place P, SessionPolicy... Ps>
  static std::vector<SessionDir<P, Ps...>> make(std::vector<P> places, std::string_view given, SessionOptions options) {
    std::vector<Location> locations;
    for (P& place : places) {
      place = resolved(std::move(place));
      locations.push_back(location_of(place));
    }
    const std::string label = clean_label(given);
    const SessionChoices chosen = choices<P, Ps...>();
    SetMaker maker(locations, options, chosen);
    SetStates states = maker.make(label, SessionDir<P, Ps...>::Chosen::Naming::middle(label));
    return sessions<P, Ps...>(std::move(places), std::move(states));
  }

  template <Place P, SessionPolicy... Ps>
  static SessionSet<P, Ps...> adopt(std::vector<P> places, std::string_view id, SessionOptions options);

  template <Place P, SessionPolicy... Ps>
  static SessionState& state(const SessionDir<P, Ps...>& session) {
    return session.state();
  }
};

}  // namespace detail

/// One session in each of several places, all under one id: as many disks as there are, and their room together.
///
/// Each is a session as `SessionDir` makes it, with a lock of its own: its place is swept by itself, and metadata.json
/// names its siblings. A name says in which of them it stands:
///
///     SessionSet set({Under{"/mnt/a/job"}, Under{"/mnt/b/job"}}, "job");
///     AtomicFile file(set.of("part_7"), "part_7");     // and later FileReader(set.of("part_7"), "part_7")
///     ChunkWriter chunk(set.of("stream 3"));           // chunks have numbers that are the set's
///     for (const ChunkInfo& chunk : set.chunks()) ChunkReader(set.of(chunk), chunk).verify();
///
/// Places are told by their paths: the same paths in any order have the same names. Workers join the set by the path of
/// any of its sessions, see `JoinedSet`; `adopt_set()` gives one whose owner has died. Thread-safe, save for moving,
/// `close()` and the destructor, which ends the sessions as theirs do. In a forked child as `SessionDir`.
template <Place P, SessionPolicy... Ps>
class SessionSet {
 public:
  /// What it is made of.
  using Session = SessionDir<P, Ps...>;

  /// Creates them. Two places on one device are told as an event, `shared_device`.
  ///
  /// @param label   any bytes; a part of the directories' name
  /// @param options `.need` is asked of all places together, `.buffers` shared; `.quota` is of each session
  /// @throws Error EINVAL for no place, and for two that are one directory; as `SessionDir` for each. Nothing is left.
  /// After a crash: directories that the next sweep of each place takes. With a policy that keeps them from their
  ///         beginning some may be marked as kept: `adopt_set()` of the first one's id removes them.
  [[nodiscard("the sessions end with the statement: give the set a name")]]  //
  SessionSet(std::vector<P> places, std::string_view label, SessionOptions options = {})
      : SessionSet(detail::SetMaking::make<P, Ps...>(std::move(places), label, std::move(options))) {}

  SessionSet(SessionSet&&) noexcept = default;
  SessionSet& operator=(SessionSet&& other) noexcept {
    if (this != &other) {
      end();
      sessions_ = std::move(other.sessions_);
      places_ = std::move(other.places_);
    }
    return *this;
  }
  ~SessionSet() { end(); }

  /// The session in which a name stands, or is to stand: that of the place which the ring gives it (`HashRing`, of the
  /// roots' paths), or of another where that one has less than 4 MiB left, has no inode or quota left, is read-only,
  /// gone, or a write failed there in this process. Where no place is any better, the ring's, and whoever writes there is
  /// told what is wrong.
  ///
  /// A file or area stays in the session in which it stands, and every process is told that one. What another place gets
  /// is on record there before this returns. A place that fails takes what is in it along: reading that is an error, and
  /// so are `chunks()` and `usage()`, where they cannot tell all. Of one name there should be one writer at a time.
  ///
  /// O(places). @param name of a file, an area, or anything: 1 to 4,096 bytes
  /// @throws Error `invalid_name`; `session_gone` once it was closed
  /// After a crash: the answer is the same.
  Workspace of(std::string_view name) { return places().of(name); }
  /// The session that has a chunk. O(1). @throws Error
  Workspace of(const ChunkInfo& chunk) const { return places().of(chunk); }

  /// How many places there are.
  std::size_t size() const { return places().size(); }
  /// In the order of the places; of a set that was adopted, in that of the places when it was made.
  /// @throws Error EINVAL where there is none of this index
  Session& operator[](std::size_t i) { return sessions_[checked(i)]; }
  /// The same.
  const Session& operator[](std::size_t i) const { return sessions_[checked(i)]; }

  /// That of the first session, and of the set.
  const std::string& id() const& { return (*this)[0].id(); }
  /// As `SessionDir::label()`.
  const std::string& label() const& { return (*this)[0].label(); }

  /// The chunks of all, by id. O(chunks).
  /// @throws Error where one of the sessions is gone or cannot be read: none is left out in silence
  std::vector<ChunkInfo> chunks() const { return places().chunks(); }
  /// O(files). @throws Error as `chunks()`
  Usage usage() const { return places().usage(); }
  /// Areas of one name are one row. O(files). @throws Error as `chunks()`
  UsageReport usage_report() const { return places().usage_report(); }

  // What follows does the same to each session. What fails in one keeps it from none of the others, save that none is
  // marked, or unmarked, where the first one cannot say so; the first error is thrown in the end, and calling it again
  // does what is left.

  /// As `OwnedSession::complete()`. @throws Error
  /// After a crash: all are completed, or `adopt_set()` goes on with the set or removes what is left of it.
  void complete() {
    if (first().is_marked()) first().settle(false);
    each(sessions_.rbegin(), sessions_.rend(), [](Session& session) { session.complete(); });
    if (first().is_marked()) first().settle(true);  // it is kept for good
  }

  /// As `OwnedSession::fail()`. @throws Error
  void fail(std::string_view reason) {
    const bool marks = !first().is_marked();
    if (marks) settle_if_possible(false);
    each(sessions_.begin(), sessions_.end(), [&](Session& session) { session.fail(reason); });
    if (marks) settle_if_possible(true);
  }

  /// As `OwnedSession::keep()`. @returns their paths @throws Error
  std::vector<std::filesystem::path> keep() {
    const bool marks = !first().is_marked();
    if (marks) first().settle(false);
    std::vector<std::filesystem::path> paths;
    each(sessions_.begin(), sessions_.end(), [&](Session& session) { paths.push_back(session.keep()); });
    if (marks) first().settle(true);
    return paths;
  }

  /// As `OwnedSession::close()`. @throws Error
  void close() {
    places().let_go();
    each(sessions_.begin(), sessions_.end(), [](Session& session) { session.close(); });
  }

 private:
  friend struct detail::SetMaking;

  explicit SessionSet(std::vector<Session> sessions)
      : sessions_(std::move(sessions)), places_(std::make_unique<detail::SetPlaces>(members())) {}

  std::vector<detail::SetMember> members() const {
    std::vector<detail::SetMember> members;
    for (const Session& session : sessions_) members.push_back({session.path(), Workspace(session)});
    return members;
  }

  detail::SetPlaces& places() const {
    if (!places_) detail::throw_error(EINVAL, "use the set of sessions", {}, "it was moved to another object");
    return *places_;
  }

  std::size_t checked(std::size_t i) const {
    if (i < places().size()) return i;
    detail::throw_error(EINVAL, "use a session of the set", {},
                        "there are " + std::to_string(places().size()) + ", and no " + std::to_string(i));
  }

  detail::SessionState& first() { return detail::SetMaking::state((*this)[0]); }

  void settle_if_possible(bool settled) noexcept {
    try {
      first().settle(settled);
    } catch (...) {  // the marks tell as much, and are there
    }
  }

  template <class Iterator, class Work>
  static void each(Iterator begin, Iterator end, Work work) {
    std::exception_ptr failure;
    for (; begin != end; ++begin) {
      try {
        work(*begin);
      } catch (...) {
        if (!failure) failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
  }

  void end() noexcept {
    if (places_) places_->let_go();
    sessions_.clear();
  }

  std::vector<Session> sessions_;
  std::unique_ptr<detail::SetPlaces> places_;  // empty: moved from
};

template <Place P>
SessionSet(std::initializer_list<P>, std::string_view, SessionOptions = {}) -> SessionSet<P>;

}  // namespace scratch::inline SCRATCH_ABI
