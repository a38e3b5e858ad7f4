// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Appends records to partitions, as one thread does it.
//
// Records wait in a stage, by partition, until they are a granule: whole lines of the cache, which then go to a chunk
// past the cache. The stage fits the cache; the chunks are touched once. What needs a chunk and has none says so: the
// caller gets some, and goes on where it was.
//
// What was appended in a call can be taken back while the call lasts: full chunks of it are not handed over before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/memory/big_memory.hpp>
#include <scratch/detail/count/memory/chunk_pool.hpp>
#include <scratch/detail/count/memory/records.hpp>
#include <scratch/detail/text/little_endian.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Copies whole lines of the cache to where nobody looks soon.
inline void stream_lines(std::byte* to, const std::byte* from, std::size_t size) {
#if defined(__x86_64__)
  using Sixteen [[gnu::vector_size(16), gnu::may_alias]] = long long;
  auto* const out = reinterpret_cast<Sixteen*>(to);
  const auto* const in = reinterpret_cast<const Sixteen*>(from);
  for (std::size_t i = 0; i < size / 16; ++i) {
#if defined(__clang__)
    __builtin_nontemporal_store(in[i], out + i);
#else
    __builtin_ia32_movntdq(out + i, in[i]);
#endif
  }
#else
  std::memcpy(to, from, size);
#endif
}
/// What was streamed is there for others who get to know of it afterwards.
inline void end_streaming() {
#if defined(__x86_64__)
  __builtin_ia32_sfence();
#endif
}

class Appender {
 public:
  Appender(ChunkPool& pool, const Records& records) : pool_(&pool), records_(records) {}
  Appender(const Appender&) = delete;
  Appender& operator=(const Appender&) = delete;

  const Records& records() const { return records_; }

  /// Chunks to fill, and chunks that are full, whose owners are `owner_of(kind, partition)`.
  ChunkList free{}, full{};

  static std::uint32_t owner_of(Kind kind, std::size_t partition) {
    return static_cast<std::uint32_t>(partition << 2 | static_cast<std::size_t>(kind));
  }
  static Kind kind_of(std::uint32_t owner) { return static_cast<Kind>(owner & 3); }
  static std::size_t partition_of(std::uint32_t owner) { return owner >> 2; }

  bool has(Kind kind) const { return stage(kind).memory.data() != nullptr; }
  /// Records of this kind can be appended.
  /// @throws std::bad_alloc, Error ENOMEM
  void allow(Kind kind) {
    if (has(kind)) return;
    Stage made;
    const std::size_t n = records_.partitions();
    made.used.assign(n, 0);
    made.heads.assign(n, nullptr);
    made.chunks.assign(n, ChunkPool::none);
    made.memory = BigMemory(n * records_.granule_room() + ChunkPool::padding, false);
    stage(kind) = std::move(made);
  }

  /// Appends each key once.
  /// @returns how many were appended: fewer where a free chunk is needed
  /// @pre `plain` is allowed
  std::size_t append(const std::uint64_t* keys, std::size_t n) {
    switch (records_.size(Kind::plain)) {
      case 1:
        return append_plain<1>(keys, n);
      case 2:
        return append_plain<2>(keys, n);
      case 3:
        return append_plain<3>(keys, n);
      case 4:
        return append_plain<4>(keys, n);
      case 5:
        return append_plain<5>(keys, n);
      case 6:
        return append_plain<6>(keys, n);
      case 7:
        return append_plain<7>(keys, n);
      default:
        return append_plain<8>(keys, n);
    }
  }

  /// The same for 128 bits: records of 15 and 16 bytes are what partitions have, others what their splits have.
  std::size_t append(const UInt128* keys, std::size_t n) {
    switch (records_.size(Kind::plain)) {
      case 15:
        return append_plain<15>(keys, n);
      case 16:
        return append_plain<16>(keys, n);
      default:
        return append_plain<0>(keys, n);
    }
  }

  /// Records of counts that have no other bits can be appended.
  void allow_counts(std::uint64_t bits) {
    allow(Kind::counted);
    if (bits > records_.most_counted()) allow(Kind::large);
  }

