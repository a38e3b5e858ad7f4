// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// What stands in a directory.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>
#include <type_traits>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// One name in a directory. `name` is valid until the next entry is read, and ends with a NUL byte.
struct Entry {
  std::string_view name{};
  unsigned char type = DT_UNKNOWN;  ///< DT_DIR, DT_REG, ...; DT_UNKNOWN where the file system does not say
};

/// Reads an open directory from where it stands, "." and ".." left out. What is added or removed meanwhile may be seen
/// or not; the rest is seen once.
class Listing {
 public:
  /// @param directory open for reading; stays the caller's
  explicit Listing(int directory) : directory_(directory) {}

  /// False at the end, and where reading fails: then `error()` is not 0.
  bool next(Entry& entry) {
    for (;;) {
      if (at_ == end_ && !fill()) return false;
      entry.type = static_cast<unsigned char>(buffer_[at_ + offsetof(Record, type)]);
      entry.name = name_at(at_);
      at_ += length_at(at_);
      if (entry.name != "." && entry.name != "..") return true;
    }
  }

  int error() const noexcept { return error_; }
  int directory() const noexcept { return directory_; }

  /// Whether a name is among those to come, where the buffer takes them all; else nothing.
  /// @pre asked before the first `next`
  std::optional<bool> has(std::string_view name) {
    return has_one([&](std::string_view other) { return other == name; });
  }

  /// Whether no name is to come; nothing where reading fails.
  /// @pre asked before the first `next`
  std::optional<bool> is_empty() {
    const auto some = has_one([](std::string_view name) { return name != "." && name != ".."; });
    if (some) return !*some;
    return error_ != 0 ? std::nullopt : std::optional(false);
  }

 private:
  template <class Fits>
  std::optional<bool> has_one(Fits fits) {
    while (!ended_ && read_on()) continue;
    if (!ended_ || error_ != 0) return std::nullopt;
    for (std::size_t at = 0; at < end_; at += length_at(at))
      if (fits(std::string_view(name_at(at)))) return true;
    return false;
  }

  // struct linux_dirent64 of getdents64(2), which no header of glibc's declares under this name.
  struct Record {
    std::uint64_t inode;
    std::int64_t offset;
    std::uint16_t length;
    std::uint8_t type;
    char name[1];
  };

  const char* name_at(std::size_t record) const {
    return reinterpret_cast<const char*>(buffer_ + record + offsetof(Record, name));
  }

  std::size_t length_at(std::size_t record) const {
    std::uint16_t length = 0;
    std::memcpy(&length, buffer_ + record + offsetof(Record, length), sizeof length);
    return length;
  }

  bool fill() {
    at_ = end_ = 0;
    return !ended_ && read_on();
  }

  // False: there is no more, or no more room in the buffer.
  bool read_on() {
    const ssize_t size = sys::getdents64(directory_, buffer_ + end_, sizeof buffer_ - end_);
    if (size > 0) {
      end_ += static_cast<std::size_t>(size);
      return true;
    }
    if (size < 0 && errno == EINVAL && end_ > 0) return false;
    if (size < 0 && errno != ENOENT) error_ = errno;  // ENOENT: the directory itself has been removed
    ended_ = true;
    return false;
  }

  int directory_;
  int error_ = 0;
  bool ended_ = false;
  std::size_t at_ = 0, end_ = 0;
  alignas(std::uint64_t) std::byte buffer_[32768];
};

/// Calls `visit(const Entry&)` for each entry of a directory; where it returns a bool, false ends the listing.
///
/// @param directory any descriptor of it, also one that was read before
/// @param path      what an error calls it
/// @throws Error    EMFILE, EACCES, ...
template <class Visit>
void for_each_entry(int directory, const std::filesystem::path& path, Visit visit) {
  const Fd fresh = open_directory(directory, ".");
  if (!fresh) {
    const int error = errno;
    throw_error(error, "list", path, open_files_hint(error));
  }
  Listing listing(fresh.get());
  for (Entry entry; listing.next(entry);) {
    if constexpr (std::is_convertible_v<std::invoke_result_t<Visit&, const Entry&>, bool>) {
      if (!visit(static_cast<const Entry&>(entry))) return;
    } else {
      visit(static_cast<const Entry&>(entry));
    }
  }
  if (listing.error() != 0) throw_error(listing.error(), "list", path);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
