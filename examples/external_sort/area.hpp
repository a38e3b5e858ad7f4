// SPDX-License-Identifier: MIT
//
// An area of the job, in one place or in several: then it is in the session of each of them.
//
// Files of a job are numbered, and those of one number stand in one place, the next ones in the next: so the places get
// the same share, and a file that goes from area to area is renamed. Where a place is full, is gone or has failed, new
// files go to another one, which `SessionSet` says: that is why they are looked for in all.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/scratch.hpp>

namespace external_sort {

/// A file, and where it stands.
struct Placed : scratch::Numbered {
  scratch::Workspace here;
  std::size_t place = 0;
};

/// Chooses a place for what is new, by a name on the ring.
using Chooser = std::function<scratch::Workspace(std::string_view)>;

class Area {
 public:
  /// That which is in one place only.
  explicit Area(scratch::Workspace here) : here_{std::move(here)} {}
  /// @param sessions of a set @param choose as its `of()`
  Area(std::vector<scratch::Workspace> sessions, Chooser choose)
      : here_(sessions), ring_(std::make_shared<const Ring>(std::move(sessions), std::move(choose))) {}

  Area area(std::string_view name) const {
    Area below(*this);
    for (scratch::Workspace& here : below.here_) here = here.area(name);
    return below;
  }

  std::size_t places() const { return here_.size(); }
  const scratch::Workspace& in(std::size_t place) const { return here_[place]; }
  /// Where a new file with this number goes.
  const scratch::Workspace& of(std::uint64_t number) const { return here_[ring_ ? ring_->of(number) : 0]; }

  /// Where a file of that name stands; where it stands nowhere, whoever reads it is told by the first place.
  const scratch::Workspace& with(const std::string& name) const {
    for (const scratch::Workspace& here : here_)
      if (here_.size() > 1 && !here.list(name).empty()) return here;
    return here_.front();
  }

  /// By number, and then by `extra`.
  std::vector<Placed> list(const scratch::Series& series) const {
    std::vector<Placed> all;
    for (std::size_t i = 0; i < here_.size(); ++i)
      for (scratch::Numbered& file : series.list(here_[i])) all.push_back({std::move(file), here_[i], i});
    if (here_.size() > 1)
      std::stable_sort(all.begin(), all.end(), [](const Placed& a, const Placed& b) { return a.index < b.index; });
    return all;
  }
  std::vector<std::string> list(std::string_view glob = "*") const {
    std::vector<std::string> all;
    for (const scratch::Workspace& here : here_)
      for (std::string& name : here.list(glob)) all.push_back(std::move(name));
    return all;
  }

  std::uint64_t clear() const {
    std::uint64_t freed = 0;
    for (scratch::Workspace here : here_) freed += here.clear();
    return freed;
  }

 private:
  class Ring {
   public:
    Ring(std::vector<scratch::Workspace> sessions, Chooser choose)
        : sessions_(std::move(sessions)), choose_(std::move(choose)), ring_(roots()) {}

    std::size_t of(std::uint64_t number) const {
      const std::size_t wanted = number % sessions_.size();
      std::string name;
      for (unsigned i = 0; name.empty() || ring_.of(name) != wanted; ++i)
        name = "file_" + std::to_string(number) + "." + std::to_string(i);
      const std::filesystem::path chosen = choose_(name).path();
      for (std::size_t i = 0; i < sessions_.size(); ++i)
        if (sessions_[i].path() == chosen) return i;
      return wanted;
    }

   private:
    std::vector<std::string> roots() const {
      std::vector<std::string> names;
      for (const scratch::Workspace& session : sessions_) names.push_back(session.path().parent_path().native());
      return names;
    }

    std::vector<scratch::Workspace> sessions_;
    Chooser choose_;
    scratch::HashRing ring_;  // as that of the set
  };

  std::vector<scratch::Workspace> here_;
  std::shared_ptr<const Ring> ring_;
};

/// @param set a `SessionSet` or a `JoinedSet`, which must live longer
template <class Set>
Area as_area(Set& set) {
  if (set.size() == 1) return Area(scratch::Workspace(set[0]));
  std::vector<scratch::Workspace> sessions;
  for (std::size_t i = 0; i < set.size(); ++i) sessions.push_back(set[i]);
  return Area(std::move(sessions), [&set](std::string_view name) { return set.of(name); });
}

}  // namespace external_sort