  /// Appends each key as often as is said, save for those that come 0 times.
  /// @returns how many were appended, as above
  /// @pre the counts are allowed
  template <class Mixed>
  std::size_t append(const Mixed* keys, const std::uint64_t* counts, std::size_t n) {
    if constexpr (sizeof(Mixed) > 8)
      if (records_.is_tall()) return append_here<true>(keys, counts, n);
    return append_here<false>(keys, counts, n);
  }
  template <class Mixed>
  requires(!std::is_pointer_v<Mixed>) bool append(Mixed key, std::uint64_t count) {
    return append(&key, &count, 1) == 1;
  }

  /// Takes back what was appended last, in the opposite order. Only what was appended since `keep`.
  template <class Mixed>
  void take_back(Kind kind, Mixed key) {
    Stage& from = stage(kind);
    const std::size_t p = records_.of(key), size = records_.size(kind);
    if (from.used[p] == 0) {
      if (from.chunks[p] == ChunkPool::none) {
        const std::uint32_t chunk = take_from_fresh(owner_of(kind, p));
        from.chunks[p] = chunk;
        from.heads[p] = pool_->at(chunk) + records_.payload(kind, pool_->chunk_size());
      }
      const std::size_t granule = records_.granule_size(kind);
      from.heads[p] -= granule;
      std::memcpy(from.memory.data() + p * records_.granule_room(), from.heads[p], granule);
      from.used[p] = static_cast<std::uint16_t>(granule);
      if (from.heads[p] == pool_->at(from.chunks[p])) {
        free.push_front(*pool_, from.chunks[p]);
        from.chunks[p] = ChunkPool::none;
      }
    }
    from.used[p] = static_cast<std::uint16_t>(from.used[p] - size);
  }

  /// What was appended so far is not taken back.
  void keep() { full.splice_front(*pool_, fresh_); }

  /// What is in the stage, and in a chunk that is not full, of a partition.
  Bytes staged(Kind kind, std::size_t p) const {
    if (!has(kind)) return {};
    return {stage(kind).memory.data() + p * records_.granule_room(), stage(kind).used[p]};
  }
  Bytes in_chunk(Kind kind, std::size_t p) const {
    if (!has(kind) || stage(kind).chunks[p] == ChunkPool::none) return {};
    const std::byte* const begin = pool_->at(stage(kind).chunks[p]);
    return {begin, static_cast<std::size_t>(stage(kind).heads[p] - begin)};
  }
  /// Forgets them; the chunk is free.
  void clear(Kind kind, std::size_t p) {
    if (!has(kind)) return;
    stage(kind).used[p] = 0;
    if (stage(kind).chunks[p] == ChunkPool::none) return;
    free.push_front(*pool_, stage(kind).chunks[p]);
    stage(kind).chunks[p] = ChunkPool::none;
  }
  void clear(std::size_t p) {
    for (std::size_t k = 0; k < kinds; ++k) clear(static_cast<Kind>(k), p);
  }

