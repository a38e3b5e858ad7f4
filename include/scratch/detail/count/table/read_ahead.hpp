// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What is in files of partitions is asked for before somebody reads it, and leaves the memory once it was read, where the
// disk has to be asked: what is read once would push out what others have in the page cache.
//
// Partitions are spilled in turn, a few of them at a time: what neighbours have in a file is side by side there, piece by
// piece. So some neighbours are asked for together, each piece of theirs in one transfer, as long as others are read, and
// leave together.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/count/table/contents.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// For all who read the partitions of the same contents: each is begun once, about in order. Thread-safe.
/// @pre nobody but a thread that is alone with them changes segments meanwhile
class ReadAhead {
 public:
  static constexpr std::uint64_t at_once = 4_MiB, ahead = 16_MiB;

  explicit ReadAhead(const Contents& contents)
      : contents_(contents),
        is_wanted_(std::any_of(contents.files.begin(), contents.files.end(),
                               [](const std::shared_ptr<AppendFile>& file) { return file && file->is_behind(); })) {}

  /// A partition is going to be read now. What cannot be asked for is read all the same.
  void begin(std::size_t p) noexcept {
    if (!is_wanted_) return;
    try {
      std::unique_lock lock(mutex_);
      begun_ += bytes_of(p);
      while (end_ < contents_.partitions.size() && asked_ < begun_ + ahead) {
        Group group = next();
        const std::vector<Segment> transfers = group.transfers;
        if (group.unread > 0) groups_.push_back(std::move(group));
        lock.unlock();
        for (const Segment& one : transfers) contents_.files[one.file]->expect(one.offset, one.bytes);
        lock.lock();
      }
    } catch (const std::exception&) {
    }
  }

  /// A partition that was begun is not read again. Of one that has nothing in files neither need be said.
  void end(std::size_t p) noexcept {
    if (!is_wanted_ || contents_.partitions[p].segments.empty()) return;
    std::vector<Segment> transfers;
    {
      const std::lock_guard lock(mutex_);
      const auto group =
          std::find_if(groups_.begin(), groups_.end(), [p](const Group& one) { return one.first <= p && p < one.end; });
      if (group == groups_.end() || --group->unread > 0) return;
      transfers.swap(group->transfers);
      groups_.erase(group);
    }
    for (const Segment& one : transfers) contents_.files[one.file]->drop(one.offset, one.bytes);
  }

 private:
  // Neighbours that were asked for together, and how many of those that are in files are still to be read.
  struct Group {
    std::size_t first, end, unread;
    std::vector<Segment> transfers;
  };

  std::uint64_t bytes_of(std::size_t p) const {
    std::uint64_t sum = 0;
    for (const Segment& segment : contents_.partitions[p].segments) sum += segment.bytes;
    return sum;
  }

  // The next partitions, and what they have in files.
  Group next() {
    Group group{end_, end_, 0, {}};
    std::vector<Segment>& all = group.transfers;
    for (const std::uint64_t before = asked_; end_ < contents_.partitions.size() && asked_ < before + at_once; ++end_) {
      const std::vector<Segment>& some = contents_.partitions[end_].segments;
      all.insert(all.end(), some.begin(), some.end());
      group.unread += some.empty() ? 0 : 1;
      asked_ += bytes_of(end_);
    }
    group.end = end_;
    std::sort(all.begin(), all.end(), [](const Segment& a, const Segment& b) {
      return a.file != b.file ? a.file < b.file : a.offset < b.offset;
    });
    std::size_t n = 0;
    for (const Segment& segment : all) {
      const bool goes_on = n > 0 && all[n - 1].file == segment.file &&
                           all[n - 1].offset + all[n - 1].bytes == segment.offset &&
                           all[n - 1].bytes + std::uint64_t{segment.bytes} <= at_once;
      if (goes_on)
        all[n - 1].bytes += segment.bytes;
      else
        all[n++] = segment;
    }
    all.resize(n);
    return group;
  }

  const Contents& contents_;
  const bool is_wanted_;
  std::mutex mutex_{};
  std::size_t end_ = 0;                  // of the partitions that were asked for
  std::uint64_t asked_ = 0, begun_ = 0;  // bytes
  std::vector<Group> groups_{};          // of which a partition is still to be read
};

}  // namespace scratch::inline SCRATCH_ABI::detail
