// SPDX-License-Identifier: MIT
//
// Bytes from one rank to another, some at a time: as much memory as one round has, however many there are.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <vector>

#include "ends.hpp"
#include "ranks.hpp"

namespace ranks {

class Stream {
 public:
  /// @param round bytes of a message at most; two buffers of that size are all the memory
  Stream(const Ranks& ranks, std::size_t round) : ranks_(ranks), round_(std::min<std::size_t>(round, 1U << 30)) {}

  std::uint64_t sent() const { return sent_; }
  std::uint64_t received() const { return received_; }

  /// Sends to one rank and receives from one at the same time; whoever is named does the like. What fails here is thrown
  /// when both are done: the other side is not kept waiting.
  void move(std::optional<unsigned> to, Outgoing* out, std::optional<unsigned> from, Incoming* in) {
    std::exception_ptr failure;
    const auto attempt = [&](auto action) {
      if (failure) return;
      try {
        action();
      } catch (...) {
        failure = std::current_exception();
      }
    };
    std::uint64_t to_send = 0, to_receive = 0;
    if (to) attempt([&] { to_send = out->bytes(); });
    swap_small(to, to_send, from, to_receive);
    if (from) attempt([&] { in->begin(to_receive); });
    for (std::uint64_t left_out = to_send, left_in = to_receive; left_out > 0 || left_in > 0;) {
      const auto n_out = static_cast<std::size_t>(std::min<std::uint64_t>(left_out, round_));
      const auto n_in = static_cast<std::size_t>(std::min<std::uint64_t>(left_in, round_));
      if (out_.size() < n_out) out_.resize(n_out);
      if (in_.size() < n_in) in_.resize(n_in);
      std::array<MPI_Request, 2> requests{MPI_REQUEST_NULL, MPI_REQUEST_NULL};
      if (n_in > 0)
        MPI_Irecv(in_.data(), static_cast<int>(n_in), MPI_BYTE, static_cast<int>(*from), tag, ranks_.comm(),
                  &requests[0]);
      if (n_out > 0) {
        attempt([&] { out->read(std::span(out_).first(n_out)); });
        MPI_Isend(out_.data(), static_cast<int>(n_out), MPI_BYTE, static_cast<int>(*to), tag, ranks_.comm(),
                  &requests[1]);
      }
      wait(requests);
      if (n_in > 0) attempt([&] { in->write(std::span(in_).first(n_in)); });
      left_out -= n_out;
      left_in -= n_in;
      sent_ += n_out;
      received_ += n_in;
    }
    std::uint64_t is_whole = failure ? 0 : 1, they_are_whole = 1;
    swap_small(to, is_whole, from, they_are_whole);
    if (failure) std::rethrow_exception(failure);
    if (from && they_are_whole == 0) throw support::GivenUp{};
    if (from) in->end();
  }

 private:
  static constexpr int tag = 8;

  void swap_small(std::optional<unsigned> to, std::uint64_t& out, std::optional<unsigned> from, std::uint64_t& in) {
    std::array<MPI_Request, 2> requests{MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    if (from) MPI_Irecv(&in, 1, MPI_UINT64_T, static_cast<int>(*from), tag, ranks_.comm(), &requests[0]);
    if (to) MPI_Isend(&out, 1, MPI_UINT64_T, static_cast<int>(*to), tag, ranks_.comm(), &requests[1]);
    wait(requests);
  }

  const Ranks& ranks_;
  std::size_t round_;
  std::vector<std::byte> out_, in_;
  std::uint64_t sent_ = 0, received_ = 0;
};

}  // namespace ranks
