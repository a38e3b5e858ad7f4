// SPDX-License-Identifier: MIT
//
// Rows from an input into chunks of a session.
#pragma once

#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include <cstdint>
#include <functional>
#include <iomanip>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "input.hpp"
#include "rows.hpp"
#include "support/names.hpp"

namespace table_export {

struct Exported {
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;  ///< of the whole input
  std::uint64_t chunks = 0;
  bool last_line_ends = true;
};

/// A chunk that rows are added to as long as there is room.
class FillingChunk {
 public:
  FillingChunk(scratch::Workspace where, std::uint64_t size) : where_(std::move(where)), size_(size) {}

  /// Adds whole rows. @pre `rows` is at most what has room, or a single row
  void add(std::string_view bytes, std::uint64_t rows) {
    if (!chunk_) chunk_.emplace(where_);
    chunk_->append(bytes);
    filled_ += bytes.size();
    rows_ += rows;
  }
  /// A row that is longer than a chunk has one of its own.
  bool has_room(std::uint64_t bytes) const { return bytes <= size_ && filled_ <= size_ - bytes; }

  /// @returns nothing where there was nothing to commit
  std::optional<scratch::ChunkInfo> commit() {
    if (!chunk_) return std::nullopt;
    std::optional<scratch::ChunkInfo> info = chunk_->commit({.rows = rows_});
    chunk_.reset();
    filled_ = rows_ = 0;
    return info;
  }

 private:
  scratch::Workspace where_;
  std::uint64_t size_;
  std::optional<scratch::ChunkWriter> chunk_;
  std::uint64_t filled_ = 0, rows_ = 0;
};

inline std::string hex(std::string_view bytes) {
  std::ostringstream text;
  for (const char c : bytes)
    text << std::hex << std::setw(2) << std::setfill('0') << static_cast<unsigned>(static_cast<unsigned char>(c));
  return text.str();
}

inline bool is_utf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

/// Reads all of the input. Every chunk holds whole rows and nothing else, at most `chunk_size` bytes unless one row has
/// more; header and trailer, which make the input again from them, stand as hex under `user` in metadata.json.
///
/// @param max_row     a row that is longer is an error
/// @param allow_empty csv without names and text of a table without rows have no byte, as a command that failed
/// @param committed   told of each chunk
/// @throws Refused, scratch::Error
template <class Session>
Exported export_rows(Session& session, Input& input, Rows& rows, std::uint64_t chunk_size, std::uint64_t max_row,
                     const std::string& table, bool allow_empty,
                     const std::function<void(const scratch::ChunkInfo&)>& committed) {
  Exported all;
  if (input.rest().empty() && !input.more() && !allow_empty) throw Refused("the input is empty (" + input.name() + ")");
  std::optional<std::size_t> header;
  while (!(header = rows.header(input.rest()))) {
    if (input.rest().size() > max_row) rows.too_long(max_row);
    if (!input.more()) throw Refused("the input is cut short: it ends within its header");
  }
  nlohmann::json user{{"table", table},
                      {"format", rows.format()},
                      {"header", hex(input.rest().substr(0, *header))},
                      {"trailer", hex(rows.trailer())}};
  if (!is_utf8(table)) {
    user["table_bytes"] = support::encoded(table);
    user["table"] = user["table_bytes"];
  }
  scratch::user(session, user);
  input.use(*header);
  all.bytes = *header;

  FillingChunk chunk(session, chunk_size);
  const auto commit = [&] {
    const auto info = chunk.commit();
    if (!info) return;
    ++all.chunks;
    committed(*info);
  };
  for (bool more = true; more;) {
    std::size_t run = 0;  // whole rows that still go into this chunk
    std::uint64_t run_rows = 0;
    const auto flush = [&] {
      if (run > 0) chunk.add(input.rest().substr(0, run), run_rows);
      input.use(run);
      all.bytes += run;
      all.rows += std::exchange(run_rows, 0);
      run = 0;
    };
    while (const auto end = rows.row_end(input.rest().substr(run))) {
      if (!chunk.has_room(run + *end)) {
        flush();
        commit();
      }
      run += *end;
      ++run_rows;
    }
    flush();
    if (input.rest().size() > max_row && !rows.ended()) rows.too_long(max_row);
    more = !(rows.ended() && input.rest().size() > 2) && input.more();
  }
  if (rows.finish(input.rest())) {
    if (!chunk.has_room(input.rest().size())) commit();
    chunk.add(input.rest(), 1);
    all.bytes += input.rest().size();
    ++all.rows;
    all.last_line_ends = false;
  }
  all.bytes += rows.trailer().size();
  commit();
  return all;
}

}  // namespace table_export
