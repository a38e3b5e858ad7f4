// SPDX-License-Identifier: MIT
//
// One line on the standard error, when that is a terminal.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>

#include <scratch/bytes.hpp>

namespace support {

class Progress {
 public:
  explicit Progress(bool wanted) : shown_(wanted && ::isatty(2) == 1) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  bool is_shown() const { return shown_; }

  /// "counting  42 %  1,234,567 rows  81.3 MiB/s  3 s left"
  /// @param there bytes in all; 0 where that is not known
  void reading(const char* what, std::uint64_t bytes, std::uint64_t there, std::uint64_t rows) {
    const std::lock_guard lock(mutex_);
    if (!due()) return;
    const double seconds = std::chrono::duration<double>(last_ - began_).count();
    const double rate = static_cast<double>(bytes) / seconds;
    char text[160];
    const std::string per_second = scratch::readable_size(static_cast<std::uint64_t>(rate));
    if (there > 0)
      std::snprintf(text, sizeof text, "%s  %3.0f %%  %llu rows  %s/s  %.0f s left", what,
                    100.0 * static_cast<double>(bytes) / static_cast<double>(there),
                    static_cast<unsigned long long>(rows), per_second.c_str(),
                    rate > 0 ? static_cast<double>(there - std::min(bytes, there)) / rate : 0.0);
    else
      std::snprintf(text, sizeof text, "%s  %llu rows  %s  %s/s", what, static_cast<unsigned long long>(rows),
                    scratch::readable_size(bytes).c_str(), per_second.c_str());
    show(text);
  }

  void step(const char* what, std::uint64_t done, std::uint64_t total) {
    const std::lock_guard lock(mutex_);
    if (due()) show_step(what, done, total);
  }

  /// A step that is shown however short it is.
  void begin(const char* what) {
    const std::lock_guard lock(mutex_);
    if (shown_) show_step(what, 0, 1);
  }

  /// Nothing of the line is left.
  void clear() {
    if (shown_ && any_) std::fputs("\r\033[K", stderr);
    any_ = false;
  }

 private:
  bool due() {
    if (!shown_) return false;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(100)) return false;
    last_ = now;
    return true;
  }
  void show_step(const char* what, std::uint64_t done, std::uint64_t total) {
    char text[80];
    std::snprintf(text, sizeof text, "%s  %3.0f %%", what,
                  total == 0 ? 100.0 : 100.0 * static_cast<double>(done) / static_cast<double>(total));
    show(text);
  }
  void show(const char* text) {
    std::fprintf(stderr, "\r%s\033[K", text);
    any_ = true;
  }

  bool shown_;
  std::mutex mutex_;
  bool any_ = false;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now(), last_ = began_;
};

}  // namespace support
