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
#include <scratch/detail/bytes/block_reader.hpp>
#include <scratch/detail/chunk/chunk_guest.hpp>
#include <scratch/detail/chunk/chunk_log.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/mapping.hpp>
#include <scratch/detail/kernel/pinnable_mapping.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Reads a chunk: `for (Bytes block : reader)` gives its blocks in order, each checked against its sum before it is
/// seen, with read-ahead. Where so many read at once that `.buffers` has no block for each, a block comes in parts, and is
/// read twice. Every loop starts at the first block.
///
/// A damaged block is an error that names the file and the offset; the others can be read with `read_at`, and other
/// chunks are not concerned. Movable; used by one thread at a time; may outlive its workspace. Memory: in a loop a share
/// of the workspace's `.buffers`.
class ChunkReader {
 public:
  /// A chunk that was moved since `chunk` was told is read where it is now.
  ///
  /// @throws Error ENOENT when there is no such chunk on record, or its file is missing; EINVAL when `chunk` is not what
  ///         is on record; `corrupt` when the file has another size, or something else has its place
  ChunkReader(Workspace where, const ChunkInfo& chunk)
      : chunk_(std::make_unique<Chunk>(detail::directory_of(where), chunk.id, &chunk)) {}
  /// The same by its id.
  ChunkReader(Workspace where, std::uint64_t id)
      : chunk_(std::make_unique<Chunk>(detail::directory_of(where), id, nullptr)) {}

  /// What is on record about it.
  const ChunkInfo& info() const& { return chunk().record.info; }
  ChunkInfo info() && { return chunk().record.info; }
  /// Bytes of the chunk.
  std::uint64_t size() const { return info().size; }
  /// The blocks that are checked.
  ChunkLayout layout() const { return chunk().layout(); }

  /// An input range of `Bytes`, each valid until the next one is asked for.
  ///
  /// @throws Error `checksum_mismatch`; `corrupt` where the file became shorter; what the kernel says
  auto begin() & {
    chunk().start();
    return detail::BlockIterator<ChunkReader>(*this);
  }
  auto begin() && = delete;  // its blocks would be gone at the end of the expression
  std::default_sentinel_t end() const { return {}; }

  /// Fills `to` with the bytes from `offset` on. The first time that a block is met it is read and checked whole;
  /// afterwards only what is asked for is read.
  ///
  /// Several threads may at a time.
  /// @pre all of it lies within the chunk
  /// @throws Error `checksum_mismatch`, `corrupt`; EINVAL beyond the end
  void read_at(std::uint64_t offset, MutableBytes to) const { chunk().read_at(offset, to); }

  /// The whole chunk as memory, unchecked (the file's owner and size were); valid as long as this.
  ///
  /// @throws Error ENOMEM; `corrupt` when the file's size is not that on record
  Bytes map() & { return chunk().map(); }
  Bytes map() && = delete;  // the memory would be gone at the end of the expression

  /// The whole chunk as memory that a device can take for its own (cudaHostRegister, ibv_reg_mr) or O_DIRECT can write
  /// from: the file's own pages, shared and writable, at a multiple of 2 MiB where there is address space for that, and
  /// not inherited by fork. Unchecked, and valid as long as this. The last page goes on behind the chunk, with zeros.
  ///
  /// What is written there is written to the chunk, for everybody, and the next `verify()` says so.
  /// @throws Error EROFS where the workspace only looks; as `map()`; what the kernel says where files cannot be mapped
  MutableBytes map_pinnable() & { return chunk().map_pinnable(); }
  MutableBytes map_pinnable() && = delete;  // the memory would be gone at the end of the expression

  /// Reads all of it. @throws Error unless every byte is as it was written
  void verify() {
    detail::Xxh3 whole;
    for (const Bytes block : *this) whole.update(block);
    chunk().blocks.reset();
    const std::string found = detail::checksum_text(whole.digest());
    if (found != info().checksum)
      detail::throw_error(errc::checksum_mismatch, "verify", chunk().path,
                          info().checksum + " is on record, " + found + " was found");
  }

 private:
  friend class detail::BlockIterator<ChunkReader>;

