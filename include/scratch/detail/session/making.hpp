// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// How a session is made of a place, policies and options.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/session/life.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/detail/session/session_state.hpp>
#include <scratch/engine/best_io.hpp>
#include <scratch/engine/io.hpp>
#include <scratch/place.hpp>
#include <scratch/policy.hpp>
#include <scratch/session_options.hpp>
#include <scratch/space.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// The answer of a policy, as an option would give it.
template <CleanupPolicy P>
constexpr Cleanup cleanup_of() {
  if constexpr (requires { requires P::until_completed; }) return Cleanup::unless_completed;
  return P::keeps(false) ? Cleanup::keep : P::keeps(true) ? Cleanup::on_failure : Cleanup::remove;
}

/// What the policies of a session come to.
struct SessionChoices {
  IoMaker io = BestIo::make;
  const char* engine = "best";  ///< what others call it
  bool durable = false;
  Cleanup cleanup = Cleanup::remove;
};

/// What says when a session goes, last first: its policy, its options, the environment.
inline Cleanup cleanup_among(const SessionOptions& options, const SessionChoices& choices) {
  if (environment_says_yes("SCRATCH_KEEP")) return Cleanup::keep;
  return options.cleanup == Cleanup::as_policy ? choices.cleanup : options.cleanup;
}

/// With the engine that the options say.
inline SessionChoices choices_with(const SessionOptions& options, SessionChoices choices) {
  if (options.engine == EngineChoice::as_policy) return choices;
  choices.engine = options.engine == EngineChoice::posix   ? "posix"
                   : options.engine == EngineChoice::uring ? "uring"
                                                           : "best";
  choices.io = engine_named(choices.engine);
  return choices;
}

/// A session that nobody knows yet, without a record: `begin_record()`, `begin_mark()`, `announce()`.
/// @param number of its name, where others have the same
/// @param set    that it is to be of
/// @throws Error and then nothing is left
inline std::shared_ptr<SessionState> make_session(const Location& location, const std::string& label,
                                                  std::string_view middle, SessionOptions options,
                                                  const SessionChoices& policies,
                                                  std::optional<std::uint64_t> number = {}, SetFacts set = {}) {
  const SessionChoices choices = choices_with(options, policies);
  const Cleanup cleanup = cleanup_among(options, choices);
  RootWanted wanted = location.wanted();
  wanted.durable = choices.durable;
  Root root{make_root(wanted), location.root};
  if (options.need > 0) require_space(location.root, options.need);
  SessionFacts facts = facts_of_owner(location.root);
  facts.label = label;
  facts.start_time = utc_now();
  facts.durable = choices.durable;
  facts.engine = choices.engine;
  facts.set = std::move(set);
  SessionLife life = SessionLife::create(std::move(root), location.grammar, middle, number);
  facts.id = life.id();
  return std::make_shared<SessionState>(std::move(life), std::move(facts), cleanup,
                                        workspace_options(std::move(options), choices.io, choices.durable));
}

}  // namespace scratch::inline SCRATCH_ABI::detail
