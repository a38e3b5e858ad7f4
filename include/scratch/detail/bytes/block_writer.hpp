// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Writes a file from its start to its end through an engine.
//
// A posix engine gets the bytes in pieces that stay in the cache between being summed and being written, straight from
// the caller's memory where they are many. A ring gets its own buffers, filled and summed piece by piece, as many in
// flight as pay. With O_DIRECT every transfer but the last is aligned; the last one is padded, and the file cut to
// size. A file of less than 256 KiB needs no engine: its bytes are collected, and written through the page cache. Where
// an engine is at hand, which was waited for before, that holds below 16 KiB: buffers that exist are better filled at
// once than after a copy.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/block_sums.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/bytes/file_room.hpp>
#include <scratch/detail/bytes/pending_writes.hpp>
#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/engine/posix_io.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// An error of writing ends it: every later call throws that error again. After one of naming or recording `commit` may
/// be called again, and bytes may be added before.
class BlockWriter {
 public:
  /// @param doing what an error says failed: "write the chunk"
  /// @param file  what an error calls the file
  /// @param block the bytes are summed, in blocks of this size; 0: not at all
  BlockWriter(Directory where, const char* doing, std::filesystem::path file, std::size_t block)
      : where_(std::move(where)), doing_(doing), file_(std::move(file)) {
    where_.check();
    temp_.emplace(with_room(where_, doing_, file_, [&] {
      return TempFile(where_.fd(), where_.path(), where_.durable(), doing_, where_.file_mode(),
                      &where_.state().lacks());
    }));
    if (block != 0) sums_.emplace(block);
  }
  BlockWriter(const BlockWriter&) = delete;
  BlockWriter& operator=(const BlockWriter&) = delete;
  ~BlockWriter() { discard(); }

  const Directory& where() const { return where_; }
  const std::filesystem::path& file() const { return file_; }
  std::uint64_t size() const { return written_ + filled_ + collected_.size(); }
  BlockSums& sums() { return *sums_; }
  bool is_open() const { return temp_.has_value(); }

  void append(Bytes bytes) {
    begin();
    or_fail([&] {
      prepared_ = 0;
      if (engine_ || collected_.size() + bytes.size() >= most_collected())
        add(bytes);
      else
        collected_.append(bytes);
    });
  }

  /// `n` bytes to be filled, the engine's own where they can be.
  MutableBytes prepare(std::size_t n) {
    begin();
    if (n > Io::buffer_size)
      throw_error(EINVAL, doing_, file_, "prepare() lends at most 4 MiB, " + readable_size(n) + " were asked for");
    return or_fail([&] {
      if (!engine_ && collected_.size() + n < most_collected()) {
        prepared_ = n;
        return MutableBytes(collected_.prepare(n), n);
      }
      need_engine();
      if (filled_ + n > Io::buffer_size) flush();
      prepared_ = n;
      if (filled_ + n <= Io::buffer_size) return buffer().subspan(filled_, n);
      spare_.resize(Io::buffer_size);
      return MutableBytes(spare_).first(n);
    });
  }

  /// The first `n` of the bytes that `prepare` lent belong to the file now.
  void advance(std::size_t n) {
    check_usable();
    if (n > prepared_)
      throw_error(EINVAL, doing_, file_,
                  "advance() by " + std::to_string(n) + " bytes after prepare() of " + std::to_string(prepared_));
    if (!engine_) {
      prepared_ = 0;
      return collected_.advance(n);
    }
    if (filled_ + prepared_ > Io::buffer_size) return append(Bytes(spare_).first(n));
    prepared_ = 0;
    or_fail([&] { straight() ? write_filled(n) : add_filled(n); });
  }

  /// Room for `n` bytes in all is taken now.
  void reserve(std::uint64_t n) {
    check_usable();
    or_fail([&] { room_.reserve(temp_->fd(), n); });
    cut_ = true;
  }

  /// All bytes are in the file, which has its size.
  void finish() {
    check_usable();
    if (finished_) return;
    or_fail([&] {
      if (engine_)
        write_rest();
      else
        write_collected();
      if (cut_ && sys::ftruncate(temp_->fd(), written_) != 0) throw_error(errno, doing_, file_);
      room_.give_back(temp_->fd(), written_);
    });
    finished_ = true;
  }

