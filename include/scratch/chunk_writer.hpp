// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A raw data file with its size, rows and checksum on record.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/chunk_info.hpp>
#include <scratch/detail/bytes/block_writer.hpp>
#include <scratch/detail/bytes/writer_stream.hpp>
#include <scratch/detail/chunk/chunk_guest.hpp>
#include <scratch/detail/chunk/chunk_log.hpp>
#include <scratch/detail/chunk/chunk_record.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/engine/io.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// What the writer of a chunk knows before it writes.
struct ChunkOptions {
  /// Bytes that will come, where that is known: room is taken for them before the first, so that a full disk or quota
  /// is met now and not at the end. More or fewer may come.
  std::uint64_t expected = 0;
  /// Bytes of a block, of which each has its own sum on record, in 16 bytes: a multiple of 4 KiB, 4 MiB at most. A
  /// reader checks a block before it gives any of it, so that smaller ones suit who reads a little here and there. No
  /// chunk has more than a million blocks.
  std::size_t block = 4_MiB;
};

/// A new chunk: exactly the bytes appended, in a file that another language, a GPU or mmap reads as it is.
///
/// Invisible until `commit()`; dropped uncommitted it leaves nothing, neither does kill -9. Movable; used by one thread
/// at a time, any number of them side by side in threads and processes. While the bytes pass they are summed. Memory:
/// a share of the workspace's `.buffers`; one descriptor. After an error of writing only `discard()` is left, and
/// everything else throws that error again.
class ChunkWriter {
 public:
  /// @throws Error `session_gone`; `quota_exceeded`; EINVAL for another `.block`; when no file can be made there
  explicit ChunkWriter(Workspace where, ChunkOptions options = {})
      : chunk_(std::make_unique<Chunk>(detail::directory_of(where), options.block)) {
    if (options.expected > 0) chunk_->writer.reserve(options.expected);
  }

  /// Adds bytes at the end.
  ///
  /// @throws Error `quota_exceeded`; ENOSPC, when `on_full` made no room; `session_gone`
  void append(Bytes bytes) { chunk().in_order().append(bytes); }
  /// A text: of a literal everything before its NUL.
  void append(std::string_view text) { append(std::as_bytes(std::span(text))); }
  /// Values that are nothing but their bytes, in memory order.
  template <ByteRange R>
  void append(const R& range) {
    append(bytes_of(range));
  }
  /// A buffer does not say how much of it is meant: `std::string_view(buffer, n)` does.
  template <std::size_t N>
  void append(char (&buffer)[N]) = delete;

  /// The same end of the chunk as a stream, for text: `chunk.stream() << "text"`, in any order with `append`.
  ///
  /// What goes wrong there makes it `bad()`, or is thrown where its `exceptions()` ask for that; `commit()` throws it in
  /// any case. It is there as long as this, and takes nothing more (`bad()`) once this was committed or discarded, nor
  /// when only the record is missing after a commit that failed.
  /// @throws Error when nothing can be added any more
  std::ostream& stream() & { return chunk().text(); }
  std::ostream& stream() && = delete;  // it would be gone at the end of the expression

  /// Lends `n` bytes of the engine's own buffer, to be filled without a copy; valid until the next call of any member.
  ///
  /// @pre n <= 4 MiB
  /// @throws Error as `append`
  MutableBytes prepare(std::size_t n) & { return chunk().in_order().prepare(n); }
  MutableBytes prepare(std::size_t n) && = delete;  // they would be gone at the end of the expression

  /// Adds the first `n` of the bytes that `prepare` lent.
  ///
  /// @pre n is at most what was asked of `prepare`, and nothing was streamed since
  /// @throws Error as `append`
  void advance(std::size_t n) { chunk().in_order().advance(n); }

  /// Bytes so far.
  std::uint64_t size() const { return chunk().writer.size() + chunk().stream.waiting(); }

  /// Gives the chunk the next free number, its file the name `chunk_<number>.bin`, and puts it on record: for every
  /// process, at O(1) cost however many there are.
  ///
  /// @throws Error what `stream()` met; and then there is no chunk. Unless it was its bytes that could not be written,
  ///         commit may be tried again: after EMFILE, a full disk, `busy` where another process was stopped while it took
  ///         a number
  /// After a crash: the chunk is there with its record, or no record of it is; then `clear()` takes what there is. With
  /// `Durable`, after this returned it is there.
  ChunkInfo commit(ChunkMeta meta = {}) { return chunk().commit(std::move(meta)); }

