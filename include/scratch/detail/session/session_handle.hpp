// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What whoever owns a session and whoever joined it can do alike.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/session/session_state.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>
#include <scratch/usage.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Holds a session in this process. Movable; using a moved-from one is EINVAL, and says so.
class SessionHandle {
 public:
  /// The session for whatever writes. A workspace that outlives the session gets `session_gone`.
  operator Workspace() const& { return workspace(); }
  operator Workspace() && = delete;  // it would be gone at the end of the expression

  const std::filesystem::path& path() const& { return names().path; }
  std::filesystem::path path() && { return names().path; }
  /// The directory's name without `session_`.
  const std::string& id() const& { return names().id; }
  std::string id() && { return names().id; }
  /// As it stands in the name: [A-Za-z0-9_-] kept, '.' kept inside, the rest '_'; 48 bytes at most.
  const std::string& label() const& { return names().label; }
  std::string label() && { return names().label; }

  // As those of `Workspace`.
  Workspace area(std::string_view name) const { return workspace().area(name); }
  std::vector<ChunkInfo> chunks() const { return workspace().chunks(); }
  std::vector<ChunkInfo> chunks_after(std::uint64_t& position) const { return workspace().chunks_after(position); }
  bool wait_for_chunks(std::uint64_t position, std::chrono::milliseconds time) const {
    return workspace().wait_for_chunks(position, time);
  }
  bool remove(std::string_view name) { return workspace().remove(name); }
  bool remove(const ChunkInfo& chunk) { return workspace().remove(chunk); }
  Usage usage() const { return workspace().usage(); }
  UsageReport usage_report() const { return workspace().usage_report(); }
  std::vector<std::string> list(std::string_view glob = "*") const { return workspace().list(glob); }
  std::string engine() const { return workspace().engine(); }

  /// What metadata.json says, the latest chunks included: JSON text. O(chunks). @throws Error
  std::string metadata() const { return checked().metadata(); }
  /// metadata.json has every chunk committed before, whoever committed it. O(chunks). @throws Error
  void publish() { checked().publish(); }

 protected:
  explicit SessionHandle(std::shared_ptr<SessionState> state) : names_(state->names()), state_(std::move(state)) {}
  SessionHandle(SessionHandle&&) noexcept = default;
  SessionHandle& operator=(SessionHandle&&) noexcept = default;
  ~SessionHandle() = default;

  /// @throws Error EINVAL when it was moved from
  const SessionNames& names() const {
    if (!names_) throw_error(EINVAL, "use the session", {}, "it was moved to another object");
    return *names_;
  }

  /// @throws Error `session_gone` when it was closed; as `names()`
  SessionState& state() const {
    if (!state_) throw_error(errc::session_gone, "use the session", names().path, "it was closed");
    return *state_;
  }

  /// @throws Error `session_gone`, `forked_object`; as `names()`
  SessionState& checked() const {
    state().check();
    return *state_;
  }

  Workspace workspace() const {
    static_cast<void>(state());
    return Access::workspace(Directory(state_));
  }

  /// Its descriptors go with the last workspace, reader or writer of it. @throws Error and then it can be done again
  void close_it() {
    static_cast<void>(names());
    if (!state_ || !state_->made_here()) return;
    state_->close();
    state_.reset();
  }

  void end_it(bool unwinding) noexcept {
    if (state_) state_->end(unwinding);
  }

 private:
  std::shared_ptr<const SessionNames> names_;  // empty: moved from
  std::shared_ptr<SessionState> state_;        // empty: closed, or moved from
};

}  // namespace scratch::inline SCRATCH_ABI::detail
