// SPDX-License-Identifier: MIT
//
// Rows from an input into chunks of a session.
#pragma once

#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include <cstdint>
#include <functional>
#include <iomanip>
#include <map>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "input.hpp"
#include "rows.hpp"
#include "support/names.hpp"
#include "support/sessions.hpp"

namespace table_export {

/// Another input than that of the run which is gone on with.
struct Changed : Refused {
  using Refused::Refused;
};

struct Exported {
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;  ///< of the whole input
  std::uint64_t chunks = 0;
  bool last_line_ends = true;
};

/// A chunk that rows are added to as long as there is room. In several places each is where the ring has its number.
class FillingChunk {
 public:
  /// @param part how many there are already
  FillingChunk(support::Sessions& set, std::uint64_t size, std::uint64_t part) : set_(set), size_(size), part_(part) {}

  /// Adds whole rows. @pre `rows` is at most what has room, or a single row
  void add(std::string_view bytes, std::uint64_t rows) {
    if (!chunk_) chunk_.emplace(set_.of("part_" + std::to_string(part_)));
    chunk_->append(bytes);
    filled_ += bytes.size();
    rows_ += rows;
  }
  /// A row that is longer than a chunk has one of its own.
  bool has_room(std::uint64_t bytes) const { return bytes <= size_ && filled_ <= size_ - bytes; }

  /// @returns nothing where there was nothing to commit
  std::optional<scratch::ChunkInfo> commit() {
    if (!chunk_) return std::nullopt;
    const bool alone = set_.size() == 1;  // then they are numbered in their order
    std::optional<scratch::ChunkInfo> info =
        chunk_->commit({.rows = rows_, .user = alone ? "" : "{\"part\":" + std::to_string(part_) + "}"});
    chunk_.reset();
    ++part_;
    filled_ = rows_ = 0;
    return info;
  }

 private:
  support::Sessions& set_;
  std::uint64_t size_;
  std::uint64_t part_;
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

struct ExportOptions {
  std::string table = {};
  std::uint64_t chunk_size = 0;
  std::uint64_t max_row = 0;  ///< a row that is longer is an error
  /// csv without names and text of a table without rows have no byte, as a command that failed.
  bool allow_empty = false;
  nlohmann::json job = {};                                        ///< null: nobody goes on with it
  bool goes_on = false;                                           ///< behind the chunks that are there
  std::vector<scratch::ChunkInfo> done = {};                      ///< those, in the order of their rows
  std::function<void(const scratch::ChunkInfo&)> committed = {};  ///< told of each chunk
};

/// What a session says of itself under `user`.
inline nlohmann::json user_of(const ExportOptions& options, const Rows& rows, std::string_view header) {
  nlohmann::json user{
      {"table", options.table}, {"format", rows.format()}, {"header", hex(header)}, {"trailer", hex(rows.trailer())}};
  if (!is_utf8(options.table)) {
    user["table_bytes"] = support::encoded(options.table);
    user["table"] = user["table_bytes"];
  }
  if (!options.job.is_null()) user["job"] = options.job;
  return user;
}

/// The chunks that there are, in the order of their rows. Those behind one that is missing go: their rows come again.
inline std::vector<scratch::ChunkInfo> chunks_in_order(support::Sessions& set) {
  std::map<std::uint64_t, std::pair<scratch::OwnedSession*, scratch::ChunkInfo>> parts;
  for (std::size_t i = 0; i < set.size(); ++i)
    for (scratch::ChunkInfo& chunk : set[i].chunks()) {
      const std::uint64_t part =
          set.size() == 1 ? parts.size() : nlohmann::json::parse(chunk.user).at("part").get<std::uint64_t>();
      parts.try_emplace(part, &set[i], std::move(chunk));
    }
  std::vector<scratch::ChunkInfo> chunks;
  for (auto& [part, there] : parts)
    if (part == chunks.size())
      chunks.push_back(std::move(there.second));
    else
      there.first->remove(there.second.file);
  return chunks;
}

/// Passes over what is in the chunks that an earlier run committed. In a file they are where they were; what a command
/// writes is read, and must have their sums.
/// @throws Changed
inline Exported pass_over_chunks(std::span<const scratch::ChunkInfo> chunks, Input& input, std::uint64_t header) {
  Exported done;
  std::uint64_t bytes = header;
  for (const scratch::ChunkInfo& chunk : chunks) {
    if (!input.can_seek() && input.take_sum(chunk.size) != chunk.checksum)
      throw Changed(input.name() + " does not write what it wrote: not that which is in " + chunk.file);
    bytes += chunk.size;
    done.rows += chunk.rows;
    ++done.chunks;
  }
  if (input.can_seek()) input.go_to(bytes);
  done.bytes = bytes - header;
  return done;
}

/// Reads all of the input. Every chunk holds whole rows and nothing else, at most `chunk_size` bytes unless one row has
/// more; header and trailer, which make the input again from them, stand as hex under `user` in metadata.json.
///
/// @throws Refused, scratch::Error; Changed where it goes on, and the input is not that of before
inline Exported export_rows(support::Sessions& set, Input& input, Rows& rows, const ExportOptions& options) {
  Exported all;
  const std::uint64_t chunk_size = options.chunk_size, max_row = options.max_row;
  if (input.rest().empty() && !input.more() && !options.allow_empty)
    throw Refused("the input is empty (" + input.name() + ")");
  std::optional<std::size_t> header;
  while (!(header = rows.header(input.rest()))) {
    if (input.rest().size() > max_row) rows.too_long(max_row);
    if (!input.more()) throw Refused("the input is cut short: it ends within its header");
  }
  const nlohmann::json user = user_of(options, rows, input.rest().substr(0, *header));
  if (!options.goes_on)
    scratch::user(set[0], user);
  else if (user != scratch::user_json(set[0]))
    throw Changed(input.name() + " does not begin as it did");
  input.use(*header);
  if (options.goes_on) all = pass_over_chunks(options.done, input, *header);
  rows.pass_over(all.rows);
  all.bytes += *header;

  FillingChunk chunk(set, chunk_size, all.chunks);
  const auto commit = [&] {
    const auto info = chunk.commit();
    if (!info) return;
    ++all.chunks;
    options.committed(*info);
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
