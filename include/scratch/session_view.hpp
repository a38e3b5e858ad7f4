// SPDX-License-Identifier: MIT
// floor 5: wings
//
// A session as somebody sees it who only looks: a reader in another process, a tool.
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
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/session/entry.hpp>
#include <scratch/detail/session/json.hpp>
#include <scratch/detail/session/look.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/detail/session/view_state.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>
#include <scratch/session_info.hpp>
#include <scratch/usage.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Looks into a session, known by its path, whether its owner lives or not: in progress, completed, failed, kept, or
/// left by a killed process.
///
/// Changes nothing and holds nothing: the session ends when it ends, and from then on this gets `session_gone`, also
/// where another one took its path. Whoever needs it to stay while its owner lives takes a `JoinedSession`. Readers
/// take this for the `Workspace` that it is, and writing through that is EROFS. Thread-safe.
class SessionView {
 public:
  /// @throws Error `session_gone` when there is nothing; `invalid_name` when it is not called as sessions are; ENOTDIR
  explicit SessionView(const std::filesystem::path& path) : seen_(std::make_unique<const Seen>(path)) {}

  /// A workspace that only looks. @throws Error `session_gone`
  operator Workspace() const { return workspace(); }
  /// The session's directory.
  const std::filesystem::path& path() const& { return seen().path; }
  std::filesystem::path path() && { return seen().path; }
  /// The directory's name without `session_`.
  std::string id() const { return seen().grammar.id(seen().path.filename().native()); }

  /// As `list_sessions()` would say it. O(files). @throws Error
  SessionInfo info() const {
    const Workspace here = workspace();
    SessionInfo info = detail::look_at(seen().state->entry(), seen().grammar, seen().state->fd());
    if (info.error) workspace();  // when it ended meanwhile, that is what there is to say
    return info;
  }

  /// Whether the process that made it is there: one that waits for chunks in vain finds out here. Only looking, by a
  /// `JoinedSession` too, does not make it so. O(1). @throws Error
  bool owner_is_alive() const { return detail::owner_alive(detail::directory_of(workspace()).fd(), path()); }

  /// in_progress, completed or failed. O(1) in chunks. @throws Error as `metadata`
  std::string status() const {
    return alive([&] { return detail::read_head(seen().state->fd(), path()).status; });
  }

  /// What metadata.json says, and every chunk committed before: JSON text. O(chunks).
  /// @throws Error `corrupt`, `unsupported_version`; ENOENT for a session whose creator died before writing it
  std::string metadata() const {
    const Workspace here = workspace();
    std::string text = alive([&] {
      std::string head = detail::read_head_text(seen().state->fd(), path());
      detail::parse_head(head + "]}", path() / detail::metadata_name);
      return head;
    });
    bool first = true;
    detail::chunk_log(detail::directory_of(here).state()).for_each([&](const detail::ChunkEntry& chunk) {
      detail::add_chunk(text, chunk, std::exchange(first, false));
    });
    text += detail::end_of_metadata;
    return text;
  }

  /// As `Workspace::area`; it must be there.
  Workspace area(std::string_view name) const { return workspace().area(name); }
  /// As `Workspace::chunks`.
  std::vector<ChunkInfo> chunks() const { return workspace().chunks(); }
  /// As `Workspace::chunks_after`.
  std::vector<ChunkInfo> chunks_after(std::uint64_t& position) const { return workspace().chunks_after(position); }
  /// As `Workspace::wait_for_chunks`.
  bool wait_for_chunks(std::uint64_t position, std::chrono::milliseconds time) const {
    return workspace().wait_for_chunks(position, time);
  }
  /// As `Workspace::usage`.
  Usage usage() const { return workspace().usage(); }
  /// As `Workspace::usage_report`.
  UsageReport usage_report() const { return workspace().usage_report(); }
  /// As `Workspace::list`.
  std::vector<std::string> list(std::string_view glob = "*") const { return workspace().list(glob); }

 private:
  // When it ended meanwhile, that is what there is to say.
  template <class Read>
  std::string alive(Read read) const {
    seen().state->check();
    try {
      return read();
    } catch (const Error&) {
      seen().state->check();
      throw;
    }
  }

  static detail::SessionGrammar grammar_of(const std::filesystem::path& path) {
    const auto grammar = detail::grammar_of(path.filename().native());
    if (!grammar)
      detail::throw_error(errc::invalid_name, "look into the session", path,
                          "sessions are called session_..._<16 hex digits>, in the directory of a place");
    return *grammar;
  }

  struct Seen {
    explicit Seen(const std::filesystem::path& where)
        : path(detail::normal_path(where)),
          grammar(grammar_of(path)),
          state(std::make_shared<detail::ViewState>(path)),
          workspace(detail::Access::workspace(detail::Directory(state))) {}

    std::filesystem::path path;
    detail::SessionGrammar grammar;
    std::shared_ptr<detail::ViewState> state;
    Workspace workspace;
  };

  const Seen& seen() const {
    if (!seen_) detail::throw_error(EINVAL, "look into the session", {}, "it was moved to another object");
    return *seen_;
  }

  Workspace workspace() const {
    seen().state->check();
    return seen().workspace;
  }

  std::unique_ptr<const Seen> seen_;  // empty: moved from
};

}  // namespace scratch::inline SCRATCH_ABI
