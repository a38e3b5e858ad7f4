// SPDX-License-Identifier: MIT
//
// The session of a job, or one in each of several places: then all of them are as one.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include <scratch/scratch.hpp>

#include "area.hpp"

namespace external_sort {

class Sessions {
 public:
  using Place = scratch::AnyPlace;

  explicit Sessions(scratch::SessionDir<Place> alone) : alone_(std::move(alone)) {}
  explicit Sessions(scratch::SessionSet<Place> set) : set_(std::move(set)) {}
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;

  std::size_t size() const { return alone_ ? 1 : set_->size(); }
  scratch::OwnedSession& operator[](std::size_t i) {
    if (alone_) return *alone_;
    return (*set_)[i];
  }
  /// The one that says how the job fares.
  scratch::OwnedSession& first() { return (*this)[0]; }
  /// All of it.
  Area area() { return alone_ ? Area(scratch::Workspace(*alone_)) : as_area(*set_); }

  scratch::UsageReport usage_report() const { return alone_ ? alone_->usage_report() : set_->usage_report(); }
  std::vector<std::filesystem::path> keep() {
    return alone_ ? std::vector<std::filesystem::path>{alone_->keep()} : set_->keep();
  }
  void complete() { alone_ ? alone_->complete() : set_->complete(); }
  void close() { alone_ ? alone_->close() : set_->close(); }

 private:
  std::optional<scratch::SessionDir<Place>> alone_;
  std::optional<scratch::SessionSet<Place>> set_;
};

}  // namespace external_sort
