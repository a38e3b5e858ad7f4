// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Reads a file from its start to its end through an engine, ahead of its caller, and checks each block before it is
// seen.
//
// Block i of the file is read into the engine's buffer i modulo depth: as long as the caller looks at one, the others
// are filled. A posix engine, which reads when asked, sums each piece while it is in the cache. A file of less than
// 256 KiB needs no engine.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/chunk_info.hpp>
#include <scratch/detail/bytes/block_sums.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/bytes/postfix.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/engine/posix_io.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// @throws Error `checksum_mismatch`, naming file and offset, unless the block has this sum
inline void check_block(std::uint64_t found, std::uint64_t recorded, const std::filesystem::path& file,
                        const ChunkLayout& layout, std::uint64_t i) {
  if (found == recorded) return;
  throw_error(errc::checksum_mismatch, "read", file,
              "block " + std::to_string(i) + ", the " + std::to_string(layout.size_of(i)) + " bytes from offset " +
                  std::to_string(layout.offset(i)) + ": " + checksum_text(recorded) + " is on record, " +
                  checksum_text(found) + " was found");
}

[[noreturn]] inline void throw_cut_short(const std::filesystem::path& file, std::uint64_t end, std::uint64_t size) {
  throw_error(errc::corrupt, "read", file,
              "it ends at " + std::to_string(end) + ", " + std::to_string(size) + " bytes were expected");
}

