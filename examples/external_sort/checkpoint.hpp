// SPDX-License-Identifier: MIT
//
// How far a job is, in metadata.json under `user`: what a later run need not do again. Within a phase the files of the
// session say it, each of which is there whole or not at all.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include "multiset.hpp"

namespace external_sort {

class Checkpoint {
 public:
  Checkpoint() = default;
  /// @param left by an earlier run; null: there was none
  explicit Checkpoint(nlohmann::json left) : user_(std::move(left)) {}

  void begin(scratch::OwnedSession& session, nlohmann::json user) {
    user_ = std::move(user);
    put_down(session);
  }
  /// For those who look at the session now.
  void put_down(scratch::OwnedSession& session) const { scratch::user(session, user_); }

  bool has(const std::string& phase) const {
    if (!user_.contains("done")) return false;
    const nlohmann::json& done = user_.at("done");
    return std::find(done.begin(), done.end(), phase) != done.end();
  }
  void finish(scratch::OwnedSession& session, const std::string& phase) {
    user_["done"].push_back(phase);
    scratch::user(session, user_);
  }

  /// What is in the input. @pre it was partitioned
  Multiset input() const { return Multiset::from_json(user_.at("input")); }
  void saw(const Multiset& input) { user_["input"] = input.to_json(); }

  /// What `Delivery::delivering()` gave; null: it has not come so far.
  nlohmann::json delivering() const { return user_.is_object() ? user_.value("delivering", nlohmann::json()) : user_; }
  void deliver(scratch::OwnedSession& session, nlohmann::json what) {
    user_["delivering"] = std::move(what);
    scratch::user(session, user_);
  }

 private:
  nlohmann::json user_;
};

}  // namespace external_sort
