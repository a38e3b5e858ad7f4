// SPDX-License-Identifier: MIT
//
// Is it sorted, and what is in it: like valsort.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "inputs.hpp"
#include "record.hpp"

namespace external_sort {

/// What was seen of a sequence of records; two that follow each other add up to one.
struct Check {
  Multiset set;
  std::uint64_t duplicate_keys = 0;             ///< neighbours with equal keys
  std::optional<std::uint64_t> first_unsorted;  ///< number of the first record that is less than the one before it
  Record first{}, last{};

  bool sorted() const { return !first_unsorted; }

  void add(std::span<const Record> more) {
    if (more.empty()) return;
    if (set.records == 0)
      first = more.front();
    else
      meet(last, more.front(), set.records);
    for (std::size_t i = 1; i < more.size(); ++i) meet(more[i - 1], more[i], set.records + i);
    last = more.back();
    set.add(more);
  }

  Check& operator+=(const Check& next) {
    if (next.set.records == 0) return *this;
    if (set.records == 0) return *this = next;
    meet(last, next.first, set.records);
    if (!first_unsorted && next.first_unsorted) first_unsorted = set.records + *next.first_unsorted;
    duplicate_keys += next.duplicate_keys;
    set += next.set;
    last = next.last;
    return *this;
  }

 private:
  void meet(const Record& before, const Record& after, std::uint64_t number) {
    if (same_key(before, after)) ++duplicate_keys;
    if (!first_unsorted && after < before) first_unsorted = number;
  }
};

inline Check check_inputs(const Inputs& inputs, std::uint64_t first, std::uint64_t last) {
  Check seen;
  InputReader reader(inputs, first, last);
  std::vector<Record> records(std::size_t{1} << 15);
  while (const std::size_t n = reader.read(records)) seen.add({records.data(), n});
  return seen;
}

}  // namespace external_sort
