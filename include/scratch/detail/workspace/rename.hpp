// SPDX-License-Identifier: MIT
// floor 3: one place
//
// A file of a workspace gets another name: what the guests are told, and when.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/guest.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Made before the rename; what was begun is given up when this dies before `moved()`.
class Renaming {
 public:
  /// Nothing half done concerns the name afterwards. @throws Error `busy`
  Renaming(Directory from, std::string name, const char* doing)
      : from_(std::move(from)), name_(std::move(name)), doing_(doing) {
    hold(from_, name_);
  }
  Renaming(const Renaming&) = delete;
  Renaming& operator=(const Renaming&) = delete;

  /// The same for the name that it is to have. @throws Error `busy`
  void arrives(const Directory& to, const std::string& name) { hold(to, name); }

  /// Records say from now on that the file may be at `to`, or, where that is empty, no longer in this workspace.
  /// @throws Error and then the file must stay where it is
  void departs(const std::string& to) {
    for (const std::unique_ptr<Guest>& guest : from_.state().guests()) {
      if (std::unique_ptr<Hold> one = guest->departs(from_.relative(name_), to)) holds_.push_back(std::move(one));
    }
  }

  void moved() noexcept {
    for (const std::unique_ptr<Hold>& one : holds_) one->moved();
  }

 private:
  void hold(const Directory& where, const std::string& name) {
    for (const std::unique_ptr<Guest>& guest : where.state().guests())
      if (std::unique_ptr<Hold> one = guest->hold(where, name, doing_)) holds_.push_back(std::move(one));
  }

  Directory from_;
  std::string name_;
  const char* doing_;
  std::vector<std::unique_ptr<Hold>> holds_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
