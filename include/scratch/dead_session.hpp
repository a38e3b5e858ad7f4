// SPDX-License-Identifier: MIT
// floor 5: wings
//
// What somebody decides about a session that nobody uses: that it goes, stays, or may go.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/file_system.hpp>
#include <scratch/detail/session/entry.hpp>
#include <scratch/detail/session/keep.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI {

namespace detail {

/// Holds it against whoever would join, adopt or sweep it, while `work(session, grammar)` is done.
/// @throws Error `busy` where somebody uses it, or another one decides about it
template <class Work>
void with_dead_session(const char* doing, const std::filesystem::path& given, Work work) {
  const std::filesystem::path path = normal_path(given);
  const auto grammar = grammar_of(path.filename().native());
  if (!grammar)
    throw_error(errc::invalid_name, doing, path, "sessions are called session_..._<16 hex digits>, in a place");
  const Fd root(sys::openat(AT_FDCWD, path.parent_path().c_str(), O_RDONLY | O_DIRECTORY));
  if (!root && errno == ENOENT) throw_error(errc::session_gone, doing, path, "nothing is there");
  if (!root) throw_error(errno, doing, path);
  if (!locks_are_believed(root.get()))
    throw_error(errc::locks_unreliable, doing, path, "whether somebody uses it cannot be known");
  const SessionEntry entry{root.get(), path.parent_path(), path.filename()};
  CondemnOptions options;
  options.owner = sys::geteuid();
  Condemned session(entry, options);
  if (session.spared() == Spared::in_use) throw_error(errc::busy, doing, path, "somebody uses it");
  if (session.spared() == Spared::gone) throw_error(errc::session_gone, doing, path, "nothing is there");
  if (session.spared() == Spared::foreign)
    throw_error(errc::untrusted_directory, doing, path, "it is another user's, or no session at all");
  work(session, *grammar);
}

}  // namespace detail

/// Removes one session that nobody uses, whether it is kept or not, and whether what is in it can be read or not.
///
/// @param path as `list_sessions()` gives it
/// @returns the bytes freed
/// @throws Error `busy` where somebody uses it: it is untouched; `session_gone`; `invalid_name`; `untrusted_directory` for
///         another user's; `locks_unreliable`; when not all of it could be removed: the rest goes with the next sweep
/// After a crash: it is there, or gone with the next sweep.
/// O(files).
inline std::uint64_t remove_session(const std::filesystem::path& path) {
  std::uint64_t bytes = 0;
  detail::with_dead_session("remove the session", path, [&](detail::Condemned& session, const auto& grammar) {
    const detail::Removal removal = session.remove(grammar);
    if (removal.error) throw Error(*removal.error);
    bytes = removal.bytes;
  });
  return bytes;
}

/// A session that nobody uses stays afterwards, and sweeps leave it alone. @throws Error as `remove_session`
inline void keep_session(const std::filesystem::path& path) {
  detail::with_dead_session("keep the session", path, [&](detail::Condemned& session, const auto&) {
    detail::mark_kept(session.directory(), path);
  });
}

/// The next sweep takes the session afterwards, where it was kept before. @throws Error as `remove_session`
inline void unkeep_session(const std::filesystem::path& path) {
  detail::with_dead_session("let the session go", path, [&](detail::Condemned& session, const auto&) {
    detail::unmark_kept(session.directory(), path);
  });
}

}  // namespace scratch::inline SCRATCH_ABI
