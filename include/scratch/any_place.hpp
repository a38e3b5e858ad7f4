// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A place that is chosen at run time.
#pragma once

#include <concepts>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>

#include <scratch/detail/text/names.hpp>
#include <scratch/place.hpp>

namespace scratch::inline SCRATCH_ABI {

/// A place made from any place: `SessionDir session(in_memory ? AnyPlace(Shm{"app"}) : AnyPlace(Under{path}), "label")`,
/// or several of several kinds in one vector. It does what the place in it does; copies share nothing. Immutable: any
/// number of threads.
class AnyPlace {
 public:
  /// What `place` is, decided at run time.
  template <class P>
  requires(!std::same_as<P, AnyPlace>) && Place<P> AnyPlace(P place)
      : find_([place = std::move(place)] { return detail::location_of(place); }) {}

  /// As the environment stands now; that of a session's `place()`, as it stood when the session was made.
  /// @throws Error what the place in it throws
  std::filesystem::path root() const { return location().root; }
  /// Why it is this one: "SCRATCH_DIR is /data".
  std::string reason() const { return location().reason; }
  /// What the library itself knows of it.
  detail::Location location() const { return find_(); }
  /// The same place, which does not ask the environment again.
  AnyPlace resolved() const {
    AnyPlace place(*this);
    place.find_ = [found = location()] { return found; };
    return place;
  }

 private:
  std::function<detail::Location()> find_;
};

}  // namespace scratch::inline SCRATCH_ABI