 private:
  // @param Tall `Records::is_tall`
  template <bool Tall, class Mixed>
  std::size_t append_here(const Mixed* keys, const std::uint64_t* counts, std::size_t n) {
    Stage& to = stage(Kind::counted);
    std::byte* const memory = to.memory.data();
    std::uint16_t* const used = to.used.data();
    const CountedWords<Tall, Mixed> words(records_.rest_bits());
    const std::uint64_t most = records_.most_counted();
    constexpr std::size_t room = 64 * sizeof(Mixed), last = (Records::granule(Kind::counted) - 1) * sizeof(Mixed);
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint64_t count = counts[i];
      if (count - 1 >= most) [[unlikely]] {
        if (count != 0 && !append_large(keys[i], count)) return i;
        continue;
      }
      const std::size_t p = words.partition(keys[i]);
      const std::size_t at = used[p];
      store_mixed(memory + p * room + at, words.word(keys[i], count));
      if (at == last) [[unlikely]] {
        if (!put_granule(Kind::counted, p)) return i;
        continue;
      }
      used[p] = static_cast<std::uint16_t>(at + sizeof(Mixed));
    }
    return n;
  }

  struct Stage {
    BigMemory memory{};
    PlainVector<std::uint16_t> used{};    // bytes, by partition
    PlainVector<std::byte*> heads{};      // where the next granule goes
    PlainVector<std::uint32_t> chunks{};  // which that is in
  };
  Stage& stage(Kind kind) { return stages_[static_cast<std::size_t>(kind)]; }
  const Stage& stage(Kind kind) const { return stages_[static_cast<std::size_t>(kind)]; }

  // Of `Size` bytes, or of so many as the records say.
  template <unsigned Size, class Mixed>
  std::size_t append_plain(const Mixed* keys, std::size_t n) {
    Stage& to = stage(Kind::plain);
    std::byte* const memory = to.memory.data();
    std::uint16_t* const used = to.used.data();
    const unsigned shift = records_.rest_bits();
    const std::size_t size = Size > 0 ? Size : records_.size(Kind::plain), last = 63 * size;
    constexpr std::size_t room = 64 * sizeof(Mixed);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t p = partition_of<Size>(keys[i], shift);
      const std::size_t at = used[p];
      store_mixed(memory + p * room + at, keys[i]);
      if (at == last) [[unlikely]] {
        if (!put_granule(Kind::plain, p)) return i;
        continue;
      }
      used[p] = static_cast<std::uint16_t>(at + size);
    }
    return n;
  }

  template <unsigned Size, class Mixed>
  static std::size_t partition_of(Mixed key, unsigned shift) {
    if constexpr (Size > 8)  // so that the upper half tells it
      return static_cast<std::size_t>(high_half(key) >> (shift - 64));
    else
      return static_cast<std::size_t>(key >> shift);
  }

  template <class Mixed>
  [[gnu::noinline]] bool append_large(Mixed key, std::uint64_t count) {
    Stage& to = stage(Kind::large);
    const std::size_t p = records_.of(key), at = to.used[p], size = records_.size(Kind::large);
    records_.store(Kind::large, to.memory.data() + p * records_.granule_room() + at,
                   EntryOf<Mixed>{records_.rest_of(key), count});
    if (at + size == records_.granule_size(Kind::large)) return put_granule(Kind::large, p);
    to.used[p] = static_cast<std::uint16_t>(at + size);
    return true;
  }

  // The granule in the stage goes to the chunk; false, and it is as it was, where there is none.
  [[gnu::noinline]] bool put_granule(Kind kind, std::size_t p) {
    Stage& to = stage(kind);
    if (to.chunks[p] == ChunkPool::none) {
      if (free.empty()) return false;
      to.chunks[p] = free.pop_front(*pool_);
      to.heads[p] = pool_->at(to.chunks[p]);
    }
    const std::size_t granule = records_.granule_size(kind);
    stream_lines(to.heads[p], to.memory.data() + p * records_.granule_room(), granule);
    to.heads[p] += granule;
    to.used[p] = 0;
    const std::uint32_t chunk = to.chunks[p];
    if (static_cast<std::size_t>(to.heads[p] - pool_->at(chunk)) + granule > pool_->chunk_size()) {
      pool_->set_owner(chunk, owner_of(kind, p));
      fresh_.push_front(*pool_, chunk);
      to.chunks[p] = ChunkPool::none;
    }
    return true;
  }

  // The newest full chunk of an owner is its last one that is not kept.
  std::uint32_t take_from_fresh(std::uint32_t owner) {
    ChunkList before;
    while (pool_->owner(fresh_.first) != owner) before.push_front(*pool_, fresh_.pop_front(*pool_));
    const std::uint32_t found = fresh_.pop_front(*pool_);
    while (!before.empty()) fresh_.push_front(*pool_, before.pop_front(*pool_));
    return found;
  }

  ChunkPool* pool_;
  Records records_;
  Stage stages_[kinds];
  ChunkList fresh_{};  // full since `keep`
};

}  // namespace scratch::inline SCRATCH_ABI::detail
