// SPDX-License-Identifier: MIT
//
// A directory for one test case, and ways to fill it and to look at it.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace scratch::test {

/// Exists, empty, for as long as this lives; in memory, or on whatever disk TMPDIR or /tmp lies.
class TempDir {
 public:
  enum class On { memory, disk };

  explicit TempDir(On on = On::memory) {
    const char* disk = std::getenv("TMPDIR");
    const std::string root = on == On::memory && ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : disk ? disk : "/tmp";
    std::string name = root + "/scratch-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    path_ = name;
    fd_ = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    ::close(fd_);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  int fd() const { return fd_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

/// Makes or replaces a file.
inline void put(const std::filesystem::path& file, std::string_view text = "") {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  if (!out.flush()) throw std::runtime_error("cannot write " + file.string());
}

inline std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (in.peek() != std::ifstream::traits_type::eof()) text << in.rdbuf();
  return std::move(text).str();
}

/// All names in a directory, bookkeeping too.
inline std::set<std::string> names_in(const std::filesystem::path& directory) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) names.insert(entry.path().filename());
  return names;
}

/// How many descriptors this process has open.
inline std::size_t open_descriptors() {
  return names_in("/proc/self/fd").size() - 1;  // less the one that looks
}

}  // namespace scratch::test
