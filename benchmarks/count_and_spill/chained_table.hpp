// SPDX-License-Identifier: MIT
//
// The plan that CountTable replaced, as a baseline: a hash file with chains, a pread or pwrite for each step.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include <scratch/count_key.hpp>

namespace bench {

class ChainedTable {
 public:
  ChainedTable(const std::string& file, std::uint64_t buckets)
      : fd_(::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)), buckets_(buckets) {
    if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(buckets * 8)) != 0)
      throw std::runtime_error("cannot make " + file);
    end_ = buckets * 8;
  }
  ChainedTable(const ChainedTable&) = delete;
  ChainedTable& operator=(const ChainedTable&) = delete;
  ~ChainedTable() { ::close(fd_); }

  void add(std::uint64_t key) {
    const std::uint64_t bucket = (scratch::detail::mix(key) & (buckets_ - 1)) * 8;
    std::uint64_t link = bucket, at = 0;
    read(&at, sizeof at, link);
    while (at != 0) {
      Entry entry;
      read(&entry, sizeof entry, at);
      if (entry.key == key) {
        ++entry.count;
        write(&entry.count, sizeof entry.count, at + 8);
        return;
      }
      link = at + 16;
      at = entry.next;
    }
    const Entry entry{key, 1, 0};
    write(&entry, sizeof entry, end_);
    write(&end_, sizeof end_, link);
    end_ += sizeof entry;
  }

  template <class Visit>
  void for_each(Visit visit) const {
    for (std::uint64_t at = buckets_ * 8; at < end_; at += sizeof(Entry)) {
      Entry entry;
      read(&entry, sizeof entry, at);
      visit(entry.key, entry.count);
    }
  }

 private:
  struct Entry {
    std::uint64_t key, count, next;
  };
  void read(void* to, std::size_t n, std::uint64_t at) const {
    if (::pread(fd_, to, n, static_cast<off_t>(at)) != static_cast<ssize_t>(n)) throw std::runtime_error("pread");
  }
  void write(const void* from, std::size_t n, std::uint64_t at) const {
    if (::pwrite(fd_, from, n, static_cast<off_t>(at)) != static_cast<ssize_t>(n)) throw std::runtime_error("pwrite");
  }

  int fd_;
  std::uint64_t buckets_, end_;
};

}  // namespace bench
