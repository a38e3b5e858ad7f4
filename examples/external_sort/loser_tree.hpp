// SPDX-License-Identifier: MIT
//
// Merging k sorted sources with one comparison a level: each inner node remembers who lost there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "item.hpp"

namespace external_sort {

/// `Source` offers `std::optional<Item> front()`, nothing at its end, and `pop()`.
template <class Kind, class Source>
class LoserTree {
 public:
  /// @pre at least one source
  LoserTree(const Kind& kind, std::vector<Source>& sources) : kind_(kind), sources_(sources), losers_(sources.size()) {
    for (Source& source : sources_) heads_.push_back(head_of(source));
    winner_ = play(1);
  }

  /// The first of the sources' items, or nothing when all have ended.
  const std::optional<Item>& front() const { return heads_[winner_].item; }

  void pop() {
    sources_[winner_].pop();
    heads_[winner_] = head_of(sources_[winner_]);
    for (std::size_t node = (winner_ + sources_.size()) / 2; node > 0; node /= 2)
      if (comes_before(losers_[node], winner_)) std::swap(losers_[node], winner_);
  }

 private:
  struct Head {
    std::optional<Item> item;
    std::uint64_t prefix;
  };

  Head head_of(Source& source) const {
    const std::optional<Item> item = source.front();
    return {item, item ? kind_.prefix(*item) : ~std::uint64_t{0}};
  }

  bool comes_before(std::size_t a, std::size_t b) const {
    if (heads_[a].prefix != heads_[b].prefix) return heads_[a].prefix < heads_[b].prefix;
    if (!heads_[a].item || !heads_[b].item) return heads_[a].item.has_value();
    return kind_.less(*heads_[a].item, *heads_[b].item);
  }

  // Inner nodes are 1 to k - 1, the leaf of source i is k + i.
  std::size_t play(std::size_t node) {
    if (node >= sources_.size()) return node - sources_.size();
    std::size_t winner = play(2 * node), loser = play(2 * node + 1);
    if (comes_before(loser, winner)) std::swap(winner, loser);
    losers_[node] = loser;
    return winner;
  }

  const Kind& kind_;
  std::vector<Source>& sources_;
  std::vector<std::size_t> losers_;
  std::vector<Head> heads_;
  std::size_t winner_ = 0;
};

}  // namespace external_sort
