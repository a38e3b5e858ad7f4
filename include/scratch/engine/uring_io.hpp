// SPDX-License-Identifier: MIT
// floor 2: engines
//
// The engine for disks: many transfers in flight in a ring, past the page cache.
//
// A ring can be missing at compile time, refused by the kernel, or die at any system call. Nobody who uses the engine
// notices: what the ring has not done, pread and pwrite do. Once a ring is dead,
//   1. completions that arrived are used as they are;
//   2. those of transfers in flight are waited for, a second at most: the kernel may still be moving those bytes;
//   3. the ring is closed, and with it what it had not begun (a refused entry stays queued in it: handing it in again
//      could write twice);
//   4. the rest is done here, each transfer from where it stood. A buffer that the kernel may still reach is never
//      used again.
#pragma once

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/bytes/block_buffers.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/engine/io.hpp>
#include <scratch/engine/posix_io.hpp>
#include <scratch/error.hpp>

#if defined(SCRATCH_WITH_URING) && SCRATCH_WITH_URING
#include <liburing.h>

namespace scratch::inline SCRATCH_ABI {

/// Moves bytes through an io_uring, O_DIRECT where the medium has it. As a policy: a ring wherever the kernel permits.
class UringIo final : public Io {
 public:
  /// @throws Error where the kernel refuses a ring: EPERM, ENOSYS, ENOMEM, EMFILE
  explicit UringIo(const Medium& medium) : medium_(medium) {
    const int result = ::io_uring_queue_init(transfers, &ring_, 0);
    if (result < 0) detail::throw_error(-result, "set up a ring (io_uring_setup)", {});
    made_here_ = detail::MadeHere();
  }
  UringIo(const UringIo&) = delete;
  UringIo& operator=(const UringIo&) = delete;

  ~UringIo() override {
    if (!has_ring() || !made_here_.is_true()) return;
    try {
      while (in_ring_ > 0 && has_ring()) complete_one();
    } catch (...) {  // without memory for a completion the kernel's close waits
    }
    if (has_ring()) ::io_uring_queue_exit(&ring_);
  }

  /// A ring, or the posix engine where there can be none.
  static std::unique_ptr<Io> make(const Medium& medium) {
    if (detail::posix_is_forced()) return std::unique_ptr<Io>(new PosixIo("SCRATCH_IO=posix"));
    try {
      return std::unique_ptr<Io>(new UringIo(medium));
    } catch (const Error& error) {
      const std::string why = "io_uring_setup: " + detail::errno_name(error.code().value());
      return std::unique_ptr<Io>(new PosixIo(why + detail::note_of_asked_io()));
    }
  }

  std::string describe() const override {
    if (!has_ring()) return "posix: " + why_no_ring_ + note_;
    return "io_uring: " + medium_.name + (direct() ? ", O_DIRECT" : "") + note_;
  }
  unsigned depth() const override { return transfers; }
  bool direct() const override { return medium_.direct_alignment != 0; }
  std::size_t alignment() const override { return direct() ? medium_.direct_alignment : 1; }

  void start(const Transfer& transfer) override {
    ready_.reserve(ready_.size() + transfers);  // from here on nothing throws
    buffers_.used(transfer.data, transfer.size);
    if (transfer.kind == Transfer::Kind::write && sys::over_file_size_limit(transfer.offset + transfer.size)) {
      ready_.push_back({transfer.tag, 0, EFBIG});
    } else if (!has_ring()) {
      ready_.push_back(perform(transfer, 0));
    } else {
      std::uint64_t slot = 0;
      while (slots_[slot].state != State::free) ++slot;
      slots_[slot] = {transfer, 0, State::queued};
      submit(slot);
    }
  }

  Completion finish() override {
    while (ready_.empty()) complete_one();
    const Completion completion = ready_.back();
    ready_.pop_back();
    return completion;
  }

  std::size_t in_flight() const override { return in_ring_ + ready_.size(); }

  MutableBytes buffer(unsigned i) override { return buffers_[i]; }
  std::size_t buffer_memory() const override { return buffers_.memory(); }
  void drop_buffers() noexcept override { buffers_.drop(); }
  std::size_t trim_buffers(std::size_t most) noexcept override { return buffers_.trim(most); }

 private:
  static constexpr unsigned transfers = 8;         // times 4 MiB: as much as a disk needs to be busy
  static constexpr std::uint64_t patience = 1000;  // milliseconds

  enum class State : std::uint8_t { free, queued, in_kernel };
  struct Slot {
    Transfer transfer;
    std::size_t done = 0;
    State state = State::free;
  };

  bool has_ring() const { return why_no_ring_.empty(); }

  void submit(std::uint64_t index) {
    Slot& slot = slots_[index];
    const Transfer& transfer = slot.transfer;
    if (slot.state == State::queued) ++in_ring_;
    io_uring_sqe* entry = ::io_uring_get_sqe(&ring_);
    std::byte* data = transfer.data + slot.done;
    const auto size = static_cast<unsigned>(transfer.size - slot.done);
    const std::uint64_t offset = transfer.offset + slot.done;
    if (transfer.kind == Transfer::Kind::read)
      ::io_uring_prep_read(entry, transfer.fd, data, size, offset);
    else
      ::io_uring_prep_write(entry, transfer.fd, data, size, offset);
    entry->user_data = index;
    slot.state = State::queued;
    int result = ::io_uring_submit(&ring_);
    while (result == -EINTR) result = ::io_uring_submit(&ring_);
    if (::io_uring_sq_ready(&ring_) == 0) slot.state = State::in_kernel;
    if (result < 0) leave_ring(result);
  }

