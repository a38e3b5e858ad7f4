// SPDX-License-Identifier: MIT
//
// Count tables and what they should hold.
#pragma once

#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <map>
#include <ostream>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

template <>
struct std::hash<scratch::Key128> {
  std::size_t operator()(const scratch::Key128& key) const {
    return std::hash<std::uint64_t>()(key.high * 0x9e3779b97f4a7c15 ^ key.low);
  }
};

namespace scratch {
inline std::ostream& operator<<(std::ostream& out, const Key128& key) { return out << detail::key_text(key); }
}  // namespace scratch

namespace scratch::test {

/// A key of any width for a number: of 128 bits both halves depend on it, and their order is that of the numbers.
template <CountKey Key>
constexpr Key key_from(std::uint64_t number) {
  if constexpr (std::same_as<Key, Key128>)
    return {number / 4, number * 0x9e3779b97f4a7c15 % 1000003 << 2 | number % 4};
  else
    return static_cast<Key>(number);
}
template <CountKey Key>
constexpr Key largest_key() {
  if constexpr (std::same_as<Key, Key128>)
    return {~std::uint64_t{0}, ~std::uint64_t{0}};
  else
    return static_cast<Key>(~Key{0});
}

/// A model of a count table: a map laid out flat, as one of nodes takes most of a test's time, under a sanitizer above
/// all. A new key ends what was referred to before. In a list of counts, keys are numbers.
template <CountKey Key>
class Model {
 public:
  using value_type = std::pair<Key, std::uint64_t>;
  using iterator = typename std::vector<value_type>::iterator;
  using const_iterator = typename std::vector<value_type>::const_iterator;

  Model() = default;
  Model(std::initializer_list<std::pair<std::uint64_t, std::uint64_t>> counts) {
    for (const auto& [number, count] : counts) (*this)[key_from<Key>(number)] = count;
  }

  std::uint64_t& operator[](Key key) {
    if (2 * counts_.size() >= slots_.size()) grow();
    std::uint32_t& slot = slots_[slot_of(key)];
    if (slot == 0) {
      counts_.emplace_back(key, 0);
      slot = static_cast<std::uint32_t>(counts_.size());
    }
    return counts_[slot - 1].second;
  }
  /// False where the key is there already: its count stays.
  bool insert(Key key, std::uint64_t count) {
    const std::size_t before = size();
    std::uint64_t& here = (*this)[key];
    if (size() == before) return false;
    here = count;
    return true;
  }
  const_iterator find(Key key) const {
    const std::uint32_t slot = slots_.empty() ? 0 : slots_[slot_of(key)];
    return slot == 0 ? counts_.end() : counts_.begin() + (slot - 1);
  }
  std::uint64_t at(Key key) const {
    const const_iterator found = find(key);
    if (found == end()) throw std::out_of_range("the model has no such key");
    return found->second;
  }

  iterator begin() { return counts_.begin(); }
  iterator end() { return counts_.end(); }
  const_iterator begin() const { return counts_.begin(); }
  const_iterator end() const { return counts_.end(); }
  std::size_t size() const { return counts_.size(); }
  bool empty() const { return counts_.empty(); }
  void clear() { *this = {}; }
  void reserve(std::size_t keys) {
    counts_.reserve(keys);
    while (slots_.size() < 2 * keys) grow();
  }

  friend bool operator==(const Model& a, const Model& b) {
    if (a.size() != b.size()) return false;
    for (const auto& [key, count] : a)
      if (const auto found = b.find(key); found == b.end() || found->second != count) return false;
    return true;
  }

 private:
  // Where the key is, or would be.
  std::size_t slot_of(Key key) const {
    std::uint64_t hash = 0;
    if constexpr (std::same_as<Key, Key128>)
      hash = key.high * 0x9e3779b97f4a7c15 ^ key.low;
    else
      hash = key;
    for (int i = 0; i < 2; ++i) hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93;
    std::size_t slot = (hash >> 32 ^ hash) & (slots_.size() - 1);
    while (slots_[slot] != 0 && counts_[slots_[slot] - 1].first != key) slot = (slot + 1) & (slots_.size() - 1);
    return slot;
  }
  void grow() {
    slots_.assign(std::max<std::size_t>(64, 2 * slots_.size()), 0);
    std::uint32_t number = 0;
    for (const auto& [key, count] : counts_) slots_[slot_of(key)] = ++number;
  }

  std::vector<value_type> counts_{};
  std::vector<std::uint32_t> slots_{};  // numbers in `counts_`, from 1 on; 0: nobody's
};

template <CountKey Key>
void add_all(CountTable<Key>& table, const Model<Key>& model) {
  for (const auto& [key, count] : model) table.add(key, count);
}

template <CountKey Key>
void write_table(const Workspace& where, const std::string& name, const Model<Key>& model, CountOptions options = {}) {
  CountTable<Key> table(where, name, options);
  add_all(table, model);
  table.commit();
}

template <CountKey Key>
Model<Key> read_table(const Workspace& where, const std::string& name) {
  Model<Key> model;
  for (const auto& [key, count] : CountReader<Key>(where, name)) model[key] = count;
  return model;
}

/// Of all counts.
template <CountKey Key>
std::uint64_t sum(const Model<Key>& model) {
  std::uint64_t all = 0;
  for (const auto& [key, count] : model) all += count;
  return all;
}

template <CountKey Key>
Model<Key> sum_of(Model<Key> a, const Model<Key>& b) {
  for (const auto& [key, count] : b) a[key] += count;
  return a;
}

/// `n` keys, of which some come often.
template <CountKey Key>
Model<Key> some_counts(std::size_t n, std::uint64_t seed, std::uint64_t range = ~std::uint64_t{0}) {
  std::mt19937_64 random(seed);
  Model<Key> model;
  for (std::size_t i = 0; i < n; ++i)
    model[key_from<Key>(random() % range)] += 1 + (random() % 4 == 0 ? random() % 1000 : 0);
  return model;
}

/// The most memory that this process had so far, in bytes.
inline std::uint64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * 1024;
  throw std::runtime_error("the kernel does not tell VmHWM");
}

}  // namespace scratch::test
