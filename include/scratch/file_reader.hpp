// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Any file of a workspace, from its start to its end.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/block_reader.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

namespace detail {
struct OpenFile {
  Fd file;
  std::filesystem::path path;
  std::uint64_t size;
};

inline OpenFile open_for_reading(const Directory& where, std::string_view name) {
  check_file_name(name, "open");
  where.check();
  std::filesystem::path path = where.path() / name;
  Fd file = open_existing(where.fd(), std::string(name).c_str(), O_RDONLY, path);
  const auto size = static_cast<std::uint64_t>(facts_of(file.get(), path).st_size);
  return {std::move(file), std::move(path), size};
}
}  // namespace detail

/// How a file is read.
struct FileReaderOptions {
  /// Where reading begins; from the file's end on there is nothing to read.
  std::uint64_t offset = 0;
};

/// Reads a file with read-ahead: as a range of `Bytes`, or into memory of yours. Both go on where reading stands.
///
/// Of the file's size when it was opened; a file that shrinks meanwhile is an error. After an error reading goes on where
/// it stood. Movable; used by one thread at a time; may outlive its workspace and the session. Memory: a share of the
/// workspace's `.buffers`, at most 256 KiB for a small file.
class FileReader {
 public:
  /// @throws Error ENOENT; ELOOP, `corrupt` when something else than a plain file of ours has the name; `invalid_name`
  FileReader(Workspace where, std::string_view name, FileReaderOptions options = {})
      : blocks_(opened(detail::directory_of(where), detail::open_for_reading(detail::directory_of(where), name))) {
    go_to(options.offset);
  }

  /// Fills `to`, with less only at the end of the file.
  ///
  /// @returns the bytes read; 0 at the end
  /// @throws  Error what the kernel says; `corrupt` where the file is shorter than it was
  std::size_t read(MutableBytes to) {
    checked().check_process();
    const std::uint64_t begin = position_;
    try {
      std::size_t done = 0;
      while (done < to.size()) {
        if (rest_.empty()) rest_ = read_block();
        if (rest_.empty()) break;
        const std::size_t n = std::min(rest_.size(), to.size() - done);
        std::memcpy(to.data() + done, rest_.data(), n);
        rest_ = rest_.subspan(n);
        position_ += n;
        done += n;
      }
      return done;
    } catch (...) {
      go_to(begin);
      throw;
    }
  }

  /// Of the whole file, wherever reading began.
  std::uint64_t size() const { return checked().size(); }

  /// An input range of `Bytes`, each valid until the next one is asked for.
  auto begin() & { return detail::BlockIterator<FileReader>(*this); }
  auto begin() && = delete;  // its blocks would be gone at the end of the expression
  std::default_sentinel_t end() const { return {}; }

 private:
  friend class detail::BlockIterator<FileReader>;

  static std::unique_ptr<detail::BlockReader> opened(const detail::Directory& where, detail::OpenFile open) {
    return std::make_unique<detail::BlockReader>(where, std::move(open.file), std::move(open.path),
                                                 ChunkLayout{.size = open.size}, std::vector<std::uint64_t>());
  }

  detail::BlockReader& checked() const {
    if (!blocks_) detail::throw_error(EINVAL, "read", {}, "it was moved to another object");
    return *blocks_;
  }

  Bytes next_block() {
    checked();
    const Bytes block = rest_.empty() ? read_block() : std::exchange(rest_, {});
    position_ += block.size();
    return block;
  }

  Bytes read_block() {
    const Bytes block = checked().next();
    return block.subspan(std::min(block.size(), std::exchange(skip_, 0)));
  }

  void go_to(std::uint64_t position) {
    rest_ = {};
    skip_ = blocks_->seek(position);
    position_ = position;
  }

  std::unique_ptr<detail::BlockReader> blocks_;
  Bytes rest_{};                // of the block that was read last
  std::size_t skip_ = 0;        // of the next one
  std::uint64_t position_ = 0;  // of what is given next
};

/// A file, whole. @throws Error as `FileReader`
inline std::vector<std::byte> read_file(Workspace where, std::string_view name) {
  const detail::OpenFile open = detail::open_for_reading(detail::directory_of(where), name);
  std::vector<std::byte> bytes(open.size);
  const sys::Moved moved = sys::pread_all(open.file.get(), bytes, 0);
  if (moved.error != 0) detail::throw_error(moved.error, "read", open.path);
  if (moved.size < bytes.size()) detail::throw_cut_short(open.path, moved.size, bytes.size());
  return bytes;
}

/// The same as a text. @throws Error as `FileReader`
inline std::string read_text(Workspace where, std::string_view name) {
  const std::vector<std::byte> bytes = read_file(std::move(where), name);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace scratch::inline SCRATCH_ABI
