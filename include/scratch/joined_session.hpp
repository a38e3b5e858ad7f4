// SPDX-License-Identifier: MIT
// floor 5: wings
//
// A worker process's hold on somebody else's session.
#pragma once

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include <scratch/detail/session/json.hpp>
#include <scratch/detail/session/life.hpp>
#include <scratch/detail/session/session_handle.hpp>
#include <scratch/detail/session/session_state.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/policy.hpp>
#include <scratch/session_options.hpp>
#include <scratch/space.hpp>

namespace scratch::inline SCRATCH_ABI {

class JoinedSet;

/// Holds a session that another process created, known by its path alone: `JoinedSession(std::getenv("SESSION_DIR"))`.
/// While this lives the directory stays, also when the owner ends first: the last one out removes it. Quota, durability
/// and engine are the owner's. Only the user who created it joins, so that its processes can use and remove each
/// other's files; root can look with `SessionView`. Move-only; in a forked child as `SessionDir`.
class JoinedSession : public detail::SessionHandle {
 public:
  /// @throws Error `session_gone` when it is being removed or its owner is not alive; `corrupt` when its metadata.json
  ///         is damaged; `untrusted_directory` for another user's; EINVAL for a null pointer, which is what an unset
  ///         variable gives
  [[nodiscard("the session is left with the statement: give this a name")]]  //
  explicit JoinedSession(const char* path, SessionOptions options = {})
      : JoinedSession(std::filesystem::path(given(path)), std::move(options)) {}
  /// The same.
  [[nodiscard("the session is left with the statement: give this a name")]]  //
  explicit JoinedSession(const std::filesystem::path& path, SessionOptions options = {})
      : SessionHandle(join(path, std::move(options))) {
    state().emit(EventKind::session_joined, state().path());
  }
  /// The same.
  [[nodiscard("the session is left with the statement: give this a name")]]  //
  explicit JoinedSession(const std::string& path, SessionOptions options = {})
      : JoinedSession(std::filesystem::path(path), std::move(options)) {}

  JoinedSession(JoinedSession&&) noexcept = default;
  JoinedSession& operator=(JoinedSession&& other) noexcept {
    if (this != &other) {
      end_silently();
      SessionHandle::operator=(std::move(other));
    }
    return *this;
  }
  ~JoinedSession() { end_silently(); }

  /// Whether the process that made it is there. Where it is not, files written here go when the last one has left, and
  /// nobody waits for them. O(1). @throws Error
  bool owner_is_alive() const { return checked().owner_is_alive(); }

  /// Lets go of it now, and gives back its descriptors; removes it if everybody else has left. Again: nothing, where it
  /// succeeded.
  /// @throws Error when something could not be removed: calling it again goes on, else the next sweep will try
  void close() { close_it(); }

 private:
  friend class JoinedSet;

  static const char* given(const char* path) {
    if (path != nullptr && *path != '\0') return path;
    detail::throw_error(EINVAL, "join a session", {},
                        path == nullptr ? "no path was given: is the environment variable that should hold it set?"
                                        : "the path is empty");
  }

  static std::shared_ptr<detail::SessionState> join(const std::filesystem::path& path, SessionOptions options) {
    detail::SessionLife life = detail::SessionLife::join(path);
    detail::MetadataHead head = detail::read_head(life.directory(), life.path());
    if (options.need > 0) require_space(life.path(), options.need);
    options.quota = 0;  // the owner's, if there is one
    return std::make_shared<detail::SessionState>(
        std::move(life), std::move(head.label), std::move(head.set), &detail::read_head_text,
        detail::workspace_options(std::move(options), detail::engine_named(head.engine), head.durable));
  }

  void end_silently() noexcept { end_it(false); }
};

}  // namespace scratch::inline SCRATCH_ABI