/// For one thread. After an error of reading the same block is asked for again by the next call; a block that is not as
/// recorded is passed over.
class BlockReader {
 public:
  /// @param layout what is read; without sums its blocks get the size that suits the engine
  /// @param sums   of the blocks; empty: nothing is checked
  BlockReader(const Directory& where, Fd file, std::filesystem::path path, ChunkLayout layout,
              std::vector<std::uint64_t> sums)
      : place_(where.shared_state()),
        file_(std::move(file)),
        path_(std::move(path)),
        layout_(layout),
        sums_(std::move(sums)) {
    if (layout_.size < small) {
      if (sums_.empty()) layout_.block = small;
      slots_.resize(1);
      return;
    }
    engine_.emplace(where.lease());
    slots_.resize(io().depth());
    if (sums_.empty())
      layout_.block = slots_.size() == 1
                          ? small
                          : std::clamp(engine_->fair_share() / slots_.size() / small * small, small, Io::buffer_size);
    if (io().direct() && layout_.block % io().alignment() == 0) {
      // Not by changing this open file: whoever else reads from it would have to align what he reads.
      Fd direct(sys::reopen(file_.get(), O_RDONLY | O_DIRECT));
      direct_ = static_cast<bool>(direct);
      if (direct_) file_ = std::move(direct);
    }
    if (!direct_) sys::fadvise(file_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  BlockReader(const BlockReader&) = delete;
  BlockReader& operator=(const BlockReader&) = delete;

  /// The next block, or where memory is scarce a part of it, valid until the next call; empty at the end.
  Bytes next() {
    check_process();
    if (next_ == layout_.count()) return {};
    if (given_of_block_ > 0) return next_part();
    if (slots_[next_ % slots_.size()].block != next_ && is_scarce()) {
      become_scarce();
      check_by_parts();
      return next_part();
    }
    scarce_ = false;
    return slots_.size() == 1 ? next_now() : next_ahead();
  }

  /// Goes on with the block that has this offset. Returns how many of its bytes come before that.
  std::size_t seek(std::uint64_t offset) {
    forget_ahead();
    next_ = std::min(offset / layout_.block, layout_.count());
    given_of_block_ = 0;
    return offset % layout_.block;
  }

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return layout_.size; }

  /// @throws Error `forked_object`
  void check_process() const {
    if (!made_here_.is_true()) throw_error(errc::forked_object, "read", path_);
  }

 private:
  static constexpr std::size_t small = 256_KiB;
  static constexpr std::size_t piece = 128_KiB;
  static constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();

  // What stands, or will stand, in a buffer.
  struct Slot {
    std::uint64_t block = none;
    std::size_t size = 0;
    int error = 0;
    bool busy = false;
  };

  Io& io() const { return **engine_; }

  std::size_t size_of(std::uint64_t i) const { return layout_.size_of(i); }

  MutableBytes buffer(std::size_t i) {
    if (engine_) return io().buffer(static_cast<unsigned>(i));
    return own_.size() > 0 ? MutableBytes(own_.data(), own_.size()) : own_.resize_for(layout_.size_of(0));
  }

  std::size_t aligned(std::size_t size) const {
    const std::size_t unit = engine_ && io().direct() ? io().alignment() : 1;
    return (size + unit - 1) / unit * unit;
  }

  static std::uint64_t sum_of(Bytes bytes) {
    BlockSums sum;
    sum.update(bytes);
    return sum.whole();
  }

  // Ahead of the caller, by a ring: block i in buffer i modulo depth.
  Bytes next_ahead() {
    const std::uint64_t i = next_;
    const std::uint64_t most = std::clamp<std::uint64_t>(engine_->fair_share() / layout_.block, 1, slots_.size());
    if (slots_[i % slots_.size()].block != i) start(i);
    for (std::uint64_t ahead = i + 1; ahead < std::min(i + most, layout_.count()); ++ahead) {
      if (slots_[ahead % slots_.size()].block == ahead) continue;
      try {
        start(ahead);
      } catch (const Error&) {  // the one that is wanted is on its way
        break;
      }
    }
    Slot& slot = slots_[i % slots_.size()];
    while (slot.busy) collect();
    const std::uint64_t came = slot.size;
    if (slot.error != 0 || came < layout_.size_of(i)) slot.block = none;
    if (slot.error != 0) throw_error(slot.error, "read", path_, "at offset " + std::to_string(layout_.offset(i)));
    if (came < layout_.size_of(i)) throw_cut_short(path_, layout_.offset(i) + came, layout_.size);
    const Bytes bytes = buffer(i % slots_.size()).first(size_of(i));
    ++next_;
    if (!sums_.empty()) check_block(sum_of(bytes), sums_[i], path_, layout_, i);
    return bytes;
  }

  void start(std::uint64_t i) {
    const auto n = static_cast<unsigned>(i % slots_.size());
    slots_[n] = {};
    io().start({Transfer::Kind::read, file_.get(), layout_.offset(i), buffer(n).data(), aligned(size_of(i)), n});
    slots_[n] = {i, 0, 0, true};
  }

  void collect() {
    const Completion completion = io().finish();
    Slot& slot = slots_[completion.tag];
    slot.size = completion.size;
    slot.error = completion.error;
    slot.busy = false;
  }

  // When asked, summed while it is in the cache.
  Bytes next_now() {
    const std::uint64_t i = next_;
    const MutableBytes to = buffer(0).first(size_of(i));
    const std::uint64_t sum = read_block(i, [&](std::size_t at) { return to.data() + at; });
    ++next_;
    if (!sums_.empty()) check_block(sum, sums_[i], path_, layout_, i);
    return to;
  }

  // Piece by piece, each to where `place(its offset in the block)` is. Gives the sum.
  template <class Place>
  std::uint64_t read_block(std::uint64_t i, Place place) {
    BlockSums sum;
    for (std::size_t at = 0; at < size_of(i); at += piece) {
      const MutableBytes part(place(at), std::min(piece, size_of(i) - at));
      read_now(layout_.offset(i) + at, part);
      if (!sums_.empty()) sum.update(part);
    }
    return sums_.empty() ? 0 : sum.whole();
  }

  // @pre nothing is in flight; there is room behind `to` for what alignment adds
  void read_now(std::uint64_t offset, MutableBytes to) {
    const Transfer transfer{Transfer::Kind::read, file_.get(), offset, to.data(), aligned(to.size()), 0};
    Completion completion;
    if (engine_) {
      io().start(transfer);
      completion = io().finish();
    } else {
      completion = PosixIo::perform(transfer);
    }
    if (completion.size >= to.size()) return;
    if (completion.error != 0) throw_error(completion.error, "read", path_, "at offset " + std::to_string(offset));
    throw_cut_short(path_, offset + completion.size, layout_.size);
  }

  // Where so many read at once that a block each is more than there is: a block is read and checked piece by piece, then
  // read again and given in parts.
  bool is_scarce() const {
    return engine_ && !sums_.empty() && layout_.block > small && engine_->fair_share() < layout_.block;
  }

  void become_scarce() {
    if (std::exchange(scarce_, true)) return;
    forget_ahead();
    io().drop_buffers();
  }

  void forget_ahead() {
    while (engine_ && io().in_flight() > 0) collect();
    for (Slot& slot : slots_) slot = {};
  }

  void check_by_parts() {
    const std::uint64_t i = next_;
    std::byte* const place = buffer(0).data();
    const std::uint64_t sum = read_block(i, [&](std::size_t) { return place; });
    if (sum == sums_[i]) return;
    ++next_;
    check_block(sum, sums_[i], path_, layout_, i);
  }

  Bytes next_part() {
    const std::size_t at = given_of_block_;
    const std::size_t n = std::min(small, size_of(next_) - at);
    const MutableBytes to = buffer(0).first(n);
    read_now(layout_.offset(next_) + at, to);
    given_of_block_ += n;
    if (given_of_block_ == size_of(next_)) {
      given_of_block_ = 0;
      ++next_;
    }
    return to;
  }

  std::shared_ptr<const void> place_;  // before the file: a session is gone only when nothing in it is open
  Fd file_;
  std::optional<EnginePool::Lease> engine_{};  // after the file: transfers in flight end before it is closed
  std::filesystem::path path_;
  ChunkLayout layout_;
  std::vector<std::uint64_t> sums_;
  std::vector<Slot> slots_{};  // by buffer
  ByteBuffer own_{};           // of a small file, which needs no engine
  MadeHere made_here_{};
  std::uint64_t next_ = 0;          // block to be given
  std::size_t given_of_block_ = 0;  // bytes of it, where it is given in parts
  bool direct_ = false;
  bool scarce_ = false;
};

/// Bytes from anywhere in a file of blocks with sums. Thread-safe, and needs no memory to speak of.
///
/// Whoever first reads from a block reads and checks it whole; afterwards only what is asked for is read.
class BlockPicker {
 public:
  BlockPicker(const Fd& file, const std::filesystem::path& path, ChunkLayout layout,
              const std::vector<std::uint64_t>& sums)
      : file_(file), path_(path), layout_(layout), sums_(sums), checked_(layout.count()) {}

