// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A temporary file that bytes are appended to, and that a thread writes in the background.
#pragma once

#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/block_buffers.hpp>
#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/kernel/thread.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/reservation.hpp>
#include <scratch/engine/io.hpp>
#include <scratch/engine/posix_io.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Whether what is written goes through the page cache.
enum class PageCache : std::uint8_t {
  used,      ///< for bytes that are read soon, or in small pieces
  bypassed,  ///< for bytes that a `SpillReader` reads once; where the workspace's engine uses it, this does, too
};

/// Bytes go into buffers of 1 MiB, and a thread of its own writes full ones while the next one is filled. A buffer that
/// could not be written stays in memory and is tried again: no byte is lost to a full disk.
/// Appending is for one thread at a time; reading is for any number, when nothing is appended meanwhile.
class AppendFile {
 public:
  static constexpr std::size_t buffer_size = 1_MiB;
  static constexpr std::size_t buffer_count = 4;
  /// What can be reserved at once.
  static constexpr std::size_t most_reserved = buffer_size * (buffer_count - 1);

  /// @param shown what errors call the file
  /// @param doing what errors say was attempted: "spill counts of"
  AppendFile(const Directory& directory, std::filesystem::path shown, std::string doing,
             PageCache page_cache = PageCache::used)
      : directory_(directory),
        shown_(std::move(shown)),
        doing_(std::move(doing)),
        page_cache_(page_cache),
        file_(directory.fd(), directory.path(), directory.durable(), doing_, directory.file_mode()),
        reservation_(directory.reservation()) {}
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  ~AppendFile() {
    if (!made_here_.is_true()) {
      writer_.forget();
      return;
    }
    stop_writer();
  }

  /// Bytes appended so far.
  std::uint64_t size() const noexcept { return size_; }
  const Directory& directory() const noexcept { return directory_; }
  const std::filesystem::path& shown() const noexcept { return shown_; }
  int fd() const noexcept { return file_.fd(); }
  /// What offsets, sizes and memory of a read must be multiples of: 1 where the page cache is used.
  std::size_t alignment() const noexcept { return alignment_; }

  /// The next `n` bytes can be appended without fail.
  /// @pre `n <= most_reserved`
  /// @throws Error quota_exceeded, or why bytes appended before could not be written; nothing is lost, try again
  void reserve(std::size_t n) {
    if (size_ + n > reservation_.bytes()) {
      directory_.check();
      reservation_.extend(size_ + n - reservation_.bytes(), doing_, shown_);
    }
    std::unique_lock lock(mutex_);
    const auto room = [&] {
      std::size_t free = filling_ ? buffer_size - buffers_[*filling_].used : 0;
      for (const Buffer& buffer : buffers_)
        if (buffer.state == State::free) free += buffer_size;
      return free;
    };
    wait_until(lock, [&] { return room() >= n; });
    for (std::size_t i = 0; i < buffer_count; ++i) (*memory_)[i];
  }

  /// @pre reserved
  void append(Bytes bytes) noexcept {
    while (!bytes.empty()) {
      if (!filling_) begin_buffer();
      Buffer& buffer = buffers_[*filling_];
      const std::size_t n = std::min(bytes.size(), buffer_size - buffer.used);
      std::memcpy((*memory_)[*filling_].data() + buffer.used, bytes.data(), n);
      buffer.used += n;
      size_ += n;
      bytes = bytes.subspan(n);
      if (buffer.used == buffer_size) queue_buffer();
    }
  }

  /// `reserve` and `append`, in pieces.
  void write(Bytes bytes) {
    while (!bytes.empty()) {
      const std::size_t n = std::min(bytes.size(), buffer_size);
      reserve(n);
      append(bytes.first(n));
      bytes = bytes.subspan(n);
    }
  }

  /// Everything appended so far is in the file afterwards.
  /// @throws Error as `reserve`
  void flush() {
    std::unique_lock lock(mutex_);
    wait_until(lock, [&] { return pending() == 0; });
    if (filling_) {
      const Buffer& buffer = buffers_[*filling_];
      const std::size_t padded = (buffer.used + alignment_ - 1) / alignment_ * alignment_;
      write_now(Bytes((*memory_)[*filling_]).first(padded), buffer.offset);
    }
  }