  // Stays where it is when the ChunkReader moves.
  struct Chunk {
    Chunk(detail::Directory directory, std::uint64_t id, const ChunkInfo* expected) : where(std::move(directory)) {
      where.check();
      look_up(id);
      if (expected != nullptr && !is_the_same(*expected))
        detail::throw_error(EINVAL, "open", path,
                            "the record of chunk " + std::to_string(id) +
                                " says something else: was it committed in another directory?");
      if (record.block > Io::buffer_size)
        detail::throw_error(errc::unsupported_version, "open", path, "its blocks have " + readable_size(record.block));
      constexpr int places = 20;  // where it is being moved it may be at its next place, and the next
      for (int i = 0; !open(); ++i) {
        if (i == places) detail::throw_error(ENOENT, "open", path, "the chunk is on record, its file is gone");
        look_up(id);
      }
      check_size();
      picker.emplace(file, path, layout(), record.sums);
    }

    ChunkLayout layout() const { return {record.info.size, record.block}; }

    void start() { blocks.emplace(where, file.duplicate(), path, layout(), record.sums); }

    Bytes next_block() {
      if (!blocks) detail::throw_error(EINVAL, "read", path, "verify() ended this loop; begin another");
      return blocks->next();
    }

    void read_at(std::uint64_t offset, MutableBytes to) {
      const std::uint64_t size = record.info.size;
      if (offset > size || to.size() > size - offset)
        detail::throw_error(EINVAL, "read", path,
                            std::to_string(to.size()) + " bytes from offset " + std::to_string(offset) +
                                " of a chunk of " + std::to_string(size));
      picker->read(offset, to);
    }

    Bytes map() {
      if (!mapping.is_made()) {
        check_size();
        mapping = detail::Mapping(file.get(), record.info.size, path);
      }
      return mapping.bytes();
    }

    MutableBytes map_pinnable() {
      where.state().check_writable("map pages to be written to, of", path);
      if (record.info.size == 0) return {};
      if (!pinnable) {
        check_size();
        const detail::Fd open(sys::reopen(file.get(), O_RDWR));  // wherever it was moved to
        if (!open) detail::throw_error(errno, "map", path, detail::open_files_hint(errno));
        pinnable.emplace(open.get(), record.info.size, path);
      }
      if (!pinnable->made_here()) detail::throw_error(errc::forked_object, "map", path);
      return pinnable->bytes();
    }

    detail::Directory where;
    detail::ChunkRecord record{};
    std::filesystem::path path{};
    detail::Fd file{};
    std::optional<detail::BlockReader> blocks{};

    void look_up(std::uint64_t id) {
      const std::filesystem::path& root = where.state().path();
      std::optional<detail::ChunkRecord> found = detail::chunk_log(where.state()).find(id);
      if (!found)
        detail::throw_error(ENOENT, "find chunk " + std::to_string(id) + " in", root, "no such chunk is on record");
      record = *std::move(found);
      path = root / record.info.file;
    }

    bool is_the_same(ChunkInfo told) const {
      told.file = record.info.file;
      return told == record.info;
    }

    // Goes down the areas one by one, so that no link leads out of the session. False: it is not there.
    bool open() {
      std::string_view rest = record.info.file;
      detail::Fd directory;
      int at = where.state().fd();
      for (std::size_t slash; (slash = rest.find('/')) != rest.npos; rest.remove_prefix(slash + 1)) {
        directory = detail::open_directory(at, std::string(rest.substr(0, slash)).c_str());
        if (!directory && errno == ENOENT) return false;
        if (!directory) detail::throw_error(errno, "open", path, "its area cannot be entered");
        at = directory.get();
      }
      try {
        file = detail::open_existing(at, std::string(rest).c_str(), O_RDONLY, path);
      } catch (const Error& error) {
        if (error.code() != std::errc::no_such_file_or_directory) throw;
        return false;
      }
      return true;
    }

    void check_size() const {
      const std::uint64_t size = record.info.size;
      const auto found = static_cast<std::uint64_t>(detail::facts_of(file.get(), path).st_size);
      if (found != size)
        detail::throw_error(errc::corrupt, "open", path,
                            std::to_string(size) + " bytes are on record, the file has " + std::to_string(found));
    }

    std::optional<detail::BlockPicker> picker{};
    detail::Mapping mapping{};
    std::optional<detail::PinnableMapping> pinnable{};
  };

  Chunk& chunk() const {
    if (!chunk_) detail::throw_error(EINVAL, "read the chunk", {}, "it was moved to another object");
    return *chunk_;
  }

  Bytes next_block() { return chunk().next_block(); }

  std::unique_ptr<Chunk> chunk_;
};

}  // namespace scratch::inline SCRATCH_ABI