  // Waits for a completion and hands it on.
  void complete_one() {
    io_uring_cqe* entry = nullptr;
    int result = ::io_uring_wait_cqe(&ring_, &entry);
    while (result == -EINTR) result = ::io_uring_wait_cqe(&ring_, &entry);
    if (result < 0)
      leave_ring(result);
    else
      complete(entry, true);
  }

  void complete(io_uring_cqe* entry, bool resubmit) {
    const std::uint64_t index = entry->user_data;
    const int result = entry->res;
    ::io_uring_cqe_seen(&ring_, entry);
    Slot& slot = slots_[index];
    const Transfer& transfer = slot.transfer;
    const bool read = transfer.kind == Transfer::Kind::read;
    if (result > 0) slot.done += static_cast<std::size_t>(result);
    slot.state = State::queued;
    const bool ended = result == 0 || (read && direct() && slot.done % alignment() != 0);
    if (slot.done == transfer.size || (ended && read))
      complete(slot, {transfer.tag, slot.done, 0});
    else if (ended)
      complete(slot, {transfer.tag, slot.done, ENOSPC});
    else if (result < 0 && is_for_us(-result))
      complete(slot, perform(transfer, slot.done));
    else if (result < 0)
      complete(slot, {transfer.tag, slot.done, -result});
    else if (resubmit)
      submit_rest(index);
  }

  void submit_rest(std::uint64_t index) {
    --in_ring_;
    submit(index);
  }

  // The ring's own reasons, not the file's.
  static bool is_for_us(int error) {
    return error == EAGAIN || error == EINTR || error == ECANCELED || error == EINVAL || error == EOPNOTSUPP ||
           error == ENOMEM || error == EPERM || error == EACCES || error == ENOBUFS;
  }

  void complete(Slot& slot, const Completion& completion) {
    ready_.push_back(completion);
    slot.state = State::free;
    --in_ring_;
  }

  void leave_ring(int result) {
    why_no_ring_ = "io_uring_enter: " + detail::errno_name(-result);
    const std::uint64_t begin = sys::steady_milliseconds();
    while (count_in_kernel() > 0) {
      unsigned head = 0;
      io_uring_cqe* found = nullptr;
      io_uring_cqe* entry = nullptr;
      io_uring_for_each_cqe(&ring_, head, entry) {
        found = entry;
        break;
      }
      if (found != nullptr)
        complete(found, false);
      else if (sys::steady_milliseconds() - begin >= patience)
        break;
      else
        sys::sleep_microseconds(100);
    }
    ::io_uring_queue_exit(&ring_);
    for (Slot& slot : slots_) {
      if (slot.state == State::free) continue;
      if (slot.state == State::in_kernel) {
        std::byte* const place = buffers_.retire(slot.transfer.data);
        // What is read belongs where the buffer's user will look for it, from the start.
        const bool moved = slot.transfer.kind == Transfer::Kind::read && place != slot.transfer.data;
        if (moved) slot = {slot.transfer, 0, slot.state};
        if (moved) slot.transfer.data = place;
      }
      complete(slot, perform(slot.transfer, slot.done));
    }
  }

  unsigned count_in_kernel() const {
    unsigned n = 0;
    for (const Slot& slot : slots_) n += slot.state == State::in_kernel ? 1 : 0;
    return n;
  }

  // With O_DIRECT a read that ends off the alignment has met the end of the file; going on would be EINVAL.
  Completion perform(Transfer transfer, std::size_t done) const {
    transfer.offset += done;
    transfer.data += done;
    transfer.size -= done;
    Completion completion = PosixIo::perform(transfer);
    completion.size += done;
    if (transfer.kind == Transfer::Kind::read && completion.error == EINVAL && completion.size % alignment() != 0)
      completion.error = 0;
    return completion;
  }

  Medium medium_;
  const char* note_ = detail::note_of_asked_io();
  io_uring ring_{};
  std::string why_no_ring_{};  // empty: there is one
  detail::MadeHere made_here_{};
  std::array<Slot, transfers> slots_{};
  std::size_t in_ring_ = 0;  // slots that are not free
  detail::PlainVector<Completion> ready_{};
  detail::BlockBuffers buffers_{transfers, buffer_size};
};

}  // namespace scratch::inline SCRATCH_ABI

#else

namespace scratch::inline SCRATCH_ABI {

/// Built without liburing: as a policy, the posix engine.
class UringIo final {
 public:
  static std::unique_ptr<Io> make(const Medium&) {
    const std::string why = detail::posix_is_forced() ? "SCRATCH_IO=posix" : "built without liburing";
    return std::unique_ptr<Io>(new PosixIo(why + detail::note_of_asked_io()));
  }
};

}  // namespace scratch::inline SCRATCH_ABI

#endif
