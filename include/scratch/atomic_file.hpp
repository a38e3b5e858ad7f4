// SPDX-License-Identifier: MIT
// floor 3: one place
//
// A file that is whole or absent.
#pragma once

#include <cerrno>
#include <cstddef>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/block_writer.hpp>
#include <scratch/detail/bytes/writer_stream.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// A new file, invisible until `commit()`. Dropped uncommitted it leaves nothing; neither does kill -9.
///
/// Movable; used by one thread at a time, any number of them side by side. Memory: up to 256 KiB; while a larger file is
/// written, or one beside it, a share of the workspace's `.buffers`. In a session the file's mode is 0600; in a plain
/// directory that of the file it replaces, or what the umask leaves.
///
/// After an error of writing only `discard()` is left, everything else throws that error again: nothing of a file with a
/// gap can be committed. After any other error of a commit it is as it was: bytes may be added, and commit tried again.
class AtomicFile {
 public:
  /// @throws Error `invalid_name`, `session_gone`; when no file can be made there
  AtomicFile(Workspace where, std::string_view name) : file_(make(detail::directory_of(where), name)) {}

  /// Adds bytes at the end.
  ///
  /// @throws Error `quota_exceeded`; ENOSPC, when `on_full` made no room; `session_gone`
  void append(Bytes bytes) {
    File& file = checked();
    file.stream.flush();
    file.writer.append(bytes);
  }
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

  /// The same end of the file as a stream: `file.stream() << "text"`. What goes wrong there is thrown by `commit()`.
  /// It is there as long as this, and takes nothing more (`bad()`) once this was committed or discarded.
  std::ostream& stream() & { return checked().stream.out(); }
  std::ostream& stream() && = delete;  // it would be gone at the end of the expression

  /// Bytes so far.
  std::uint64_t size() const {
    const File& file = checked();
    return file.writer.size() + file.stream.waiting();
  }

  /// Gives the file its name, replacing whatever file had it.
  ///
  /// Until this returns, readers find the old file or none; afterwards all of the new one.
  /// @throws Error what `stream()` met; while writing, syncing, closing or renaming: the old file is intact, and the new
  ///         one is gone when this is; EEXIST where a chunk is on record under the name. (Only if at the very end the
  ///         directory cannot be synced is the new file in place.)
  /// After a crash: the old file or the new one, with `Durable`; without, possibly neither after a power cut.
  void commit() { commit(detail::Replacing::whatever_is_there); }

  /// The same, refusing to replace anything.
  ///
  /// @throws Error EEXIST when something has the name: it is untouched, and this can still be committed
  void commit_new() { commit(detail::Replacing::nothing); }

  /// Nothing is left of the file afterwards.
  void discard() noexcept {
    if (!file_) return;
    file_->writer.discard();
    file_->stream.close();
  }

 private:
  // Stays where it is when the AtomicFile moves: the stream points to it.
  struct File {
    File(const detail::Directory& where, std::string_view given)
        : name(given), writer(where, "write", where.path() / given, 0) {}

    std::string name;
    detail::BlockWriter writer;
    detail::WriterStream stream{writer};
  };

  static std::unique_ptr<File> make(const detail::Directory& where, std::string_view name) {
    detail::check_file_name(name, "create");
    return std::make_unique<File>(where, name);
  }

  File& checked() const {
    if (!file_) detail::throw_error(EINVAL, "write", {}, "it was moved to another object");
    return *file_;
  }

  void commit(detail::Replacing replacing) {
    File& file = checked();
    detail::BlockWriter& writer = file.writer;
    writer.check_usable();
    file.stream.check();
    writer.finish();
    const detail::Directory& where = writer.where();
    const bool replaces = replacing == detail::Replacing::whatever_is_there;
    if (replaces) where.check_free(file.name, "commit");
    const std::uint64_t replaced = replaces ? size_of_old() : 0;
    writer.commit(file.name, replacing);
    // Only now that the file is on record: the quota counts its bytes at every instant.
    writer.commit_reservation();
    writer.close();
    file.stream.close();
    if (replaced > 0) where.state().quota().removed(replaced);
    where.state().tell_lacks();
  }

  // As far as the quota counts it.
  std::uint64_t size_of_old() const {
    const detail::Directory& where = file_->writer.where();
    struct stat facts {};
    const bool there = sys::fstatat(where.fd(), file_->name.c_str(), facts) == 0;
    const bool counts = there && where.state().is_ours(where.fd(), file_->name, where.relative(file_->name));
    return counts ? static_cast<std::uint64_t>(facts.st_size) : 0;
  }

  std::unique_ptr<File> file_;
};

/// Writes a small file in one go; whole or absent, replacing what had the name. @throws Error as `AtomicFile`
inline void write_file(Workspace where, std::string_view name, Bytes bytes) {
  AtomicFile file(std::move(where), name);
  file.append(bytes);
  file.commit();
}
/// The same of a text. @throws Error as `AtomicFile`
inline void write_file(Workspace where, std::string_view name, std::string_view text) {
  write_file(std::move(where), name, std::as_bytes(std::span(text)));
}
/// The same of values that are nothing but their bytes. @throws Error as `AtomicFile`
template <ByteRange R>
void write_file(Workspace where, std::string_view name, const R& range) {
  write_file(std::move(where), name, bytes_of(range));
}
template <std::size_t N>
void write_file(Workspace where, std::string_view name, char (&buffer)[N]) = delete;

}  // namespace scratch::inline SCRATCH_ABI
