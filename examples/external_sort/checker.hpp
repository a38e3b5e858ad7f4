// SPDX-License-Identifier: MIT
//
// Is it sorted, and what is in it: like valsort.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "inputs.hpp"
#include "item.hpp"
#include "multiset.hpp"

namespace external_sort {

/// What was seen of a sequence of items; two that follow each other add up to one.
struct Check {
  Multiset set;
  std::uint64_t duplicate_keys = 0;             ///< neighbours with equal keys
  std::optional<std::uint64_t> first_unsorted;  ///< number of the first item that should not follow the one before it
  std::vector<std::byte> first, last;

  bool sorted() const { return !first_unsorted; }

  template <class Kind>
  void add(const Kind& kind, Items more) {
    std::optional<Item> before;
    if (set.items > 0) before = last;
    while (const std::size_t n = kind.first(more)) {
      const Item item = more.first(n - Kind::terminator);
      if (before)
        meet(kind, *before, item, set.items);
      else
        first.assign(item.begin(), item.end());
      set.add(item, Kind::terminator);
      before = item;
      more = more.subspan(n);
    }
    if (before && before->data() != last.data()) last.assign(before->begin(), before->end());
  }

  template <class Kind>
  void add(const Kind& kind, const Check& next) {
    if (next.set.items == 0) return;
    if (set.items == 0) {
      *this = next;
      return;
    }
    meet(kind, last, next.first, set.items);
    if (!first_unsorted && next.first_unsorted) first_unsorted = set.items + *next.first_unsorted;
    duplicate_keys += next.duplicate_keys;
    set += next.set;
    last = next.last;
  }

  /// Bytes that `from_bytes` makes the same of.
  std::vector<std::byte> to_bytes() const {
    const std::string facts =
        nlohmann::json{set.to_json(), duplicate_keys,
                       first_unsorted ? nlohmann::json(*first_unsorted) : nlohmann::json(), first.size(), last.size()}
            .dump() +
        '\n';
    const auto* text = reinterpret_cast<const std::byte*>(facts.data());
    std::vector<std::byte> bytes(text, text + facts.size());
    bytes.insert(bytes.end(), first.begin(), first.end());
    bytes.insert(bytes.end(), last.begin(), last.end());
    return bytes;
  }
  /// Nothing where these are none.
  static std::optional<Check> from_bytes(Items bytes) {
    const auto end = std::find(bytes.begin(), bytes.end(), std::byte{'\n'});
    const std::string facts(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(end - bytes.begin()));
    const nlohmann::json json = nlohmann::json::parse(facts, nullptr, false);
    if (end == bytes.end() || !json.is_array() || json.size() != 5) return std::nullopt;
    const auto first_size = json.at(3).get<std::size_t>(), last_size = json.at(4).get<std::size_t>();
    bytes = bytes.subspan(facts.size() + 1);
    if (bytes.size() != first_size + last_size) return std::nullopt;
    Check check{Multiset::from_json(json.at(0)), json.at(1).get<std::uint64_t>(), std::nullopt, {}, {}};
    if (!json.at(2).is_null()) check.first_unsorted = json.at(2).get<std::uint64_t>();
    check.first.assign(bytes.data(), bytes.data() + first_size);
    check.last.assign(bytes.data() + first_size, bytes.data() + bytes.size());
    return check;
  }

 private:
  template <class Kind>
  void meet(const Kind& kind, Item before, Item after, std::uint64_t number) {
    const bool same = kind.same_key(before, after);
    if (same) ++duplicate_keys;
    if (!first_unsorted && (kind.less(after, before) || (same && kind.unique()))) first_unsorted = number;
  }
};

template <class Kind>
Check check_inputs(const Inputs& inputs, const Kind& kind) {
  Check seen;
  InputReader reader(inputs, kind, std::uint64_t{1} << 32, 0, inputs.size);
  for (Items items = reader.next(); !items.empty(); items = reader.next()) seen.add(kind, items);
  return seen;
}

}  // namespace external_sort
