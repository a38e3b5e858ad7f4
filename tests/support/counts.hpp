// SPDX-License-Identifier: MIT
//
// Count tables and what they should hold.
#pragma once

#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <cstdint>
#include <fstream>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace scratch::test {

/// A model of a count table.
template <CountKey Key>
using Model = std::unordered_map<Key, std::uint64_t>;

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
    model[static_cast<Key>(random() % range)] += 1 + (random() % 4 == 0 ? random() % 1000 : 0);
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
