// SPDX-License-Identifier: MIT
// floor 5: wings
//
// A worker process's hold on somebody else's session.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/detail/session/session.hpp>
#include <scratch/error.hpp>
#include <scratch/session_options.hpp>
#include <scratch/usage.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Holds a session that another process created, known by its path alone: `JoinedSession(std::getenv("SESSION_DIR"))`.
/// While this lives the directory stays, also when the owner ends first: the last one out removes it. Quota and
/// durability are the owner's. Only the user who created it joins, so that its processes can use and remove each
/// other's files; root can look with `SessionView`. Move-only; in a forked child as `SessionDir`.
class JoinedSession {
 public:
  /// @throws Error `session_gone` when it is being removed or its owner is not alive; `corrupt` when its metadata.json
  ///         is damaged; `untrusted_directory` for another user's; EINVAL for a null pointer, which is what an unset
  ///         variable gives
  explicit JoinedSession(const char* path, SessionOptions options = {})
      : JoinedSession(std::filesystem::path(given(path)), std::move(options)) {}
  explicit JoinedSession(const std::filesystem::path& path, SessionOptions options = {})
      : session_(detail::Session::join(path, std::move(options))) {}
  explicit JoinedSession(const std::string& path, SessionOptions options = {})
      : JoinedSession(std::filesystem::path(path), std::move(options)) {}

  /// The session for whatever writes. A workspace that outlives this gets `session_gone`.
  operator Workspace() const { return session().workspace(); }

  const std::filesystem::path& path() const { return session().path(); }
  const std::string& id() const { return session().id(); }
  const std::string& label() const { return session().label(); }

  // As those of `Workspace`.
  Workspace area(std::string_view name) const { return session().workspace().area(name); }
  std::vector<ChunkInfo> chunks() const { return session().workspace().chunks(); }
  Usage usage() const { return session().workspace().usage(); }
  UsageReport usage_report() const { return session().workspace().usage_report(); }
  std::vector<std::string> list(std::string_view glob = "*") const { return session().workspace().list(glob); }
  std::string engine() const { return session().workspace().engine(); }

  /// What metadata.json says, the latest chunks included. O(chunks). @throws Error
  nlohmann::json metadata() const { return session().metadata(); }
  /// metadata.json has every chunk committed before, whoever committed it. O(chunks). @throws Error
  void publish() { session().publish(); }

  /// Lets go of it now; removes it if everybody else has left.
  /// @throws Error when something could not be removed: the next sweep will try
  void close() { session().end(false); }

 private:
  static const char* given(const char* path) {
    if (path != nullptr && *path != '\0') return path;
    throw Error(EINVAL, "join a session", {},
                path == nullptr ? "no path was given: is the environment variable that should hold it set?"
                                : "the path is empty");
  }

  detail::Session& session() const {
    if (!session_) throw Error(errc::session_gone, "use the session", {}, "it was moved to another object");
    return *session_;
  }

  std::unique_ptr<detail::Session> session_;
};

}  // namespace scratch::inline SCRATCH_ABI
