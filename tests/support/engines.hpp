// SPDX-License-Identifier: MIT
//
// Every engine on every medium: where the tests of bytes run.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <scratch/engine/best_io.hpp>
#include <scratch/workspace.hpp>

#include "support/catch.hpp"
#include "support/environment.hpp"
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

/// A disk with O_DIRECT.
inline const Medium usual_disk{.name = "ext4", .direct_alignment = 4096};

/// Whether a ring can be had here, whatever the environment says.
inline bool kernel_has_rings() {
  const Variable unforced("SCRATCH_IO", nullptr);
  return UringIo::make(usual_disk)->describe().starts_with("io_uring");
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

inline std::vector<std::byte> bytes_in(const std::filesystem::path& file) {
  const std::string text = text_of(file);
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

}  // namespace scratch::test