  /// After `finish()`. @throws Error and then this may be tried again, unless the bytes are lost
  void commit(const std::string& name, Replacing replacing) {
    check_usable();
    where_.check();
    try {
      temp_->settle(name, replacing);
      with_room(where_, doing_, where_.file(name), [&] {
        const auto on_record = where_.committing(name, temp_->fd());
        temp_->give_name(name, replacing);
      });
      temp_->finish(name, replacing);
    } catch (const Error& error) {
      if (error.code().category() == std::generic_category()) where_.state().note_failure(error.code().value());
      if (temp_->fd() < 0) failed_ = error;
      throw;
    }
  }

  /// The bytes count towards the quota until the file is removed.
  void commit_reservation() { room_.commit(); }

  /// After a commit, or instead of one: nothing is left to be done here.
  void close() noexcept {
    engine_.reset();
    temp_.reset();
  }

  void discard() noexcept {
    if (!temp_) return;
    if (made_here_.is_true()) {
      try {
        while (engine_ && (*engine_)->in_flight() > 0) (*engine_)->finish();  // they write to our descriptor
      } catch (...) {
      }
    }
    close();
    room_.release();
  }

  /// @throws Error when this cannot be written to any more
  void check_usable() const {
    if (!made_here_.is_true()) throw_error(errc::forked_object, doing_, file_);
    if (failed_) throw Error(*failed_);
    if (interrupted_) throw_error(ECANCELED, doing_, file_, "it was interrupted by an exception before");
    if (!temp_) throw_error(EBADF, doing_, file_, "it was committed or discarded before");
  }

 private:
  static constexpr std::size_t piece = 128_KiB;  // stays in the second cache from summing to writing
  static constexpr std::size_t small = 256_KiB;  // below this no engine is worth making: the page cache is faster

  // What failed once left a gap: it is thrown again by whatever comes after.
  template <class Work>
  std::invoke_result_t<Work> or_fail(Work work) {
    try {
      return work();
    } catch (const Error& error) {
      failed_ = error;
      throw;
    } catch (...) {
      interrupted_ = true;
      throw;
    }
  }

  // More bytes come. After a commit that failed the file may end anywhere: no place for O_DIRECT to go on.
  void begin() {
    check_usable();
    if (!finished_) return;
    or_fail([&] {
      if (direct_on_) {
        const int flags = sys::file_flags(temp_->fd());
        if (flags < 0 || sys::set_file_flags(temp_->fd(), flags & ~O_DIRECT) != 0) throw_error(errno, doing_, file_);
      }
    });
    direct_on_ = false;
    direct_refused_ = true;
    temp_->unsettle();
    finished_ = false;
  }

  // The first engine of a workspace asks the disk and makes a ring; the next ones have buffers and are at hand.
  std::size_t most_collected() const { return where_.state().engines().is_in_use() ? 16_KiB : small; }

  void need_engine() {
    if (engine_) return;
    engine_.emplace(where_.lease());
    pending_.use(io());
    const ByteBuffer early = std::exchange(collected_, ByteBuffer());
    add(early.bytes());
  }

  void add(Bytes bytes) {
    need_engine();
    while (!bytes.empty()) {
      const bool from_caller = straight() && filled_ == 0 && bytes.size() >= to_boundary();
      const Bytes part = bytes.first(std::min({bytes.size(), straight() ? to_boundary() : room(), piece}));
      if (from_caller) {
        sum(part);
        write_now(part);
      } else {
        std::memcpy(buffer().data() + filled_, part.data(), part.size());
        add_filled(part.size());
      }
      bytes = bytes.subspan(part.size());
    }
  }

  void write_collected() {
    if (collected_.size() == 0) return;
    sum(collected_.bytes());
    write_now(collected_.bytes());
    collected_.clear();
  }

  void write_rest() {
    if (wants_direct() && !direct_on_ && filled_ >= small) go_direct();
    if (filled_ > 0 && (straight() || (!direct_on_ && filled_ < small))) {
      write_now(buffer().first(std::exchange(filled_, 0)));
    } else if (filled_ > 0) {
      const std::size_t padded = (filled_ + alignment() - 1) / alignment() * alignment();
      std::memset(buffer().data() + filled_, 0, padded - filled_);
      cut_ = cut_ || padded != filled_;
      start(padded, std::exchange(filled_, 0));
    }
    pending_.finish(alignment());
  }

  Io& io() const { return **engine_; }
  bool straight() const { return io().depth() == 1 && !io().direct(); }
  bool wants_direct() const { return io().direct() && !direct_refused_; }
  std::size_t alignment() const { return wants_direct() ? io().alignment() : 1; }
  MutableBytes buffer() { return io().buffer(current_); }

  std::size_t to_boundary() const { return piece - size() % piece; }

