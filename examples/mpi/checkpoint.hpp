// SPDX-License-Identifier: MIT
//
// What all ranks have done: the master's checkpoint, on record in the session of each node. A job that was killed goes on
// where every node has a session of it, and begins anew on all of them where one has none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <scratch/adopt.hpp>
#include <scratch/any_place.hpp>
#include <scratch/dead_session.hpp>
#include <scratch/error.hpp>
#include <scratch/session_json.hpp>
#include <scratch/session_options.hpp>

#include "node_session.hpp"
#include "ranks.hpp"
#include "support/errors.hpp"
#include "support/resume.hpp"
#include "support/sweeping.hpp"

namespace ranks {

class Checkpoint {
 public:
  /// With all others.
  /// @param job of this node; nothing: it is not gone on with, and nothing is on record
  /// @throws support::Told where it is being done somewhere
  Checkpoint(Ranks& ranks, scratch::AnyPlace place, std::optional<support::Job> job)
      : ranks_(ranks), place_(std::move(place)), is_kept_(job.has_value()) {
    nlohmann::json left;
    ranks_.together([&] {
      if (!job || ranks_.worker() != 0) return;
      const std::string node = "node " + std::to_string(ranks_.node()) + " of " + std::to_string(ranks_.nodes());
      job->options["ranks"] = std::to_string(ranks_.size()) + ", " + node;
      earlier_.emplace(std::vector{place_}, *job);
      if (earlier_->unfinished()) left = earlier_->unfinished()->user;
    });
    const std::uint64_t with = ranks_.sum(left.is_object() ? 1 : 0);
    goes_on_ = is_kept_ && with == ranks_.nodes();
    share(goes_on_ ? left : nlohmann::json());
    if (is_kept_ && ranks_.is_first())
      support::notice(goes_on_ ? "going on with what " + std::to_string(with) + " nodes have"
                               : "a new start: " + std::to_string(with) + " of " + std::to_string(ranks_.nodes()) +
                                     " nodes have something of this job");
  }

  bool goes_on() const { return goes_on_; }
  /// The same on all ranks; what is changed here is on record with the next phase.
  nlohmann::json& facts() { return facts_; }

  /// The session that is gone on with, or a new one. @pre worker 0 of its node
  /// @param facts of a new one
  NodeSession::Owned session(const std::string& label, scratch::SessionOptions options, const nlohmann::json& facts) {
    support::sweep_at_start(place_);
    if (is_kept_) options.cleanup = scratch::Cleanup::unless_completed;
    if (goes_on_) {
      const scratch::SessionInfo& left = earlier_->unfinished()->info;
      options.need -= std::min(options.need, left.bytes);
      return scratch::adopt<scratch::AnyPlace>(place_, left.id, std::move(options));
    }
    NodeSession::Owned made(place_, label, std::move(options));
    if (!is_kept_) return made;
    nlohmann::json user = facts;
    user["job"] = earlier_->job();
    scratch::user(made, user);
    earlier_->remove_others(made.label());
    if (earlier_->unfinished()) remove(*earlier_->unfinished());  // the other nodes have nothing of it
    return made;
  }

  /// Does the work of the job, with all others. What a rank finds damaged is not gone on with again.
  template <class Work>
  void perform(NodeSession& session, Work work) {
    try {
      work();
    } catch (const support::Told&) {
      if (is_kept_) give_up_damage(session);
      throw;
    }
  }

  bool is_done(const std::string& phase) const {
    const nlohmann::json& done = facts_.at("done");
    return std::find(done.begin(), done.end(), phase) != done.end();
  }
  /// With all others, which have done it, too.
  void record(NodeSession& session, const std::string& phase) {
    facts_["done"].push_back(phase);
    ranks_.together([&] {
      if (is_kept_ && ranks_.worker() == 0) write(session.owned());
    });
  }
  /// Here alone.
  void write(scratch::OwnedSession& session) const {
    nlohmann::json user = scratch::user_json(session);
    user.update(facts_);
    scratch::user(session, user);
  }

 private:
  void give_up_damage(NodeSession& session) const {
    std::string why;
    for (const std::string& found : ranks_.at_first(support::damage(ranks_.failure())))
      if (why.empty()) why = found;
    why = ranks_.from_first(why);
    ranks_.together([&] {
      if (!why.empty() && ranks_.worker() == 0) support::give_up(session.owned(), why);
    });
  }

  // What all have done may not be on record everywhere yet.
  void share(const nlohmann::json& left) {
    const std::vector<std::string> texts = ranks_.at_first(left.is_object() ? left.dump() : std::string());
    facts_ = nlohmann::json::object({{"done", nlohmann::json::array()}});
    for (const std::string& text : texts) {
      if (text.empty()) continue;
      nlohmann::json one = nlohmann::json::parse(text);
      one.erase("job");  // its own
      if (facts_.size() == 1 || one.value("done", nlohmann::json::array()).size() > facts_.at("done").size())
        facts_.update(one);
    }
    facts_ = nlohmann::json::parse(ranks_.from_first(facts_.dump()));
  }

  static void remove(const support::Unfinished& unfinished) {
    try {
      scratch::remove_session(unfinished.info.path);
    } catch (const scratch::Error& error) {
      if (error.code() != scratch::errc::session_gone) support::notice(error.what());
    }
  }

  Ranks& ranks_;
  scratch::AnyPlace place_;
  bool is_kept_, goes_on_ = false;
  std::optional<support::Earlier> earlier_;  // of worker 0
  nlohmann::json facts_;
};

}  // namespace ranks
