// SPDX-License-Identifier: MIT
// floor 5: wings
//
// A directory that is yours while you live.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/text/names.hpp>
#include <scratch/owned_session.hpp>
#include <scratch/place.hpp>
#include <scratch/policy.hpp>
#include <scratch/session_options.hpp>

namespace scratch::inline SCRATCH_ABI {

namespace detail {
struct Adopting;
struct SetMaking;
}  // namespace detail

/// A private directory for as long as the work lasts. When this goes out of scope the directory goes, with all that is
/// in it; what a killed process leaves behind, the next `sweep()` takes.
///
/// Whatever writes takes a session for the `Workspace` that it is. Worker processes join it by its path, see
/// `JoinedSession`; the last one out removes it. What it can do is in `OwnedSession`, whatever its place and policies.
/// `adopt()` gives one whose owner has died.
template <Place P = Shm, SessionPolicy... Ps>
class SessionDir : public OwnedSession {
  using Chosen = detail::Policies<Ps...>;

 public:
  /// Creates it.
  ///
  /// @param label any bytes; a part of the directory's name, see `label()`
  /// @throws Error `untrusted_directory`, `insufficient_space`, `invalid_name`, `busy` (for 5 s sweepers took whatever it
  ///         made), what the kernel says; nothing is left
  /// After a crash: a directory that the next sweep takes.
  [[nodiscard("the session ends with the statement: give it a name")]]  //
  SessionDir(P place, std::string_view label, SessionOptions options = {})
      : SessionDir(detail::resolved(std::move(place)), detail::clean_label(label), std::move(options), Cleaned()) {}

  SessionDir(SessionDir&&) noexcept = default;
  SessionDir& operator=(SessionDir&& other) noexcept {
    if (this != &other) {
      OwnedSession::operator=(std::move(other));
      place_ = std::move(other.place_);
    }
    return *this;
  }
  ~SessionDir() = default;

  /// Where it stands: `place().root()`, `place().reason()`.
  const P& place() const& {
    static_cast<void>(names());
    return place_;
  }
  P place() && {
    static_cast<void>(names());
    return std::move(place_);
  }

 private:
  friend struct detail::Adopting;
  friend struct detail::SetMaking;
  struct Cleaned {};

  SessionDir(P place, const std::string& label, SessionOptions options, Cleaned)
      : OwnedSession(detail::location_of(place), label, Chosen::Naming::middle(label), std::move(options), choices()),
        place_(std::move(place)) {}

  SessionDir(P place, std::shared_ptr<detail::SessionState> state)
      : OwnedSession(std::move(state)), place_(std::move(place)) {}

  static detail::SessionChoices choices() {
    detail::SessionChoices choices;
    choices.io = Chosen::Engine::make;
    choices.engine = detail::engine_name<typename Chosen::Engine>();
    choices.durable = Chosen::Durability::durable;
    choices.cleanup = detail::cleanup_of<typename Chosen::Cleanup>();
    return choices;
  }

  P place_;
};

template <Place P>
SessionDir(P, std::string_view) -> SessionDir<P>;
template <Place P>
SessionDir(P, std::string_view, SessionOptions) -> SessionDir<P>;

}  // namespace scratch::inline SCRATCH_ABI
