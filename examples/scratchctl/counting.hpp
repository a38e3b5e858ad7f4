// SPDX-License-Identifier: MIT
//
// count: what is in a count table, or in two.
#pragma once

#include <scratch/scratch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "inside.hpp"
#include "support/numbers.hpp"
#include "text.hpp"

namespace scratchctl {

struct CountCommand {
  std::string file;
  std::vector<std::string> keys;  ///< decimal, or hexadecimal with 0x; of 128 bits, 32 hexadecimal digits
  std::size_t top = 10;           ///< where no keys are given
  bool histogram = false;
  std::string joined;  ///< another table
  std::string part;    ///< "2/8"
  bool as_json = false;
};

[[noreturn]] inline void refuse_key(const std::string& text, const char* wanted) {
  throw Refused("\"" + plain(text) + "\" is no key: " + wanted);
}

/// @param text decimal, or hexadecimal with 0x
inline std::uint64_t number_of(const std::string& text, const char* wanted) {
  std::size_t used = 0;
  std::uint64_t number = 0;
  try {
    if (!text.empty() && text.front() >= '0' && text.front() <= '9')
      number = std::stoull(text, &used, text.starts_with("0x") ? 16 : 10);
  } catch (const std::logic_error&) {
    used = 0;
  }
  if (used == 0 || used != text.size()) refuse_key(text, wanted);
  return number;
}

/// What a table is asked for.
template <class Key>
auto key_of(const std::string& text) {
  if constexpr (std::is_same_v<Key, scratch::Key128>) {
    constexpr const char* wanted = "32 hexadecimal digits, those of a UUID, or a number of at most 64 bits";
    std::string digits = text;
    if (digits.size() == 36 && digits[8] == '-' && digits[13] == '-' && digits[18] == '-' && digits[23] == '-')
      std::erase(digits, '-');
    if (digits.size() == 34 && digits.starts_with("0x")) digits.erase(0, 2);
    if (digits.size() != 32) return Key{0, number_of(text, wanted)};
    if (digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) refuse_key(text, wanted);
    return Key{std::stoull(digits.substr(0, 16), nullptr, 16), std::stoull(digits.substr(16), nullptr, 16)};
  } else {
    return number_of(text, "a number of at most 64 bits");
  }
}

/// As it is printed: 32 hexadecimal digits where it has 128 bits, else a number.
inline std::string hex_digits(const scratch::Key128& key) { return hex(key.high).substr(2) + hex(key.low).substr(2); }
inline json key_json(std::uint64_t key) { return key; }
inline json key_json(const scratch::Key128& key) { return hex_digits(key); }

/// Columns of numbers stand to the right.
template <class Key>
inline constexpr bool is_wide = sizeof(Key) > 8;
template <class Key>
std::vector<std::string> key_columns(const Key& key) {
  if constexpr (is_wide<Key>)
    return {hex_digits(key)};
  else
    return {std::to_string(key), hex(key)};
}

template <class Key>
class CountTableCommand {
 public:
  CountTableCommand(const Located& at, const CountCommand& command)
      : command_(command), record_(at.record), table_(at.directory, at.name) {}

  int run() const {
    if (!command_.part.empty()) return print_part();
    if (command_.histogram) return print_histogram();
    if (!command_.joined.empty()) return print_joined();
    return print_counts();
  }

 private:
  using Reader = scratch::CountReader<Key>;
  using Joined = scratch::JoinedCount<Key>;

  json head() const {
    return {{"file", record_},
            {"key_bits", sizeof(Key) * 8},
            {"distinct", table_.distinct()},
            {"total", table_.total()},
            {"kept_total", table_.kept_total()},
            {"at_least", table_.kept_at_least()},
            {"content_checksum", hex(table_.content_checksum())}};
  }
  void print_head() const {
    std::cout << sizeof(Key) * 8 << "-bit keys, " << table_.distinct() << " distinct, total " << table_.total();
    if (table_.kept_at_least() > 1)
      std::cout << ", of which keys counted " << table_.kept_at_least() << " times or more have "
                << table_.kept_total();
    std::cout << ", content " << hex(table_.content_checksum()) << '\n';
  }

  std::vector<Key> keys() const {
    std::vector<Key> keys;
    for (const std::string& text : command_.keys) {
      const auto key = key_of<Key>(text);
      static_cast<void>(table_.contains(key));  // a number that is no key is refused
      keys.push_back(static_cast<Key>(key));
    }
    return keys;
  }
  static std::vector<std::uint64_t> counts_in(const Reader& table, const std::vector<Key>& keys) {
    std::vector<std::uint64_t> counts(keys.size());
    table.get(keys, counts);
    return counts;
  }

  /// @param names of the columns behind the key
  static Table table_of_keys(const std::vector<std::string>& names) {
    std::vector<std::string> all{"KEY"};
    if (!is_wide<Key>) all.emplace_back("HEX");
    std::vector<bool> right{!is_wide<Key>};
    if (!is_wide<Key>) right.push_back(false);
    all.insert(all.end(), names.begin(), names.end());
    right.resize(all.size(), true);
    return Table(std::move(all), std::move(right));
  }

