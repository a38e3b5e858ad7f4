// SPDX-License-Identifier: MIT
// floor 5: wings
//
// A worker process's hold on somebody else's set of sessions.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/detail/session/set_making.hpp>
#include <scratch/detail/session/set_places.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/session_options.hpp>
#include <scratch/usage.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Holds the sessions of a set that another process created, known by the path of any of them:
/// `JoinedSet(std::getenv("SESSION_DIR"))`. Each is held as a `JoinedSession` holds it. Of a session that is alone this
/// is a set of one. Move-only; thread-safe, save for moving, `close()` and the destructor.
///
/// A sibling that cannot be joined, its place having failed, keeps nobody from the others: it is told as an event,
/// `session_gone`, gets no new names, and whatever needs it throws why.
class JoinedSet {
 public:
  /// @param options `.need` is asked of all places together
  /// @throws Error as `JoinedSession` for the member given; `session_gone` where its owner is not alive
  [[nodiscard("the sessions are left with the statement: give this a name")]]  //
  explicit JoinedSet(const std::filesystem::path& any_member, SessionOptions options = {})
      : JoinedSet(JoinedSession(any_member, one_of(options)), options) {}
  /// The same.
  [[nodiscard("the sessions are left with the statement: give this a name")]]  //
  explicit JoinedSet(const char* any_member, SessionOptions options = {})
      : JoinedSet(JoinedSession(any_member, one_of(options)), options) {}
  /// The same.
  [[nodiscard("the sessions are left with the statement: give this a name")]]  //
  explicit JoinedSet(const std::string& any_member, SessionOptions options = {})
      : JoinedSet(std::filesystem::path(any_member), std::move(options)) {}

  JoinedSet(JoinedSet&&) noexcept = default;
  JoinedSet& operator=(JoinedSet&& other) noexcept {
    if (this != &other) {
      end();
      sessions_ = std::move(other.sessions_);
      places_ = std::move(other.places_);
    }
    return *this;
  }
  ~JoinedSet() { end(); }

  /// As `SessionSet::of`.
  Workspace of(std::string_view name) { return places().of(name); }
  /// As `SessionSet::of`.
  Workspace of(const ChunkInfo& chunk) const { return places().of(chunk); }
  /// As `SessionSet::size`.
  std::size_t size() const { return places().size(); }
  /// As `SessionSet::chunks`.
  std::vector<ChunkInfo> chunks() const { return places().chunks(); }
  /// As `SessionSet::usage`.
  Usage usage() const { return places().usage(); }
  /// As `SessionSet::usage_report`.
  UsageReport usage_report() const { return places().usage_report(); }

  /// In the order of the set. @throws Error EINVAL where there is none of this index; why it could not be joined
  JoinedSession& operator[](std::size_t i) {
    if (i >= size())
      detail::throw_error(EINVAL, "use a session of the set", {},
                          "there are " + std::to_string(size()) + ", and no " + std::to_string(i));
    if (!sessions_[i]) static_cast<void>(places().at(i));
    return *sessions_[i];
  }

  /// Whether the process that made the set is there. O(1). @throws Error
  bool owner_is_alive() const {
    places().check();
    for (const std::optional<JoinedSession>& session : sessions_)
      if (session) return session->owner_is_alive();
    return false;
  }

  /// Lets go of them now, as `JoinedSession::close()` does. @throws Error the first one; calling it again goes on
  void close() {
    places().let_go();
    std::optional<Error> failure;
    for (std::optional<JoinedSession>& session : sessions_) {
      try {
        if (session) session->close();
      } catch (const Error& error) {
        if (!failure) failure = error;
      }
    }
    if (failure) throw Error{*failure};
  }

 private:
  static SessionOptions one_of(SessionOptions options) {
    options.need = 0;
    return options;
  }

  JoinedSet(JoinedSession member, const SessionOptions& options) {
    const detail::SetFacts set = set_of(member);
    std::vector<detail::SetMember> members;
    std::vector<std::filesystem::path> there;
    sessions_.resize(set.members.size());
    const JoinedSession& first = sessions_[static_cast<std::size_t>(set.index)].emplace(std::move(member));
    for (std::size_t i = 0; i < sessions_.size(); ++i) {
      members.push_back(i == set.index ? detail::SetMember{first.path(), Workspace(first)} : join(set, i, options));
      if (members.back().here) there.push_back(members.back().path);
    }
    detail::require_space_together(there, options.need);
    places_ = std::make_unique<detail::SetPlaces>(std::move(members));
  }

  static detail::SetFacts set_of(const JoinedSession& session) {
    detail::SetFacts set = session.state().set();
    if (set.members.empty()) set.members.push_back(session.path().native());
    return set;
  }

  // What a file says of a path is not believed until what is there says the same.
  detail::SetMember join(const detail::SetFacts& set, std::size_t i, const SessionOptions& options) {
    detail::SetMember member{set.members[i], std::nullopt};
    try {
      JoinedSession session(member.path, one_of(options));
      const detail::SetFacts theirs = set_of(session);
      if (theirs.members != set.members || theirs.index != i)
        detail::throw_error(errc::corrupt, "join the session", member.path,
                            "it is of another set than the one that names it");
      member.here = Workspace(session);
      sessions_[i].emplace(std::move(session));
    } catch (const Error& error) {
      member.why = error;
      tell(options, error);
    }
    return member;
  }

  static void tell(const SessionOptions& options, const Error& error) noexcept {
    try {
      if (options.on_event) options.on_event({EventKind::session_gone, error.path(), 0, error.what()});
    } catch (...) {  // watching the work must not end it
    }
  }

  detail::SetPlaces& places() const {
    if (!places_) detail::throw_error(EINVAL, "use the set of sessions", {}, "it was moved to another object");
    return *places_;
  }

  void end() noexcept {
    if (places_) places_->let_go();
    sessions_.clear();
  }

  std::vector<std::optional<JoinedSession>> sessions_{};  // empty: could not be joined
  std::unique_ptr<detail::SetPlaces> places_{};           // empty: moved from
};

}  // namespace scratch::inline SCRATCH_ABI
