// SPDX-License-Identifier: MIT
//
// Where the benchmarks of sessions and records have their sessions.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

// In memory, gone in the end.
class Root {
 public:
  Root() {
    std::string name = "/dev/shm/scratch-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    path_ = name;
  }
  ~Root() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};
