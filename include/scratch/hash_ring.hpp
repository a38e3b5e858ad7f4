// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Consistent hashing: which of several places a name belongs to.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/detail/text/checksum.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Spreads keys over named places so that losing or adding one moves the keys of that place alone (Karger et al.,
/// Consistent hashing and random trees, 1997).
///
/// Node i of a name stands at XXH64(name + '#' + i in decimal, seed 0) of a ring of 64-bit numbers; of two at one point
/// the earlier name counts. A key belongs to the first node at or after XXH64(key, seed 0), round the end. So it is the
/// same place in every process, on every machine, for ever. With n places the share of one has a standard deviation of
/// sqrt((1 - 1/n) / virtual_nodes) of its mean: 5.8 % for 2 places, 8 % for 32.
///
/// Places are told by their index in the names given. Immutable: any number of threads.
class HashRing {
 public:
  /// O(n log n) for n = names * virtual_nodes.
  /// @throws Error EINVAL where there is no name, two are equal, or `virtual_nodes` is 0
  HashRing(std::vector<std::string> names, unsigned virtual_nodes = 150)
      : HashRing(std::move(names), virtual_nodes, {}) {}

  /// The place of a key. O(log n).
  std::size_t of(std::string_view key) const { return nodes_[first_node(key)].place; }

  /// The `n` different places that come first from the key on, the one above foremost: for copies, or where the first
  /// one has failed. All of them where there are fewer.
  std::vector<std::size_t> of(std::string_view key, std::size_t n) const {
    std::vector<std::size_t> places;
    const std::size_t most = std::min(n, places_);
    for (std::size_t at = first_node(key); places.size() < most; at = (at + 1) % nodes_.size())
      if (std::find(places.begin(), places.end(), nodes_[at].place) == places.end()) places.push_back(nodes_[at].place);
    return places;
  }

  /// The first place from the key on that is not loaded beyond `max_load` times the mean once this key is there
  /// (Mirrokni, Thorup, Zadimoghaddam, Consistent hashing with bounded loads, 2017).
  ///
  /// @param loads keys, or bytes, of each place, by index
  /// @throws Error EINVAL unless there is a load for each name and `max_load` is at least 1
  std::size_t of(std::string_view key, std::span<const std::uint64_t> loads, double max_load = 1.25) const {
    if (loads.size() != names_.size() || !(max_load >= 1))
      detail::throw_error(EINVAL, "choose a place by its load", {},
                          std::to_string(loads.size()) + " loads for " + std::to_string(names_.size()) +
                              " places, at most " + std::to_string(max_load) + " times the mean");
    const std::vector<std::size_t> places = of(key, places_);
    double all = 1;
    for (const std::size_t place : places) all += static_cast<double>(loads[place]);
    const double most = max_load * all / static_cast<double>(places_);
    for (const std::size_t place : places)
      if (static_cast<double>(loads[place]) < most) return place;
    return places.front();
  }

  /// The ring as it is when the place of this index is lost: the other places keep their indices and their keys.
  /// @throws Error EINVAL where there is no such place, or no other
  HashRing without(std::size_t index) const {
    std::vector<bool> left_out = left_out_;
    if (index >= names_.size() || left_out[index])
      detail::throw_error(EINVAL, "leave a place out of the ring", {}, "there is no place " + std::to_string(index));
    left_out[index] = true;
    return HashRing(names_, virtual_nodes_, std::move(left_out));
  }

 private:
  struct Node {
    std::uint64_t point;
    std::size_t place;
  };

  HashRing(std::vector<std::string> names, unsigned virtual_nodes, std::vector<bool> left_out)
      : names_(std::move(names)), left_out_(std::move(left_out)), virtual_nodes_(virtual_nodes) {
    left_out_.resize(names_.size());
    check();
    nodes_.reserve(places_ * virtual_nodes);
    for (std::size_t place = 0; place < names_.size(); ++place) {
      if (left_out_[place]) continue;
      for (unsigned i = 0; i < virtual_nodes; ++i)
        nodes_.push_back({detail::xxh64(names_[place] + '#' + std::to_string(i)), place});
    }
    std::sort(nodes_.begin(), nodes_.end(),
              [](const Node& a, const Node& b) { return a.point != b.point ? a.point < b.point : a.place < b.place; });
  }

  void check() {
    constexpr const char* doing = "make a ring of places";
    places_ = static_cast<std::size_t>(std::count(left_out_.begin(), left_out_.end(), false));
    if (places_ == 0) detail::throw_error(EINVAL, doing, {}, "there is none");
    if (virtual_nodes_ == 0) detail::throw_error(EINVAL, doing, {}, "a place needs a virtual node at least");
    std::vector<std::string> sorted = names_;
    std::sort(sorted.begin(), sorted.end());
    const auto equal = std::adjacent_find(sorted.begin(), sorted.end());
    if (equal != sorted.end()) detail::throw_error(EINVAL, doing, {}, "two have the name \"" + *equal + "\"");
  }

  std::size_t first_node(std::string_view key) const {
    const std::uint64_t point = detail::xxh64(key);
    const auto before = [](const Node& node, std::uint64_t at) { return node.point < at; };
    const auto found = std::lower_bound(nodes_.begin(), nodes_.end(), point, before);
    return found == nodes_.end() ? 0 : static_cast<std::size_t>(found - nodes_.begin());
  }

  std::vector<std::string> names_;
  std::vector<bool> left_out_;
  unsigned virtual_nodes_;
  std::size_t places_ = 0;
  std::vector<Node> nodes_{};  // by their points
};

}  // namespace scratch::inline SCRATCH_ABI
