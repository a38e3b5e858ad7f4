// SPDX-License-Identifier: MIT
// floor 5: wings
//
// A directory that is yours while you live.
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/detail/session/session.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>
#include <scratch/place.hpp>
#include <scratch/policy.hpp>
#include <scratch/session_options.hpp>
#include <scratch/usage.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// A private directory for as long as the work lasts. When this goes out of scope the directory goes, with all that is
/// in it; what a killed process leaves behind, the next `sweep()` takes.
///
/// Whatever writes takes a session for the `Workspace` that it is. Worker processes join it by its path, see
/// `JoinedSession`; the last one out removes it. Thread-safe, save for moving, `close()` and the destructor. In a
/// forked child its destructor does nothing, and using it is `forked_object`.
template <Place P = Shm, SessionPolicy... Ps>
class SessionDir {
  using Chosen = detail::Policies<Ps...>;
  using Naming = typename Chosen::Naming;
  using Cleanup = typename Chosen::Cleanup;

 public:
  /// Creates it.
  ///
  /// @param label any bytes; a part of the directory's name, see `label()`
  /// @throws Error `untrusted_directory`, `insufficient_space`, `invalid_name`, what the kernel says; nothing is left
  /// After a crash: a directory that the next sweep takes.
  SessionDir(P place, std::string_view label, SessionOptions options = {}) : place_(std::move(place)) {
    const std::string clean = detail::clean_label(label);
    detail::SessionChoices choices;
    choices.io = Chosen::Engine::make;
    choices.durable = Chosen::Durability::durable;
    choices.keep = Cleanup::keeps(false);
    choices.keep_on_failure = Cleanup::keeps(true);
    session_ = detail::Session::create(detail::location_of(place_), clean, Naming::middle(clean), std::move(options),
                                       std::move(choices));
  }

  SessionDir(SessionDir&&) noexcept = default;
  SessionDir& operator=(SessionDir&& other) noexcept {
    if (this != &other) {
      end_silently();
      place_ = std::move(other.place_);
      exceptions_ = other.exceptions_;
      session_ = std::move(other.session_);
    }
    return *this;
  }

  /// Ends it; what fails is left to the next sweep.
  ~SessionDir() { end_silently(); }

  /// The session for whatever writes. A workspace that outlives the session gets `session_gone`.
  operator Workspace() const { return session().workspace(); }

  const std::filesystem::path& path() const { return session().path(); }
  /// The directory's name without `session_`.
  const std::string& id() const { return session().id(); }
  /// As it stands in the name: [A-Za-z0-9_-] kept, '.' kept inside, the rest '_'; 48 bytes at most.
  const std::string& label() const { return session().label(); }
  /// Where it lives: `place().root()`, `place().reason()`.
  const P& place() const noexcept { return place_; }

  // As those of `Workspace`.
  Workspace area(std::string_view name) const { return session().workspace().area(name); }
  std::vector<ChunkInfo> chunks() const { return session().workspace().chunks(); }
  Usage usage() const { return session().workspace().usage(); }
  UsageReport usage_report() const { return session().workspace().usage_report(); }
  std::vector<std::string> list(std::string_view glob = "*") const { return session().workspace().list(glob); }
  std::string engine() const { return session().workspace().engine(); }

  /// What metadata.json says, the latest chunks included. O(chunks). @throws Error
  nlohmann::json metadata() const { return session().metadata(); }
  /// The application's own object in metadata.json.
  nlohmann::json user() const { return session().user(); }
  /// Written at once. @throws Error when it is not UTF-8 or too large to be read back; the old one stays
  void user(nlohmann::json json) { session().user(std::move(json)); }

  /// metadata.json has every chunk committed before. O(chunks). @throws Error
  void publish() { session().publish(); }
  /// metadata.json says "completed", and has every chunk. @throws Error
  void complete() { session().complete(); }
  /// metadata.json says "failed", why, and has every chunk. With `KeepOnFailure` the session is kept. @throws Error
  void fail(std::string_view reason) { session().fail(reason); }

  /// The directory stays at the end, and sweeps leave it alone. @returns its path @throws Error
  std::filesystem::path keep() { return session().keep(); }

  /// Moves a file out, to stay; what had the name is replaced. Atomic at the target: by renaming on one file system,
  /// else by a copy beside it that is renamed. A chunk is then no longer on record here.
  ///
  /// @throws Error `invalid_name`, `busy` for a table that somebody writes or merges, what the kernel says; the target
  /// is
  ///         unchanged and the file still here. Where the file has arrived and only the last step failed, the error
  ///         says so: across file systems removing it here, then it is in both places; with `Durable` syncing its new
  ///         name
  /// After a crash: here or there, or across file systems both, each whole; a chunk's record knows whether it is here.
  void persist(std::string_view name, const std::filesystem::path& to) { session().persist(name, to); }

  /// Ends it now. Afterwards using it is `session_gone`; `path()`, `id()` and `label()` stay.
  /// @throws Error when something could not be removed: the next sweep will try
  void close() { session().end(false); }

 private:
  detail::Session& session() const {
    if (!session_) throw Error(errc::session_gone, "use the session", {}, "it was moved to another object");
    return *session_;
  }

  void end_silently() noexcept {
    if (!session_) return;
    try {
      session_->end(std::uncaught_exceptions() > exceptions_);
    } catch (...) {  // the next sweep
    }
    session_.reset();
  }

  P place_;
  int exceptions_ = std::uncaught_exceptions();
  std::unique_ptr<detail::Session> session_;
};

template <Place P>
SessionDir(P, std::string_view) -> SessionDir<P>;
template <Place P>
SessionDir(P, std::string_view, SessionOptions) -> SessionDir<P>;

}  // namespace scratch::inline SCRATCH_ABI
