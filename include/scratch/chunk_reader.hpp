// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A committed chunk, checked while it is read.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/chunk_info.hpp>
#include <scratch/detail/bytes/block_buffers.hpp>
#include <scratch/detail/bytes/block_reader.hpp>
#include <scratch/detail/chunk/chunk_guest.hpp>
#include <scratch/detail/chunk/chunk_log.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/mapping.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Reads a chunk: `for (Bytes block : reader)` gives its blocks in order, each checked against its sum before it is
/// seen, with read-ahead. Every loop starts at the first block.
///
/// A damaged block is an error that names the file and the offset; the others can be read with `read_at`, and other
/// chunks are not concerned. Movable; used by one thread at a time. Memory: in a loop a share of the
/// workspace's `.buffers`; one block for `read_at`.
class ChunkReader {
 public:
  /// @throws Error ENOENT when there is no such chunk on record, or its file is missing; `corrupt` when `chunk` is not
  ///         what is on record, the file has another size, or something else has its place
  ChunkReader(Workspace where, const ChunkInfo& chunk) : ChunkReader(detail::directory_of(where), chunk.id, &chunk) {}
  ChunkReader(Workspace where, std::uint64_t id) : ChunkReader(detail::directory_of(where), id, nullptr) {}

  const ChunkInfo& info() const { return record_.info; }
  std::uint64_t size() const { return record_.info.size; }
  /// The blocks that are checked.
  ChunkLayout layout() const { return {record_.info.size, record_.block}; }

  /// An input range of `Bytes`, each valid until the next one is asked for.
  ///
  /// @throws Error `checksum_mismatch`; `corrupt` where the file became shorter; what the kernel says
  auto begin() {
    blocks_.emplace(where_, file_.duplicate(), path_, layout(), record_.sums);
    return detail::BlockIterator<ChunkReader>(*this);
  }
  std::default_sentinel_t end() const { return {}; }

  /// Fills `to` with the bytes from `offset` on. Whole blocks are read and checked; the last one is remembered.
  ///
  /// @pre all of it lies within the chunk
  /// @throws Error `checksum_mismatch`, `corrupt`; EINVAL beyond the end
  void read_at(std::uint64_t offset, MutableBytes to) {
    if (offset > size() || to.size() > size() - offset)
      detail::throw_error(EINVAL, "read", path_,
                          std::to_string(to.size()) + " bytes from offset " + std::to_string(offset) +
                              " of a chunk of " + std::to_string(size()));
    while (!to.empty()) {
      const std::uint64_t i = offset / record_.block;
      const Bytes block = checked_block(i);
      const Bytes part = block.subspan(static_cast<std::size_t>(offset - layout().offset(i)));
      const std::size_t n = std::min(part.size(), to.size());
      std::memcpy(to.data(), part.data(), n);
      to = to.subspan(n);
      offset += n;
    }
  }

  /// The whole chunk as memory, unchecked (the file's owner and size were); valid as long as this.
  ///
  /// @throws Error ENOMEM; `corrupt` when the file's size is not that on record
  Bytes map() {
    if (!mapping_.is_made()) {
      check_size();
      mapping_ = detail::Mapping(file_.get(), static_cast<std::size_t>(size()), path_);
    }
    return mapping_.bytes();
  }

  /// Reads all of it. @throws Error unless every byte is as it was written
  void verify() {
    detail::Xxh3 whole;
    for (const Bytes block : *this) whole.update(block);
    blocks_.reset();
    const std::string found = detail::checksum_text(whole.digest());
    if (found != info().checksum)
      detail::throw_error(errc::checksum_mismatch, "verify", path_,
                          info().checksum + " is on record, " + found + " was found");
  }

 private:
  friend class detail::BlockIterator<ChunkReader>;

  ChunkReader(detail::Directory where, std::uint64_t id, const ChunkInfo* expected) : where_(std::move(where)) {
    where_.check();
    const std::filesystem::path& root = where_.state().path();
    std::optional<detail::ChunkRecord> record = detail::chunk_log(where_.state()).find(id);
    if (!record)
      detail::throw_error(ENOENT, "find chunk " + std::to_string(id) + " in", root, "no such chunk is on record");
    record_ = std::move(*record);
    path_ = root / record_.info.file;
    if (expected != nullptr && *expected != record_.info)
      detail::throw_error(errc::corrupt, "open", path_,
                          "the record of chunk " + std::to_string(id) + " says something else");
    if (record_.block > Io::buffer_size)
      detail::throw_error(errc::unsupported_version, "open", path_, "its blocks have " + readable_size(record_.block));
    open();
    check_size();
  }

  // Goes down the areas one by one, so that no link leads out of the session.
  void open() {
    std::string_view rest = record_.info.file;
    detail::Fd directory;
    int at = where_.state().fd();
    for (std::size_t slash; (slash = rest.find('/')) != rest.npos; rest.remove_prefix(slash + 1)) {
      directory = detail::open_directory(at, std::string(rest.substr(0, slash)).c_str());
      if (!directory) detail::throw_error(errno, "open", path_, "its area cannot be entered");
      at = directory.get();
    }
    try {
      file_ = detail::open_existing(at, std::string(rest).c_str(), O_RDONLY, path_);
    } catch (const Error& error) {
      if (error.code() != std::errc::no_such_file_or_directory) throw;
      detail::throw_error(error.code(), "open", path_, "the chunk is on record, its file is gone");
    }
  }

  void check_size() const {
    const auto found = static_cast<std::uint64_t>(detail::facts_of(file_.get(), path_).st_size);
    if (found != size())
      detail::throw_error(errc::corrupt, "open", path_,
                          std::to_string(size()) + " bytes are on record, the file has " + std::to_string(found));
  }

  Bytes next_block() { return blocks_->next(); }

  Bytes checked_block(std::uint64_t i) {
    if (!one_block_) one_block_ = std::make_unique<detail::BlockBuffers>(1, Io::buffer_size);
    const MutableBytes block = (*one_block_)[0].first(static_cast<std::size_t>(layout().size_of(i)));
    if (in_one_block_ == i) return block;
    in_one_block_.reset();
    // A loop may have made the file O_DIRECT: then a whole block is asked for, and what comes after the end is EINVAL.
    const MutableBytes room = (*one_block_)[0].first(static_cast<std::size_t>(record_.block));
    const sys::Moved moved = sys::pread_all(file_.get(), room, layout().offset(i));
    if (moved.size < block.size() && moved.error != 0)
      detail::throw_error(moved.error, "read", path_, "at offset " + std::to_string(layout().offset(i)));
    if (moved.size < block.size()) detail::throw_cut_short(path_, layout().offset(i) + moved.size, size());
    detail::check_block(detail::xxh3(block), record_.sums[i], path_, layout(), i);
    in_one_block_ = i;
    return block;
  }

  detail::Directory where_;
  detail::ChunkRecord record_;
  std::filesystem::path path_;
  detail::Fd file_;
  std::optional<detail::BlockReader> blocks_;
  std::unique_ptr<detail::BlockBuffers> one_block_;
  std::optional<std::uint64_t> in_one_block_;  // which block stands there
  detail::Mapping mapping_;
};

}  // namespace scratch::inline SCRATCH_ABI
