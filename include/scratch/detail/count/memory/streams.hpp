// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Streams of records in memory, one for each partition: pages, each linked to the next.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/memory/page_pool.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// One stream of records of the same size for each partition.
class Streams {
 public:
  static constexpr std::size_t page_size = PagePool::page_size;

  /// @param record size of a record; one may be stored with a whole word of `store` bytes
  Streams(PagePool& pool, std::size_t partitions, std::size_t record, std::size_t store)
      : pool_(&pool),
        record_(record),
        full_(full_mark(record, store)),
        heads_(partitions, nowhere()),
        lists_(partitions, List{}) {}

  std::size_t record() const { return record_; }
  /// Where the next record goes; where `is_full`, `extend` comes first.
  std::byte** heads() { return heads_.data(); }
  std::size_t full() const { return full_; }
  static bool is_full(const std::byte* head, std::size_t full) {
    return (reinterpret_cast<std::uintptr_t>(head) & (page_size - 1)) == full;
  }

  static constexpr std::size_t full_mark(std::size_t record, std::size_t store) {
    return std::min((page_size - store) / record + 1, (page_size - 1) / record) * record;
  }

  void extend(std::size_t partition, std::uint32_t page) {
    List& list = lists_[partition];
    if (list.pages == 0)
      list.first = page;
    else
      pool_->link(list.last, page);
    list.last = page;
    ++list.pages;
    heads_[partition] = pool_->at(page);
  }

  std::size_t bytes(std::size_t partition) const {
    const List& list = lists_[partition];
    return list.pages == 0
               ? 0
               : (list.pages - 1) * full_ + static_cast<std::size_t>(heads_[partition] - pool_->at(list.last));
  }
  std::size_t records(std::size_t partition) const { return bytes(partition) / record_; }
  std::size_t pages(std::size_t partition) const { return lists_[partition].pages; }

  /// Calls `visit(bytes)` for each page's records, in the order they came.
  template <class Visit>
  void for_each_piece(std::size_t partition, Visit visit) const {
    const List& list = lists_[partition];
    std::uint32_t page = list.first;
    for (std::size_t i = 0; i < list.pages; ++i) {
      const std::byte* start = pool_->at(page);
      page = pool_->next(page);
      if (i + 1 < list.pages) prefetch(pool_->at(page));
      visit(Bytes(start, i + 1 < list.pages ? full_ : static_cast<std::size_t>(heads_[partition] - start)));
    }
  }

  /// Gives back the first `n` pages.
  void clear_front(std::size_t partition, std::size_t n) {
    List& list = lists_[partition];
    for (; n > 0 && list.pages > 0; --n, --list.pages) {
      const std::uint32_t page = list.first;
      list.first = pool_->next(page);
      pool_->free(page);
    }
    if (list.pages == 0) heads_[partition] = nowhere();
  }
  void clear(std::size_t partition) { clear_front(partition, lists_[partition].pages); }
  void clear_all() {
    for (std::size_t p = 0; p < lists_.size(); ++p) clear(p);
  }

 private:
  struct List {
    std::uint32_t first = PagePool::none;
    std::uint32_t last = PagePool::none;
    std::size_t pages = 0;
  };

  // Pages follow each other at any address: what the processor asks for by itself ends with each.
  static void prefetch(const std::byte* page) {
    for (std::size_t i = 0; i < page_size / 4; i += 64) __builtin_prefetch(page + i);
  }

  // A partition without a page looks like one whose page is full.
  std::byte* nowhere() const {
    alignas(page_size) static std::byte none[page_size];
    return none + full_;
  }

  PagePool* pool_;
  std::size_t record_;
  std::size_t full_;
  PlainVector<std::byte*> heads_;
  PlainVector<List> lists_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