  int print_counts() const {
    std::vector<scratch::Count<Key>> shown;
    if (command_.keys.empty()) {
      shown = table_.top(command_.top);
    } else {
      const std::vector<Key> wanted = keys();
      const std::vector<std::uint64_t> counts = counts_in(table_, wanted);
      for (std::size_t i = 0; i < wanted.size(); ++i) shown.push_back({wanted[i], counts[i]});
    }
    if (command_.as_json) {
      json all = head();
      all["counts"] = json::array();
      for (const auto& one : shown) all["counts"].push_back({{"key", key_json(one.key)}, {"count", one.count}});
      std::cout << dumped(all) << '\n';
      return 0;
    }
    print_head();
    if (shown.empty()) return 0;
    Table list = table_of_keys({"COUNT"});
    for (const auto& one : shown) {
      std::vector<std::string> row = key_columns(one.key);
      row.push_back(std::to_string(one.count));
      list.add(std::move(row));
    }
    std::cout << list;
    return 0;
  }

  int print_histogram() const {
    const auto histogram = table_.histogram();
    if (command_.as_json) {
      json all = head();
      all["histogram"] = json::array();
      for (const auto& [count, n] : histogram) all["histogram"].push_back({{"count", count}, {"keys", n}});
      std::cout << dumped(all) << '\n';
      return 0;
    }
    print_head();
    Table list({"COUNT", "KEYS"}, {true, true});
    for (const auto& [count, n] : histogram) list.add({std::to_string(count), std::to_string(n)});
    std::cout << list;
    return 0;
  }

  /// Lines, and nothing else: a table may have more keys than fit in memory.
  int print_part() const {
    const auto [i, n] = part_of(command_.part);
    for (const auto& one : table_.part(i, n)) {
      if constexpr (is_wide<Key>)
        std::cout << hex_digits(one.key);
      else
        std::cout << std::uint64_t{one.key};
      std::cout << '\t' << one.count << '\n';
    }
    return 0;
  }

  static std::pair<unsigned, unsigned> part_of(const std::string& text) {
    constexpr const char* wanted = "type 0/8 for the first of 8 parts";
    const std::size_t slash = std::min(text.find('/'), text.size());
    const auto i = support::detail::number_of(text.substr(0, slash));
    const auto n = support::detail::number_of(slash < text.size() ? text.substr(slash + 1) : "");
    if (!i || !n || *i >= *n || *n > 1000000)
      throw support::WrongUsage("--part: \"" + plain(text) + "\" is no part: " + wanted);
    return {static_cast<unsigned>(*i), static_cast<unsigned>(*n)};
  }

  int print_joined() const {
    const Reader other = other_table();
    std::uint64_t both = 0, here = 0, there = 0, different = 0;
    std::vector<Joined> shown;
    if (!command_.keys.empty()) {
      const std::vector<Key> wanted = keys();
      const std::vector<std::uint64_t> a = counts_in(table_, wanted), b = counts_in(other, wanted);
      for (std::size_t i = 0; i < wanted.size(); ++i) shown.push_back({wanted[i], a[i], b[i]});
    }
    // A heap of the keys that differ most, the least of them in front; of equal ones the lower key comes first.
    const auto before = [](const Joined& x, const Joined& y) {
      const auto difference = [](const Joined& one) { return one.a > one.b ? one.a - one.b : one.b - one.a; };
      return difference(x) != difference(y) ? difference(x) > difference(y) : x.key < y.key;
    };
    const std::size_t most = command_.keys.empty() ? command_.top : 0;
    for (const Joined& one : scratch::joined(table_, other)) {
      ++(one.b == 0 ? here : one.a == 0 ? there : both);
      if (one.a == one.b) continue;
      ++different;
      if (most == 0 || (shown.size() == most && !before(one, shown.front()))) continue;
      shown.push_back(one);
      std::push_heap(shown.begin(), shown.end(), before);
      if (shown.size() <= most) continue;
      std::pop_heap(shown.begin(), shown.end(), before);
      shown.pop_back();
    }
    if (command_.keys.empty()) std::sort_heap(shown.begin(), shown.end(), before);
    if (command_.as_json) {
      json all = head();
      all["joined"] = {{"in_both", both}, {"only_here", here}, {"only_there", there}, {"different", different}};
      all["counts"] = json::array();
      for (const Joined& one : shown)
        all["counts"].push_back({{"key", key_json(one.key)}, {"count", one.a}, {"other", one.b}});
      std::cout << dumped(all) << '\n';
      return 0;
    }
    print_head();
    std::cout << both << " keys in both, " << here << " only here, " << there << " only in the other; " << different
              << " have other counts\n";
    if (shown.empty()) return 0;
    Table list = table_of_keys({"COUNT", "OTHER"});
    for (const Joined& one : shown) {
      std::vector<std::string> row = key_columns(one.key);
      row.push_back(std::to_string(one.a));
      row.push_back(std::to_string(one.b));
      list.add(std::move(row));
    }
    std::cout << list;
    return 0;
  }

  Reader other_table() const {
    const Located at = locate(command_.joined);
    if (!is_count_table(at.directory, at.name)) throw Refused(plain(command_.joined) + " is not a count table");
    const unsigned bits = scratch::count_key_bits(at.directory, at.name);
    if (bits != sizeof(Key) * 8)
      throw Refused(plain(command_.joined) + " has keys of " + std::to_string(bits) + " bits, and " +
                    plain(command_.file) + " of " + std::to_string(sizeof(Key) * 8));
    return Reader(at.directory, at.name);
  }

  const CountCommand& command_;
  std::string record_;
  Reader table_;
};

inline int count(const CountCommand& command) {
  const Located at = locate(command.file);
  if (!is_count_table(at.directory, at.name)) throw Refused(plain(command.file) + " is not a count table");
  return scratch::with_key_type(scratch::count_key_bits(at.directory, at.name), [&](auto type) {
    return CountTableCommand<typename decltype(type)::type>(at, command).run();
  });
}

}  // namespace scratchctl
