// SPDX-License-Identifier: MIT
//
// Whole chunks.
#pragma once

#include <scratch/chunk_writer.hpp>

#include <string_view>
#include <utility>

namespace scratch::test {

inline ChunkInfo write_chunk(const Workspace& where, Bytes bytes, ChunkMeta meta = {}) {
  ChunkWriter chunk(where);
  chunk.append(bytes);
  return chunk.commit(std::move(meta));
}

inline ChunkInfo write_chunk(const Workspace& where, std::string_view text, ChunkMeta meta = {}) {
  return write_chunk(where, bytes_of(text), std::move(meta));
}

}  // namespace scratch::test
