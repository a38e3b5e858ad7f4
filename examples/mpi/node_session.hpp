// SPDX-License-Identifier: MIT
//
// The session of a node: made by the first of its ranks, joined by the others by its path.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <scratch/any_place.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>

#include "ranks.hpp"
#include "support/sessions.hpp"

namespace ranks {

class NodeSession {
 public:
  using Owned = scratch::SessionDir<scratch::AnyPlace>;

  /// With all others.
  /// @param make called where it is made
  template <class Make>
  NodeSession(Ranks& ranks, const scratch::SessionOptions& for_joined, Make make) {
    std::string path;
    ranks.together([&] {
      if (ranks.worker() != 0) return;
      owned_.emplace(make());
      path = owned().path().native();
    });
    path = ranks.from_leader(path);
    ranks.together([&] {
      if (ranks.worker() != 0) joined_.emplace(path, for_joined);
    });
    ranks.together([&] { std::filesystem::create_directory(metrics()); });
  }

  scratch::Workspace workspace() { return owned_ ? scratch::Workspace(owned()) : scratch::Workspace(*joined_); }
  /// Where its logs are.
  std::filesystem::path metrics() { return workspace().path() / "metrics"; }
  /// @pre it was made here
  scratch::OwnedSession& owned() { return (*owned_)[0]; }
  support::Sessions& sessions() { return *owned_; }

  void close() {
    if (joined_) joined_->close();
    if (owned_) {
      scratch::Workspace(owned()).clear();  // nodes end one after the other, and who dies between leaves little
      owned_->complete();
      owned_->close();
    }
  }

 private:
  std::optional<support::Sessions> owned_;
  std::optional<scratch::JoinedSession> joined_;
};

}  // namespace ranks
