// SPDX-License-Identifier: MIT
//
// The ends of a stream: where its bytes come from, and where they go. No MPI here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ranks {

/// What is sent: `read` fills its span with what comes next, and is called until `bytes` were read.
class Outgoing {
 public:
  virtual ~Outgoing() = default;
  virtual std::uint64_t bytes() const = 0;
  virtual void read(std::span<std::byte> to) = 0;
};

/// Where it goes. Whole, or `end` is not called.
class Incoming {
 public:
  virtual ~Incoming() = default;
  virtual void begin(std::uint64_t bytes) = 0;
  virtual void write(std::span<const std::byte> bytes) = 0;
  virtual void end() = 0;
};

}  // namespace ranks
