// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A raw data file with its size, rows and checksum on record.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/chunk_info.hpp>
#include <scratch/detail/bytes/block_writer.hpp>
#include <scratch/detail/chunk/chunk_guest.hpp>
#include <scratch/detail/chunk/chunk_log.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

struct ChunkOptions {
  /// Bytes that will come, where that is known: room is taken for them before the first, so that a full disk or quota
  /// is met now and not at the end. More or fewer may come.
  std::uint64_t expected = 0;
};

/// A new chunk: exactly the bytes appended, in a file that another language, a GPU or mmap reads as it is.
///
/// Invisible until `commit()`; dropped uncommitted it leaves nothing, neither does kill -9. Movable; used by one thread
/// at a time, any number of them side by side in threads and processes. While the bytes pass they are summed. Memory:
/// a share of the workspace's `.buffers`. After an error only `discard()` is left.
class ChunkWriter {
 public:
  /// @throws Error `session_gone`; `quota_exceeded`; when no file can be made there
  explicit ChunkWriter(Workspace where, ChunkOptions options = {})
      : writer_(std::make_unique<detail::BlockWriter>(detail::directory_of(where), "write the chunk",
                                                      where.path() / "chunk", ChunkLayout().block)) {
    if (options.expected > 0) writer_->reserve(options.expected);
  }

  /// Adds bytes at the end.
  ///
  /// @throws Error `quota_exceeded`; ENOSPC, after `on_full` was asked once; `session_gone`
  void append(Bytes bytes) { writer_->append(bytes); }
  template <ByteRange R>
  void append(const R& range) {
    append(bytes_of(range));
  }

  /// Lends `n` bytes of the engine's own buffer, to be filled without a copy; valid until the next call of any member.
  ///
  /// @pre n <= 4 MiB
  MutableBytes prepare(std::size_t n) { return writer_->prepare(n); }

  /// Adds the first `n` of the bytes that `prepare` lent.
  ///
  /// @pre n is at most what was asked of `prepare`
  void advance(std::size_t n) { writer_->advance(n); }

  /// Gives the chunk the next free number, its file the name `chunk_<number>.bin`, and puts it on record: for every
  /// process, at O(1) cost however many there are.
  ///
  /// @throws Error and then there is no chunk; `busy` where another process was stopped while it took a number
  /// After a crash: the chunk is there with its record, or no record of it is. With `Durable`, after this returned it
  /// is there.
  ChunkInfo commit(ChunkMeta meta = {}) {
    writer_->finish();
    const detail::Directory& where = writer_->where();
    detail::ChunkRecord record;
    record.info = {.rows = meta.rows, .user = std::move(meta.user)};
    record.info.size = writer_->size();
    record.info.checksum = detail::checksum_text(writer_->sums().whole());
    record.sums = writer_->sums().blocks();
    record.block = ChunkLayout().block;
    const std::string name = commit_under_free_number(record.info.id);
    record.info.file = where.relative(name);
    try {
      detail::with_room(where, "record the chunk", where.path() / name,
                        [&] { detail::chunk_log(where.state()).append(record, where.durable()); });
    } catch (...) {
      sys::unlinkat(where.fd(), name.c_str());
      writer_->discard();
      throw;
    }
    writer_->commit_reservation();
    writer_->close();
    where.state().recorded();
    where.emit(EventKind::chunk_committed, where.path() / name, record.info.size);
    return std::move(record.info);
  }

  /// Nothing is left of the chunk afterwards.
  void discard() noexcept { writer_->discard(); }

 private:
  // Numbers whose file name somebody took by hand are passed over.
  std::string commit_under_free_number(std::uint64_t& id) {
    const detail::Directory& where = writer_->where();
    while (true) {
      id = detail::with_room(where, "take a number for the chunk", where.path(),
                             [&] { return detail::chunk_log(where.state()).next_id(); });
      std::string name = "chunk_" + std::to_string(id) + ".bin";
      try {
        writer_->commit(name, detail::Replacing::nothing);
        return name;
      } catch (const Error& error) {
        if (error.code() != std::errc::file_exists) throw;
      }
    }
  }

  std::unique_ptr<detail::BlockWriter> writer_;
};

}  // namespace scratch::inline SCRATCH_ABI
