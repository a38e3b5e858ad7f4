// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// What is on record about a chunk, and how it falls into blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <scratch/bytes.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI {

/// A committed chunk: a raw data file and what is known about it.
struct ChunkInfo {
  std::uint64_t id = 0;       ///< unique among the chunks of a session, whoever wrote them
  std::string file = {};      ///< relative to the session: "chunk_3.bin", "sorting/chunk_4.bin"
  std::uint64_t size = 0;     ///< bytes
  std::uint64_t rows = 0;     ///< as the writer said
  std::string checksum = {};  ///< "xxh3:<16 hex>", the XXH3-64 of the file: what `xxhsum -H3` prints
  std::string user = {};      ///< the application's own, the text of a JSON object; may be empty

  friend bool operator==(const ChunkInfo&, const ChunkInfo&) = default;
};

/// What the writer of a chunk knows about it.
struct ChunkMeta {
  std::uint64_t rows = 0;  ///< what `ChunkInfo::rows` is to be
  std::string user = {};   ///< the text of a JSON object; may be empty
};

/// The blocks of a chunk: all of one size, the last one short.
struct ChunkLayout {
  std::uint64_t size = 0;       ///< bytes of the chunk
  std::uint64_t block = 4_MiB;  ///< bytes of each block but the last

  /// How many blocks there are.
  constexpr std::uint64_t count() const { return size / block + (size % block != 0 ? 1 : 0); }
  /// @pre `i < count()`
  constexpr std::uint64_t offset(std::uint64_t i) const { return i * block; }
  /// @pre `i < count()`
  constexpr std::uint64_t size_of(std::uint64_t i) const { return size - offset(i) < block ? size - offset(i) : block; }

  friend bool operator==(const ChunkLayout&, const ChunkLayout&) = default;
};

}  // namespace scratch::inline SCRATCH_ABI