  /// Nothing more will be appended: the buffers' memory and the thread go.
  /// @pre flushed
  void finish_appending() noexcept {
    stop_writer();
    filling_.reset();
    memory_.reset();
  }

  /// The bytes are not needed any more. The writer's thread closes the file, which can take as long as reading it where
  /// the disk is told which of its blocks are free; they are free when this dies at the latest.
  void discard() noexcept {
    reservation_.release(reservation_.bytes());
    dropped_ = true;
    if (writer_.joinable())
      tell_writer_to_stop();
    else
      file_.discard();
  }

  /// Replaces bytes that were flushed. @pre `alignment() == 1`
  void overwrite(std::uint64_t offset, Bytes bytes) {
    if (filling_ && buffers_[*filling_].offset < offset + bytes.size()) {
      Buffer& buffer = buffers_[*filling_];
      if (offset >= buffer.offset && offset + bytes.size() <= buffer.offset + buffer.used)
        std::memcpy((*memory_)[*filling_].data() + (offset - buffer.offset), bytes.data(), bytes.size());
    }
    write_now(bytes, offset);
  }

  /// Reads bytes that were flushed. @pre `alignment() == 1`
  void read(std::uint64_t offset, MutableBytes to) const {
    const sys::Moved moved = sys::pread_all(file_.fd(), to, offset);
    if (moved.error != 0) throw_error(moved.error, "read back what was spilled of", shown_);
    if (moved.size < to.size())
      throw_error(errc::corrupt, "read back what was spilled of", shown_, "the temporary file became shorter");
  }

  /// The same open file, for a reader of what was flushed.
  Fd duplicate() const {
    Fd copy(sys::duplicate(file_.fd()));
    if (!copy) throw_error(errno, doing_, shown_, open_files_hint(errno));
    return copy;
  }

  /// Gives the flushed file its name.
  /// @throws Error TempFile::commit's
  void commit(const std::string& name, Replacing replacing) {
    struct stat old {};
    const bool replaced = sys::fstatat(directory_.fd(), name.c_str(), old) == 0 && S_ISREG(old.st_mode) &&
                          directory_.state().is_ours(directory_.fd(), name, directory_.relative(name));
    directory_.check_free(name, "commit");
    directory_.committing(name, file_.fd());
    file_.commit(name, replacing);
    reservation_.commit();
    if (replaced) directory_.state().quota().removed(static_cast<std::uint64_t>(old.st_size));
    directory_.still_on_record(name);
  }

 private:
  static constexpr std::size_t page = 4096;  // what a buffer's memory is aligned to

  enum class State : std::uint8_t { free, filling, queued, failed };
  struct Buffer {
    State state = State::free;
    std::uint64_t offset = 0;
    std::size_t used = 0;
    int error = 0;
  };

  std::size_t pending() const {
    std::size_t n = 0;
    for (const Buffer& buffer : buffers_) n += buffer.state == State::queued || buffer.state == State::failed;
    return n;
  }

