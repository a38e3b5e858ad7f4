// SPDX-License-Identifier: MIT
// floor 5: wings
//
// A session that this process made, whatever its place and policies.
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <scratch/detail/session/making.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/detail/session/session_handle.hpp>
#include <scratch/detail/session/session_state.hpp>
#include <scratch/detail/workspace/persist.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/place.hpp>
#include <scratch/session_options.hpp>

namespace scratch::inline SCRATCH_ABI {

/// What every `SessionDir<P, Policies...>` is: a function that takes any session takes an `OwnedSession&`.
///
/// When it goes out of scope the directory goes, with all that is in it; what a killed process leaves behind, the next
/// `sweep()` takes. Thread-safe, save for moving, `close()` and the destructor. In a forked child its destructor does
/// nothing, and using it is `forked_object`.
class OwnedSession : public detail::SessionHandle {
 public:
  OwnedSession(OwnedSession&&) noexcept = default;
  OwnedSession& operator=(OwnedSession&& other) noexcept {
    if (this != &other) {
      end_silently();
      exceptions_ = other.exceptions_;
      SessionHandle::operator=(std::move(other));
    }
    return *this;
  }

  /// Ends it. What fails is left to the next sweep, and told as an event; a session that is to be kept and cannot be
  /// marked is left as it is.
  ~OwnedSession() { end_silently(); }

  /// The application's own object in metadata.json, as JSON text: "{}" where it gave none.
  std::string user() const { return checked().user(); }
  /// Written at once.
  ///
  /// @param json the text of a JSON object
  /// @throws Error EINVAL for any other text; when it could not be written. The old one stays.
  template <class T>
  requires std::convertible_to<const T&, std::string_view>
  void user(const T& json) { set_user(json); }

  /// How far the work is, for whoever looks: `scratchctl jobs`, `SessionInfo::progress`, metadata.json. Costs a look at
  /// the clock; metadata.json is written at most once a second. What cannot be written is written later.
  ///
  /// @param total 0: nobody knows
  /// @param what  "sorting"
  /// @throws Error `session_gone` once it was closed, `forked_object`
  void progress(std::uint64_t done, std::uint64_t total, std::string_view what) { state().progress(done, total, what); }

  /// metadata.json says "completed", and has every chunk. With `KeepUnlessCompleted`, and with `KeepOnFailure` where
  /// `fail()` was called before, the session is then no longer kept: it goes. @throws Error and then all is as before
  void complete() { checked().complete(); }

  /// metadata.json says "failed", why, and has every chunk. With `KeepOnFailure` and `KeepUnlessCompleted` the session is
  /// kept.
  ///
  /// @throws Error when that could not be written; the end of the session tries again, and does not remove what was to
  ///         be kept. While an exception is handled, or on its way, this throws for misuse only: that one is to be told.
  void fail(std::string_view reason) { state().fail(reason); }

  /// The directory stays at the end, and sweeps leave it alone. @returns its path
  /// @throws Error and then the end of the session tries again, and does not remove it
  std::filesystem::path keep() {
    checked().keep();
    publish();
    return path();
  }

  /// Moves a file out, to stay. A chunk is then no longer on record here.
  ///
  /// Where the name leads, at the end of its links, nothing is, or a file of this user's: the result takes its place, whole
  /// or not at all, by renaming on one file system, else by a copy beside it that is renamed. Its mode, group and ACL are
  /// the replaced file's, else those of a file that this user makes there. Somebody else's file that may be written, a
  /// mount point, or a file in a directory that may not be changed, is written in place, and cut off behind the result. A
  /// device, a FIFO or /dev/stdout is written through, never replaced; a FIFO is waited for.
  ///
  /// @throws Error `invalid_name`, `busy` for a table that somebody writes or merges, what the kernel says; the file is
  ///         still here, and the target unchanged, save where that was written in place or through: then the error does
  ///         not say so. Where the file has arrived and only the last step failed, the error says so: across file systems
  ///         removing it here, then it is in both places; with `Durable` syncing its new name
  /// After a crash: here or there, or across file systems both, each whole; a chunk's record knows whether it is here.
  ///         What is written in place may be part of both.
  void persist(std::string_view name, const std::filesystem::path& to) {
    detail::Persisting(detail::directory_of(workspace()), name, to).run();
  }

  /// Ends it now, and gives back its descriptors. Afterwards using it is `session_gone`; `path()`, `id()` and `label()`
  /// stay. Again: nothing, where it succeeded.
  ///
  /// @throws Error when something could not be written, and the session is as before; when something could not be
  ///         removed, and it has ended. Calling it again goes on from there; else the next sweep will try.
  void close() { close_it(); }

 protected:
  /// @param label  clean
  /// @param middle what the naming policy gives
  OwnedSession(const detail::Location& location, const std::string& label, std::string_view middle,
               SessionOptions options, const detail::SessionChoices& choices)
      : SessionHandle(create(location, label, middle, std::move(options), choices)) {
    state().emit(EventKind::session_created, state().path());
  }
  /// One that was adopted, or made as one of a set.
  explicit OwnedSession(std::shared_ptr<detail::SessionState> adopted) : SessionHandle(std::move(adopted)) {}

 private:
  static std::shared_ptr<detail::SessionState> create(const detail::Location& location, const std::string& label,
                                                      std::string_view middle, SessionOptions options,
                                                      const detail::SessionChoices& choices) {
    auto state = detail::make_session(location, label, middle, std::move(options), choices);
    state->begin_record();
    state->begin_mark();
    state->announce();
    return state;
  }

  void end_silently() noexcept { end_it(std::uncaught_exceptions() > exceptions_); }

  void set_user(std::string_view json) {
    detail::SessionState& session = checked();
    session.user(
        detail::checked_object(json, "write the application's object to", session.path() / detail::metadata_name));
  }

  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace scratch::inline SCRATCH_ABI
