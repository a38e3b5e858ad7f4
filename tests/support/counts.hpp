// SPDX-License-Identifier: MIT
//
// Count tables and what they should hold.
#pragma once

#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <cstdint>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <map>
#include <ostream>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>
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

/// A model of a count table. In a list of counts, keys are numbers.
template <CountKey Key>
struct Model : std::unordered_map<Key, std::uint64_t> {
  Model() = default;
  Model(std::initializer_list<std::pair<std::uint64_t, std::uint64_t>> counts) {
    for (const auto& [number, count] : counts) (*this)[key_from<Key>(number)] = count;
  }
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