  void begin_buffer() noexcept {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < buffer_count; ++i) {
      if (buffers_[i].state != State::free) continue;
      buffers_[i] = {State::filling, size_, 0, 0};
      filling_ = i;
      return;
    }
  }

  void queue_buffer() noexcept {
    const std::lock_guard lock(mutex_);
    buffers_[*filling_].state = State::queued;
    filling_.reset();
    changed_.notify_all();
  }

  // Waits until `done`. Buffers that failed before are written again, and again whenever on_full says that there is room.
  template <class Done>
  void wait_until(std::unique_lock<std::mutex>& lock, Done done) {
    start_writer(lock);
    retry_failed();
    while (!done()) {
      if (!writer_.joinable() && write_next()) continue;
      changed_.wait(lock, [&] { return done() || failure() != nullptr; });
      const Buffer* const buffer = failure();
      if (buffer == nullptr || done()) continue;
      const int error = buffer->error;
      lock.unlock();
      directory_.state().make_room(buffer_size, error, doing_, shown_);
      lock.lock();
      retry_failed();
    }
  }

  void retry_failed() {
    if (failure() == nullptr) return;
    for (Buffer& buffer : buffers_)
      if (buffer.state == State::failed) buffer.state = State::queued;
    changed_.notify_all();
  }

  Buffer* failure() {
    for (Buffer& buffer : buffers_)
      if (buffer.state == State::failed) return &buffer;
    return nullptr;
  }

  void write_now(Bytes bytes, std::uint64_t offset) {
    while (const int error = sys::pwrite_all(file_.fd(), bytes, offset).error)
      directory_.state().make_room(bytes.size(), error, doing_, shown_);
  }

  // Without a thread: writes one queued buffer here. False when there is none.
  bool write_next() {
    for (std::size_t i = 0; i < buffer_count; ++i) {
      Buffer& buffer = buffers_[i];
      if (buffer.state != State::queued) continue;
      buffer.error = sys::pwrite_all(file_.fd(), Bytes((*memory_)[i]).first(buffer.used), buffer.offset).error;
      buffer.state = buffer.error == 0 ? State::free : State::failed;
      return true;
    }
    return false;
  }

  // The thread is made for the first full buffer: a file that stays small has none.
  void start_writer(std::unique_lock<std::mutex>& lock) {
    if (writer_.joinable() || no_writer_ || pending() == 0) return;
    lock.unlock();
    try {
      auto engine = directory_.lease();
      if (page_cache_ == PageCache::bypassed && engine->direct()) go_direct(engine->alignment());
      writer_ = Thread([this, engine = std::move(engine)]() mutable {
        // One buffer at a time keeps a disk as busy as the filling of buffers can. And their memory is not the
        // engine's, so that a ring must not be given it.
        PosixIo own;
        write_buffers(engine->depth() > 1 ? static_cast<Io&>(own) : *engine);
      });
    } catch (const std::exception&) {  // no thread, no ring: the caller's thread writes
      no_writer_ = true;
    }
    lock.lock();
  }

  void go_direct(std::size_t alignment) {
    const int flags = sys::file_flags(file_.fd());
    if (alignment > page || flags < 0 || sys::set_file_flags(file_.fd(), flags | O_DIRECT) != 0) return;
    alignment_ = alignment;
  }

  void write_buffers(Io& io) {
    std::array<bool, buffer_count> started{};
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stopping_ || io.in_flight() > 0 || next_queued(started) < buffer_count; });
      if (stopping_) break;
      for (std::size_t i = next_queued(started); i < buffer_count && io.in_flight() < io.depth();
           i = next_queued(started)) {
        started[i] = true;
        const Transfer transfer{Transfer::Kind::write, file_.fd(),  buffers_[i].offset,
                                (*memory_)[i].data(),  buffer_size, i};
        lock.unlock();
        io.start(transfer);
        lock.lock();
      }
      lock.unlock();
      const Completion done = io.finish();
      lock.lock();
      Buffer& buffer = buffers_[done.tag];
      started[done.tag] = false;
      buffer.error = done.error != 0 ? done.error : done.size < buffer_size ? ENOSPC : 0;
      buffer.state = buffer.error == 0 ? State::free : State::failed;
      changed_.notify_all();
    }
    lock.unlock();
    while (io.in_flight() > 0) io.finish();
    if (dropped_) file_.discard();
  }

  std::size_t next_queued(const std::array<bool, buffer_count>& started) const {
    std::size_t best = buffer_count;
    for (std::size_t i = 0; i < buffer_count; ++i)
      if (buffers_[i].state == State::queued && !started[i] &&
          (best == buffer_count || buffers_[i].offset < buffers_[best].offset))
        best = i;
    return best;
  }

  void tell_writer_to_stop() noexcept {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  void stop_writer() noexcept {
    if (!writer_.joinable()) return;
    tell_writer_to_stop();
    writer_.join();
  }

  Directory directory_;
  std::filesystem::path shown_;
  std::string doing_;
  PageCache page_cache_;
  std::size_t alignment_ = 1;
  TempFile file_;
  Reservation reservation_;
  MadeHere made_here_;
  std::uint64_t size_ = 0;
  std::unique_ptr<BlockBuffers> memory_ = std::make_unique<BlockBuffers>(buffer_count, buffer_size);
  std::array<Buffer, buffer_count> buffers_;
  std::optional<std::size_t> filling_;
  std::mutex mutex_;
  Condition changed_;
  bool stopping_ = false;
  bool dropped_ = false;  // set before `stopping_`
  bool no_writer_ = false;
  Thread writer_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
