// SPDX-License-Identifier: MIT
//
// Every engine on every medium: where the tests of bytes run.
#pragma once

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <scratch/engine/best_io.hpp>
#include <scratch/workspace.hpp>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace scratch::test {

struct Engine {
  const char* name;
  IoMaker make;
};

inline std::ostream& operator<<(std::ostream& out, const Engine& engine) { return out << engine.name; }

inline IoMaker with_direct(std::size_t alignment) {
  return [alignment](const Medium& medium) {
    Medium told = medium;
    told.direct_alignment = alignment;
    return UringIo::make(told);
  };
}

/// posix, a ring through the page cache, a ring with O_DIRECT.
inline std::vector<Engine> engines() {
  return {{"posix", PosixIo::make}, {"uring buffered", with_direct(0)}, {"uring direct", with_direct(4096)}};
}

/// One workspace per engine and medium, for `GENERATE(from_range(grounds()))`.
struct Setting {
  Engine engine;
  TempDir::On on = TempDir::On::memory;
};

inline std::ostream& operator<<(std::ostream& out, const Setting& setting) {
  return out << setting.engine.name << (setting.on == TempDir::On::memory ? " on tmpfs" : " on disk");
}

inline std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const Engine& engine : engines())
    for (const TempDir::On on : {TempDir::On::memory, TempDir::On::disk}) all.push_back({engine, on});
  return all;
}

/// Bytes that repeat nowhere near: those of one seed are always the same, a shorter run begins a longer one.
inline std::vector<std::byte> noise(std::size_t size, std::uint64_t seed = 1) {
  std::vector<std::uint64_t> words(size / 8 + 1);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15;
  for (std::uint64_t& word : words) {
    state = state * 6364136223846793005 + 1442695040888963407;
    word = state ^ (state >> 32);
  }
  const auto* bytes = reinterpret_cast<const std::byte*>(words.data());
  return {bytes, bytes + size};
}

inline std::vector<std::byte> bytes_in(const std::filesystem::path& file) {
  const std::string text = text_of(file);
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

/// What an `Error` says about `work`, or "" when it throws none.
template <class Work>
std::string complaint(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace scratch::test
