// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Any file of a workspace, from its start to its end.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
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

struct FileReaderOptions {
  /// Where reading begins; from the file's end on there is nothing to read.
  std::uint64_t offset = 0;
};

/// Reads a file with read-ahead: as a range of `Bytes`, or into memory of yours. Both go on where reading stands.
///
/// Of the file's size when it was opened; a file that shrinks meanwhile is an error. Movable; used by one thread at a
/// time. Memory: a share of the workspace's `.buffers`.
class FileReader {
 public:
  /// @throws Error ENOENT; ELOOP, `corrupt` when something else than a plain file of ours has the name; `invalid_name`
  FileReader(Workspace where, std::string_view name, FileReaderOptions options = {})
      : FileReader(detail::directory_of(where), detail::open_for_reading(detail::directory_of(where), name)) {
    skip_ = blocks_.skip(options.offset);
  }

  /// Fills `to`, with less only at the end of the file.
  ///
  /// @returns the bytes read; 0 at the end
  /// @throws  Error what the kernel says; `corrupt` where the file is shorter than it was
  std::size_t read(MutableBytes to) {
    std::size_t done = 0;
    while (done < to.size()) {
      if (rest_.empty()) rest_ = next_block();
      if (rest_.empty()) break;
      const std::size_t n = std::min(rest_.size(), to.size() - done);
      std::memcpy(to.data() + done, rest_.data(), n);
      rest_ = rest_.subspan(n);
      done += n;
    }
    return done;
  }

  /// Of the whole file, wherever reading began.
  std::uint64_t size() const { return blocks_.size(); }

  /// An input range of `Bytes`, each valid until the next one is asked for.
  auto begin() { return detail::BlockIterator<FileReader>(*this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  friend class detail::BlockIterator<FileReader>;

  FileReader(const detail::Directory& where, detail::OpenFile open)
      : blocks_(where, std::move(open.file), std::move(open.path), {.size = open.size}, {}) {}

  Bytes next_block() {
    if (!rest_.empty()) return std::exchange(rest_, {});
    const Bytes block = blocks_.next();
    return block.subspan(std::min(block.size(), std::exchange(skip_, 0)));
  }

  detail::BlockReader blocks_;
  Bytes rest_;
  std::size_t skip_ = 0;  // of the first block
};

/// A small file, whole. @throws Error as `FileReader`
inline std::vector<std::byte> read_file(Workspace where, std::string_view name) {
  const detail::OpenFile open = detail::open_for_reading(detail::directory_of(where), name);
  std::vector<std::byte> bytes(open.size);
  const sys::Moved moved = sys::pread_all(open.file.get(), bytes, 0);
  if (moved.error != 0) detail::throw_error(moved.error, "read", open.path);
  if (moved.size < bytes.size()) detail::throw_cut_short(open.path, moved.size, bytes.size());
  return bytes;
}

}  // namespace scratch::inline SCRATCH_ABI
