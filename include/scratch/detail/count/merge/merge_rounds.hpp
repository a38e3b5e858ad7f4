// SPDX-License-Identifier: MIT
// floor 0: words
//
// Which tables are merged when, where they are too many to be merged at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// The smallest tables first, so few in the first round that all others are full: no other order reads fewer entries.
class MergeRounds {
 public:
  struct Table {
    std::string name;
    std::uint64_t entries;
  };
  struct Round {
    std::string into{};
    bool is_there = true;  ///< `into`
    std::vector<std::string> names{};
    std::uint64_t entries = 0;  ///< of all of them; at most, of the sums of other rounds
  };

  /// @param into   is one of `tables` where it is there
  /// @param tables each name once
  /// @param most   tables at once, at least 2
  MergeRounds(std::string into, bool is_there, std::vector<Table> tables, std::size_t most)
      : into_(std::move(into)), is_there_(is_there), most_(most), tables_(std::move(tables)) {}

  bool done() const { return is_there_ && tables_.size() == 1; }

  /// What is merged next, as if it had been merged then. Into the table that everything gets into where that is among
  /// them or missing: from then on it is there, as it must be for whoever does all of it again.
  /// @pre not done, and there are 2 tables, or 1 where the table for all is missing
  Round next() {
    std::sort(tables_.begin(), tables_.end(), [](const Table& a, const Table& b) {
      return a.entries != b.entries ? a.entries < b.entries : a.name < b.name;
    });
    const std::size_t n = tables_.size() <= most_ ? tables_.size() : 2 + (tables_.size() - 2) % (most_ - 1);
    Round round;
    bool gets_all = !is_there_;
    for (std::size_t i = 0; i < n; ++i) {
      gets_all = gets_all || tables_[i].name == into_;
      round.entries += tables_[i].entries;
    }
    round.into = gets_all ? into_ : tables_[n - 1].name;
    round.is_there = is_there_ || !gets_all;
    for (std::size_t i = 0; i < n; ++i)
      if (tables_[i].name != round.into) round.names.push_back(std::move(tables_[i].name));
    tables_.erase(tables_.begin(), tables_.begin() + static_cast<std::ptrdiff_t>(n));
    tables_.push_back({round.into, round.entries});
    is_there_ = is_there_ || gets_all;
    return round;
  }

 private:
  std::string into_;
  bool is_there_;
  std::size_t most_;
  std::vector<Table> tables_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