  /// Nothing is left of the chunk afterwards.
  void discard() noexcept {
    if (chunk_) chunk_->discard();
  }

 private:
  // Gets its number and its name, then its record. In between it is known by `name`.
  struct Chunk {
    Chunk(const detail::Directory& where, std::size_t size)
        : block(size), writer(where, "write the chunk", where.path() / "chunk", checked_block(where, size)) {}
    Chunk(const Chunk&) = delete;
    Chunk& operator=(const Chunk&) = delete;
    ~Chunk() { discard(); }

    ChunkInfo commit(ChunkMeta meta) {
      if (!meta.user.empty()) meta.user = detail::checked_object(meta.user, "record the chunk", writer.file());
      writer.check_usable();
      stream.check();
      writer.finish();
      const detail::Directory& where = writer.where();
      if (name.empty())
        take_name();
      else
        check_name();
      const std::filesystem::path path = where.path() / name;
      detail::ChunkRecord record;
      record.info = {.id = id, .file = where.relative(name), .size = writer.size(), .rows = meta.rows};
      record.info.checksum = detail::checksum_text(writer.sums().whole());
      record.info.user = std::move(meta.user);
      record.block = block;
      record.sums = writer.sums().blocks();
      // Made again it is another line, and that one's sync.
      detail::with_room(where, "record the chunk", path, [&] { log().append(record, where.durable()); });
      name.clear();
      writer.commit_reservation();
      writer.close();
      stream.close();
      where.state().recorded();
      where.emit(EventKind::chunk_committed, path, record.info.size);
      return std::move(record.info);
    }

    void discard() noexcept {
      if (!name.empty() && made_here.is_true()) {
        sys::unlinkat(writer.where().fd(), name.c_str());
        try {
          log().remove(id);
        } catch (const std::exception&) {  // there is no record of it
        }
      }
      name.clear();
      writer.discard();
      stream.close();
    }

    // For bytes: what has its name is whole.
    detail::BlockWriter& open() {
      if (!name.empty())
        detail::throw_error(EINVAL, "append to the chunk", writer.where().path() / name,
                            "it has its name, and only its record is missing: commit() it, or discard() it");
      return writer;
    }

    // The same behind all text that was streamed before.
    detail::BlockWriter& in_order() {
      detail::BlockWriter& all = open();
      stream.flush();
      return all;
    }

    std::ostream& text() {
      if (writer.is_open()) open().check_usable();
      return stream.out();
    }

    static std::size_t checked_block(const detail::Directory& where, std::size_t block) {
      if (block != 0 && block <= Io::buffer_size && block % 4_KiB == 0) return block;
      detail::throw_error(EINVAL, "write the chunk", where.path() / "chunk",
                          "its .block is a multiple of 4 KiB, at most 4 MiB, and not " + std::to_string(block));
    }

    // Numbers whose file name somebody took by hand are passed over.
    void take_name() {
      const detail::Directory& where = writer.where();
      while (true) {
        id = detail::with_room(where, "take a number for the chunk", where.path(), [&] { return log().next_id(); });
        std::string next = "chunk_" + std::to_string(id) + ".bin";
        try {
          writer.commit(next, detail::Replacing::nothing);
          name = std::move(next);
          return stream.refuse();
        } catch (const Error& error) {
          if (error.code() != std::errc::file_exists) throw;
        }
      }
    }

    // The commit before this one gave the name, and could not record it.
    void check_name() {
      const detail::Directory& where = writer.where();
      where.check();
      const std::filesystem::path path = where.path() / name;
      struct stat facts {};
      const bool there = sys::fstatat(where.fd(), name.c_str(), facts) == 0;
      if (there && static_cast<std::uint64_t>(facts.st_size) == writer.size()) return;
      if (!there && errno != ENOENT) detail::throw_error(errno, "examine", path);
      discard();
      detail::throw_error(ENOENT, "record the chunk", path, "its file was removed since the commit before this one");
    }

    detail::ChunkLog& log() const { return detail::chunk_log(writer.where().state()); }

    std::size_t block;
    detail::BlockWriter writer;
    detail::WriterStream stream{writer};
    std::uint64_t id = 0;
    std::string name{};  // of the file, while it has one and is not on record
    detail::MadeHere made_here{};
  };

  Chunk& chunk() const {
    if (!chunk_) detail::throw_error(EINVAL, "write the chunk", {}, "it was moved to another object");
    return *chunk_;
  }

  std::unique_ptr<Chunk> chunk_;
};

}  // namespace scratch::inline SCRATCH_ABI