  // How much more the buffer takes before it is written: less where many writers share the memory.
  std::size_t room() const {
    const std::size_t limit = std::clamp(engine_->fair_share() / io().depth() / small * small, small, Io::buffer_size);
    return limit > filled_ ? limit - filled_ : 0;
  }

  void sum(Bytes bytes) {
    if (sums_) sums_->update(bytes);
  }

  // `n` more bytes stand in the buffer.
  void add_filled(std::size_t n) {
    for (std::size_t at = 0; at < n; at += piece) sum(buffer().subspan(filled_ + at, std::min(piece, n - at)));
    filled_ += n;
    if (straight() ? size() % piece == 0 : room() == 0) flush();
  }

  // The same for a posix engine and many bytes: each piece is written right after it was summed.
  void write_filled(std::size_t n) {
    const std::size_t end = filled_ + n;
    std::size_t begin = 0;
    std::size_t summed = filled_;
    filled_ = 0;
    while (true) {
      const std::size_t boundary = begin + to_boundary();
      const std::size_t stop = std::min(end, boundary);
      sum(buffer().subspan(summed, stop - summed));
      summed = stop;
      if (stop < boundary) break;
      write_now(buffer().subspan(begin, stop - begin));
      begin = stop;
    }
    std::memmove(buffer().data(), buffer().data() + begin, end - begin);
    filled_ = end - begin;
  }

  // Writes what is in the buffer; with O_DIRECT what is less than the alignment moves to the next buffer.
  void flush() {
    if (straight()) return write_now(buffer().first(std::exchange(filled_, 0)));
    if (wants_direct() && !direct_on_) go_direct();
    const std::size_t whole = filled_ / alignment() * alignment();
    if (whole == 0) return;
    std::byte tail[64_KiB];
    const std::size_t rest = filled_ - whole;
    std::memcpy(tail, buffer().data() + whole, rest);
    filled_ = 0;
    start(whole, whole);
    std::memcpy(buffer().data(), tail, rest);
    filled_ = rest;
  }

  void go_direct() {
    const int flags = sys::file_flags(temp_->fd());
    direct_on_ = io().alignment() <= 64_KiB && flags >= 0 && sys::set_file_flags(temp_->fd(), flags | O_DIRECT) == 0;
    direct_refused_ = !direct_on_;
  }

  // Writes bytes that are summed already, before it returns.
  void write_now(Bytes bytes) {
    room_.take(bytes.size());
    if (!direct_on_) room_.cover(temp_->fd(), written_ + bytes.size());
    Transfer transfer{
        Transfer::Kind::write, temp_->fd(), written_, const_cast<std::byte*>(bytes.data()), bytes.size(), 0};
    Askings askings;
    for (Completion done = move(transfer); done.error != 0; done = move(transfer)) {
      advance_past(transfer, done.size);
      where_.state().make_room(transfer.size, done.error, doing_, file_, askings);
    }
    written_ += bytes.size();
  }

  Completion move(const Transfer& transfer) {
    if (!engine_ || !straight()) return PosixIo::perform(transfer);
    io().start(transfer);
    return io().finish();
  }

  // Hands the current buffer to the engine, `size` bytes of it, `payload` of them the file's; takes a free buffer.
  void start(std::size_t size, std::size_t payload) {
    room_.take(payload);
    const Transfer transfer{Transfer::Kind::write, temp_->fd(), written_, buffer().data(), size, current_};
    written_ += payload;
    const std::size_t most = std::clamp<std::size_t>(engine_->fair_share() / size, 1, io().depth());
    current_ = pending_.start(transfer, most, alignment());
  }

  std::optional<BlockSums> sums_{};
  Directory where_;
  const char* doing_;
  std::filesystem::path file_;
  FileRoom room_{where_, doing_, file_};
  std::optional<TempFile> temp_{};
  std::optional<EnginePool::Lease> engine_{};
  std::optional<Error> failed_{};
  MadeHere made_here_{};
  PendingWrites pending_{where_, doing_, file_};
  std::vector<std::byte> spare_{};
  ByteBuffer collected_{};     // before there is an engine
  std::uint64_t written_ = 0;  // bytes handed to the engine
  std::size_t filled_ = 0;     // bytes in the current buffer
  std::size_t prepared_ = 0;
  unsigned current_ = 0;
  bool direct_on_ = false;
  bool direct_refused_ = false;
  bool cut_ = false;  // the file ends in padding
  bool finished_ = false;
  bool interrupted_ = false;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
