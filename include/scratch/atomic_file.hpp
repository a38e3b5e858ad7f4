// SPDX-License-Identifier: MIT
// floor 3: one place
//
// A file that is whole or absent.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <ostream>
#include <span>
#include <streambuf>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/block_writer.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// A new file, invisible until `commit()`. Dropped uncommitted it leaves nothing; neither does kill -9.
///
/// Movable; used by one thread at a time. Memory: while large files are written a share of the workspace's `.buffers`.
/// After an error only `discard()` is left: nothing of a file with a gap can be committed.
class AtomicFile {
 public:
  /// @throws Error `invalid_name`, `session_gone`; when no file can be made there
  AtomicFile(Workspace where, std::string_view name) : file_(make(detail::directory_of(where), name)) {}

  /// Adds bytes at the end.
  ///
  /// @throws Error `quota_exceeded`; ENOSPC, after `on_full` was asked once; `session_gone`
  void append(Bytes bytes) {
    file_->flush_stream();
    file_->writer.append(bytes);
  }
  template <ByteRange R>
  void append(const R& range) {
    append(bytes_of(range));
  }

  /// The same end of the file as a stream: `file.stream() << "text"`. What goes wrong there is thrown by `commit()`.
  std::ostream& stream() {
    if (!file_->stream) file_->stream = std::make_unique<Stream>(file_->writer);
    return file_->stream->out;
  }

  /// Gives the file its name, replacing whatever file had it.
  ///
  /// Until this returns, readers find the old file or none; afterwards all of the new one.
  /// @throws Error what `stream()` met; while writing, syncing or renaming: the old file is intact and the new one is
  ///         gone when this is. (Only if at the very end the directory cannot be synced, or in a plain directory the
  ///         name cannot be put on record for `clear()`, is the new file in place.)
  /// After a crash: the old file or the new one, with `Durable`; without, possibly neither after a power cut.
  void commit() { commit(detail::Replacing::whatever_is_there); }

  /// The same, refusing to replace anything.
  ///
  /// @throws Error EEXIST when something has the name: it is untouched, and this can still be committed
  void commit_new() { commit(detail::Replacing::nothing); }

  /// Nothing is left of the file afterwards.
  void discard() noexcept {
    file_->stream.reset();
    file_->writer.discard();
  }

 private:
  struct Stream final : std::streambuf {
    explicit Stream(detail::BlockWriter& to) : writer(to), out(this) { setp(text.data(), text.data() + text.size()); }

    void flush() {
      const auto filled = std::as_bytes(std::span(pbase(), pptr()));
      setp(text.data(), text.data() + text.size());
      writer.append(filled);
    }

    int_type overflow(int_type c) override {
      flush();
      if (!traits_type::eq_int_type(c, traits_type::eof())) sputc(traits_type::to_char_type(c));
      return traits_type::not_eof(c);
    }

    std::streamsize xsputn(const char* from, std::streamsize n) override {
      if (n <= epptr() - pptr()) {
        traits_type::copy(pptr(), from, static_cast<std::size_t>(n));
        pbump(static_cast<int>(n));
      } else {
        flush();
        writer.append(std::as_bytes(std::span(from, static_cast<std::size_t>(n))));
      }
      return n;
    }

    detail::BlockWriter& writer;
    std::array<char, 8192> text;
    std::ostream out;
  };

  // Stays where it is when the AtomicFile moves: the stream points to it.
  struct File {
    File(const detail::Directory& where, std::string_view given)
        : name(given), writer(where, "write", where.path() / given, 0) {}

    void flush_stream() {
      if (stream) stream->flush();
    }

    std::string name;
    detail::BlockWriter writer;
    std::unique_ptr<Stream> stream;
  };

  static std::unique_ptr<File> make(const detail::Directory& where, std::string_view name) {
    detail::check_file_name(name, "create");
    return std::make_unique<File>(where, name);
  }

  void commit(detail::Replacing replacing) {
    detail::BlockWriter& writer = file_->writer;
    writer.check_usable();
    if (!finished_) {
      file_->flush_stream();
      if (file_->stream && file_->stream->out.fail())
        detail::throw_error(EIO, "write", writer.file(), "its stream failed before the commit");
      writer.finish();
      finished_ = true;
    }
    const detail::Directory& where = writer.where();
    const std::uint64_t replaced = replacing == detail::Replacing::nothing ? 0 : size_of_old();
    writer.commit(file_->name, replacing);
    where.committed(file_->name);
    // Only now that the file is on record: the quota counts its bytes at every instant.
    writer.commit_reservation();
    writer.close();
    if (replaced > 0) where.state().quota().removed(replaced);
  }

  std::uint64_t size_of_old() const {
    struct stat facts {};
    const bool there = sys::fstatat(file_->writer.where().fd(), file_->name.c_str(), facts) == 0;
    return there ? static_cast<std::uint64_t>(facts.st_size) : 0;
  }

  std::unique_ptr<File> file_;
  bool finished_ = false;
};

/// Writes a small file in one go; whole or absent, replacing what had the name. @throws Error as `AtomicFile`
inline void write_file(Workspace where, std::string_view name, Bytes bytes) {
  AtomicFile file(std::move(where), name);
  file.append(bytes);
  file.commit();
}
template <ByteRange R>
void write_file(Workspace where, std::string_view name, const R& range) {
  write_file(std::move(where), name, bytes_of(range));
}

}  // namespace scratch::inline SCRATCH_ABI
