// SPDX-License-Identifier: MIT
//
// One worker in one phase: what it is given, and what it says that it did.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <scratch/scratch.hpp>

#include "layout.hpp"
#include "plan.hpp"
#include "record.hpp"
#include "support/errors.hpp"
#include "support/stop.hpp"

namespace external_sort {

struct Stage {
  scratch::Workspace session;
  const Plan& plan;
  unsigned worker;
  const std::atomic<bool>* given_up = nullptr;  ///< by another thread

  /// @throws support::Stopped, support::GivenUp
  void go_on() const {
    support::check_stop();
    if (given_up != nullptr && *given_up) throw support::GivenUp{};
  }

  /// Gives a file up that no later step reads: removed, or kept for looking at as long as there is room.
  void give_up(scratch::Workspace area, const std::string& name, const std::string& kept_name) const {
    if (plan.keep_finished)
      area.move(name, session.area("finished"), kept_name);
    else
      area.remove_matching(name);
  }
};

struct Work {
  Multiset set;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;

  Work& operator+=(const Work& other) {
    set += other.set;
    bytes_read += other.bytes_read;
    bytes_written += other.bytes_written;
    return *this;
  }
};

inline std::vector<Record> read_records(const scratch::Workspace& area, const std::string& name) {
  scratch::check_records(area, name, record_size);
  scratch::FileReader file(area, name);
  std::vector<Record> records(file.size() / record_size);
  if (file.read(std::as_writable_bytes(std::span(records))) != records.size() * record_size)
    throw Refused("the file " + (area.path() / name).string() + " ended early");
  return records;
}

}  // namespace external_sort
