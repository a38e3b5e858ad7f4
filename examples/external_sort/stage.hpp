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

#include "area.hpp"
#include "item.hpp"
#include "layout.hpp"
#include "lines.hpp"
#include "multiset.hpp"
#include "plan.hpp"
#include "records.hpp"
#include "support/errors.hpp"
#include "support/stop.hpp"

namespace external_sort {

/// Gets what belongs to partitions whose owners have another session.
class Elsewhere {
 public:
  Elsewhere() = default;
  Elsewhere(const Elsewhere&) = delete;
  Elsewhere& operator=(const Elsewhere&) = delete;
  virtual ~Elsewhere() = default;

  virtual bool has(std::uint64_t partition) const = 0;
  virtual void append(std::uint64_t partition, Items items) = 0;
};

struct Stage {
  Area session;
  const Plan& plan;
  unsigned worker;
  const std::atomic<bool>* given_up = nullptr;  ///< by another thread
  Elsewhere* elsewhere = nullptr;  ///< what is not for here is sent while it is found; null: it stands here

  /// @throws support::Stopped, support::GivenUp
  void go_on() const {
    support::check_stop();
    if (given_up != nullptr && *given_up) throw support::GivenUp{};
  }

  /// Gives a file up that no later step reads: removed, or kept for looking at as long as there is room.
  void give_up(Placed file, const std::string& kept_name) const {
    if (plan.keep_finished)
      file.here.move(file.name, session.area("finished").in(file.place), kept_name);
    else
      file.here.remove(file.name);
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

/// What is left of items that came more than once (`--unique`): for each file that is made, a note of what was left out
/// of it. It is written before the file gets its name: what an interrupted worker left is written again, the same.
class LeftOut {
 public:
  explicit LeftOut(const Area& session) : area_(session.area("left_out")) {}

  /// @param number of the file's partition
  void note(std::uint64_t number, const std::string& of, const Multiset& set) const {
    scratch::Workspace(area_.with(of)).remove(of);
    if (set.items > 0) scratch::write_file(area_.of(number), of, set.to_json().dump());
  }
  /// Of all files, or of those that a glob matches.
  Multiset sum(std::string_view glob = "*") const {
    Multiset all;
    for (const std::string& name : area_.list(glob))
      all += Multiset::from_json(nlohmann::json::parse(scratch::read_text(area_.with(name), name)));
    return all;
  }

 private:
  Area area_;
};

/// Whether it can be what it is called. O(1) @throws scratch::Error
inline void check_whole(const scratch::Workspace& here, const std::string& name, const Format& format) {
  scratch::check_records(here, name, format.lines ? 1 : format.record);
}

/// Calls `work` with the kind of items that a format says.
template <class Work>
auto with_kind(const Format& format, Work work) {
  if (format.lines) return work(Lines(format));
  if (format.is_usual()) return work(UsualRecords(format));
  return work(Records(format));
}

}  // namespace external_sort
