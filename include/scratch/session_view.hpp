// SPDX-License-Identifier: MIT
// floor 5: wings
//
// A session as somebody sees it who only looks: a reader in another process, a tool.
#pragma once

#include <cerrno>
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
#include <scratch/detail/session/metadata.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>
#include <scratch/list_sessions.hpp>
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

  operator Workspace() const { return workspace(); }
  const std::filesystem::path& path() const& { return seen().path; }
  std::filesystem::path path() && { return seen().path; }
  /// The directory's name without `session_`.
  std::string id() const { return seen().grammar.id(seen().path.filename().native()); }

  /// As `list_sessions()` would say it. O(files). @throws Error
  SessionInfo info() const {
    const Workspace here = workspace();
    return detail::look_at(seen().entry(), seen().grammar, detail::directory_of(here).fd());
  }

  /// Whether the process that made it is there: one that waits for chunks in vain finds out here. Only looking, by a
  /// `JoinedSession` too, does not make it so. O(1). @throws Error
  bool owner_is_alive() const { return detail::owner_alive(detail::directory_of(workspace()).fd(), path()); }

  /// What metadata.json says, and every chunk committed before: JSON text. O(chunks).
  /// @throws Error `corrupt`, `unsupported_version`; ENOENT for a session whose creator died before writing it
  std::string metadata() const {
    const Workspace here = workspace();
    std::string text;
    try {
      text = detail::read_head_text(detail::directory_of(here).fd(), path());
      detail::parse_metadata(text + "]}", path() / detail::metadata_name);
    } catch (const Error&) {
      workspace();  // when it ended meanwhile, that is what there is to say
      throw;
    }
    bool first = true;
    for (const ChunkInfo& chunk : here.chunks()) detail::add_chunk(text, chunk, std::exchange(first, false));
    text += detail::end_of_metadata;
    return text;
  }

  // As those of `Workspace`; an area must be there.
  Workspace area(std::string_view name) const { return workspace().area(name); }
  std::vector<ChunkInfo> chunks() const { return workspace().chunks(); }
  Usage usage() const { return workspace().usage(); }
  UsageReport usage_report() const { return workspace().usage_report(); }
  std::vector<std::string> list(std::string_view glob = "*") const { return workspace().list(glob); }

 private:
  static detail::SessionGrammar grammar_of(const std::filesystem::path& path) {
    const auto grammar = detail::grammar_of(path.filename().native());
    if (!grammar)
      detail::throw_error(errc::invalid_name, "look into the session", path,
                          "sessions are called session_..._<16 hex digits>, in the directory of a place");
    return *grammar;
  }

  static Workspace open(const std::filesystem::path& path) {
    struct stat facts {};
    if (sys::fstatat(AT_FDCWD, path.c_str(), facts) != 0 && errno == ENOENT)
      detail::throw_error(errc::session_gone, "look into the session", path, "it ended, or never was");
    if (S_ISLNK(facts.st_mode)) detail::throw_error(ELOOP, "look into the session", path, "it is a symbolic link");
    WorkspaceOptions options;
    options.read_only = true;
    return Workspace(path, std::move(options));
  }

  struct Seen {
    explicit Seen(const std::filesystem::path& where)
        : path(detail::normal_path(where)),
          grammar(grammar_of(path)),
          root(sys::openat(AT_FDCWD, path.parent_path().c_str(), O_RDONLY | O_DIRECTORY)),
          workspace(open(path)) {}

    detail::SessionEntry entry() const { return {root.get(), path.parent_path(), path.filename()}; }

    std::filesystem::path path;
    detail::SessionGrammar grammar;
    detail::Fd root;
    Workspace workspace;
  };

  const Seen& seen() const {
    if (!seen_) detail::throw_error(EINVAL, "look into the session", {}, "it was moved to another object");
    return *seen_;
  }

  Workspace workspace() const {
    struct stat facts {};
    if (sys::fstat(detail::directory_of(seen().workspace).fd(), facts) != 0 || facts.st_nlink == 0 ||
        !detail::leads_to(seen().entry(), facts))
      detail::throw_error(errc::session_gone, "look into the session", path(), "it ended");
    return seen().workspace;
  }

  std::unique_ptr<const Seen> seen_;  // empty: moved from
};

}  // namespace scratch::inline SCRATCH_ABI