  /// @pre all of it lies within the file
  /// @throws Error `checksum_mismatch`, `corrupt` where the file became shorter, what the kernel says
  void read(std::uint64_t offset, MutableBytes to) {
    while (!to.empty()) {
      const std::uint64_t i = offset / layout_.block;
      const std::size_t in_block = offset - layout_.offset(i);
      const std::size_t n = std::min<std::size_t>(to.size(), layout_.size_of(i) - in_block);
      if (checked_[i].load(std::memory_order_acquire))
        read_all(offset, to.first(n));
      else
        read_and_check(i, in_block, to.first(n));
      to = to.subspan(n);
      offset += n;
    }
  }

 private:
  static constexpr std::size_t piece = 64_KiB;

  void read_all(std::uint64_t offset, MutableBytes to) const {
    const sys::Moved moved = sys::pread_all(file_.get(), to, offset);
    if (moved.size == to.size()) return;
    if (moved.error != 0) throw_error(moved.error, "read", path_, "at offset " + std::to_string(offset));
    throw_cut_short(path_, offset + moved.size, layout_.size);
  }

  // What is given are the bytes that were summed.
  void read_and_check(std::uint64_t i, std::size_t wanted, MutableBytes to) {
    PlainVector<std::byte> memory;
    memory.resize(piece);
    BlockSums sum;
    const std::size_t size = layout_.size_of(i);
    for (std::size_t at = 0; at < size; at += piece) {
      const MutableBytes part(memory.data(), std::min(piece, size - at));
      read_all(layout_.offset(i) + at, part);
      sum.update(part);
      const std::size_t begin = std::max(at, wanted);
      const std::size_t end = std::min(at + part.size(), wanted + to.size());
      if (begin < end) std::memcpy(to.data() + (begin - wanted), part.data() + (begin - at), end - begin);
    }
    check_block(sum.whole(), sums_[i], path_, layout_, i);
    checked_[i].store(true, std::memory_order_release);
  }

  const Fd& file_;
  const std::filesystem::path& path_;
  ChunkLayout layout_;
  const std::vector<std::uint64_t>& sums_;
  std::vector<std::atomic<bool>> checked_;  // by block
};

/// Goes through what `Reader::next_block` gives.
template <class Reader>
class BlockIterator : public Postfix<BlockIterator<Reader>> {
 public:
  using value_type = Bytes;
  using difference_type = std::ptrdiff_t;
  using iterator_concept = std::input_iterator_tag;

  BlockIterator() = default;
  explicit BlockIterator(Reader& reader) : reader_(&reader), bytes_(reader.next_block()) {}

  Bytes operator*() const { return bytes_; }
  BlockIterator& operator++() {
    bytes_ = reader_->next_block();
    return *this;
  }
  using Postfix<BlockIterator>::operator++;
  friend bool operator==(const BlockIterator& it, std::default_sentinel_t) { return it.bytes_.empty(); }

 private:
  Reader* reader_ = nullptr;
  Bytes bytes_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
