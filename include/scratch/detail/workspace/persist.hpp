// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Moves one file out of a workspace, to stay.
//
// 1. What has the name must be a plain file of ours, and nothing of which somebody keeps books that are not closed.
// 2. Look where the target leads. What is no file of this user's is written, not replaced: go on with 6.
// 3. The file becomes like the one that it replaces, else like one that is made there. `Durable`: sync it.
// 4. Rename it to the target. On one file system that is all.
// 5. Else copy it into an unnamed file beside the target, (sync,) and give that the target's name; go on with 7.
// 6. Copy it into what is there, cut that off behind it, (sync,) in place of 3 to 5, also where 4 is refused: a mount
//    point, a directory that is not ours to change.
// 7. Remove the original.
// 8. The chunk's record goes, if it was a chunk, and the quota has its bytes back.
// 9. `Durable`: sync the target's directory, unless 5 did.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/rename.hpp>
#include <scratch/detail/workspace/result_place.hpp>
#include <scratch/error.hpp>
#include <scratch/space.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

class Persisting {
 public:
  Persisting(Directory from, std::string_view name, const std::filesystem::path& to)
      : from_(std::move(from)), name_(name), source_(from_.path() / name_), target_(absolute_path(to)) {}

  void run() {
    check_file_name(name_, "persist");
    from_.check();
    // 1.
    Renaming renaming(from_, name_, "persist");
    const Fd file = open_existing(from_.fd(), name_.c_str(), O_RDONLY, source_);
    size_ = static_cast<std::uint64_t>(facts_of(file.get(), source_).st_size);
    // 2.
    const ResultPlace place = in_own_words([&] { return ResultPlace::of(target_); });
    renaming.departs("");
    const bool renamed = in_own_words([&] { return put(file.get(), place); });
    // 7.
    if (!renamed && sys::unlinkat(from_.fd(), name_.c_str()) != 0 && errno != ENOENT)
      throw Error(errno, "remove, after it was copied,", source_,
                  "the target is in place and whole; this one is still here, too", target_);
    // 8.
    renaming.moved();
    from_.state().quota().removed(size_);
    // 9.
    if (renamed && from_.durable()) sync_directory(place);
  }

 private:
  // Whatever fails on the way, it is persisting that failed.
  template <class Work>
  std::invoke_result_t<Work> in_own_words(Work work) const {
    try {
      return work();
    } catch (const Error& error) {
      std::string why = "cannot " + std::string(error.doing());
      if (!error.hint().empty()) why.append(", ").append(error.hint());
      throw Error(error.code(), "persist", source_, why + (touched_ ? "" : "; target unchanged"), target_);
    }
  }

  // Whether the file itself is there now, and not a copy.
  bool put(int file, const ResultPlace& place) {
    if (place.way == ResultPlace::Way::replaced) {
      try {
        return replace(file, place);
      } catch (const Error& error) {
        if (!place.old || touched_ || !is_of_the_directory(error)) throw;
      }
    }
    write_into(file, place);
    return false;
  }

  // The name cannot be given to another file; the one that has it can perhaps be written.
  static bool is_of_the_directory(const Error& error) {
    return error.code() == std::errc::device_or_resource_busy || error.code() == std::errc::permission_denied ||
           error.code() == std::errc::operation_not_permitted || error.code() == std::errc::read_only_file_system;
  }

  // What the file is like again when this dies, unless the file is where it should be.
  class Likened {
   public:
    Likened(int file, const Likeness& like, const std::filesystem::path& path)
        : file_(file), before_(Likeness::of(file, path)) {
      like.give(file_);
    }
    Likened(const Likened&) = delete;
    Likened& operator=(const Likened&) = delete;
    ~Likened() {
      if (!kept_) before_.give(file_);
    }
    void keep() noexcept { kept_ = true; }

   private:
    int file_;
    Likeness before_;
    bool kept_ = false;
  };

  bool replace(int file, const ResultPlace& place) {
    // 3.
    const std::filesystem::path around = place.path.parent_path();
    const Fd beside(sys::openat(place.directory.get(), ".", O_DIRECTORY | (from_.durable() ? O_RDONLY : O_PATH)));
    if (!beside) throw_error(errno, "open the directory", around);
    std::optional<TempFile> made;
    const auto make = [&](Lacks* lacks) {
      made.emplace(beside.get(), around, from_.durable(), "make a file in", mode_by_umask, lacks);
    };
    if (!place.old) make(nullptr);  // it gets no name: nothing is tried
    const Likeness like = made ? made->likeness() : likeness_of_old(place);
    Likened likened(file, like, source_);
    if (from_.durable() && sys::fsync(file) != 0) throw_error(errno, "sync", source_);
    // 4.
    if (sys::rename(from_.fd(), name_.c_str(), beside.get(), place.name.c_str()) == 0) {
      likened.keep();
      return true;
    }
    if (errno != EXDEV) throw_error(errno, "rename it to", place.path);
    // 5.
    Lacks lacks;  // of the target's file system
    make(&lacks);
    copy(file, made->fd());
    like.give(made->fd());
    made->settle(place.name, Replacing::whatever_is_there);
    made->give_name(place.name, Replacing::whatever_is_there);
    touched_ = true;
    made->finish(place.name, Replacing::whatever_is_there);
    return false;
  }

  static Likeness likeness_of_old(const ResultPlace& place) {
    const Fd old(sys::openat(place.directory.get(), place.name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    return old ? Likeness::of(old.get(), place.path) : Likeness::of(*place.old);
  }

  // 6.
  void write_into(int file, const ResultPlace& place) {
    const Fd target = place.open();
    if (!place.old) {
      touched_ = true;
      return pour(file, target.get());
    }
    const std::uint64_t before = static_cast<std::uint64_t>(facts_of(target.get(), place.path).st_size);
    const std::uint64_t more = size_ - std::min(size_, before), room = space_of(target.get(), place.path).bytes;
    if (more > room)
      throw_error(ENOSPC, "write", place.path, readable_size(more) + " needed, " + readable_size(room) + " free");
    touched_ = true;
    copy(file, target.get());
    if (sys::ftruncate(target.get(), size_) != 0) throw_error(errno, "cut off", place.path);
    if (from_.durable() && sys::fsync(target.get()) != 0) throw_error(errno, "sync", place.path);
    if (const int error = error_at_close(target, place.path)) throw_error(error, "close", place.path);
  }

  void copy(int from, int to) const {
    std::uint64_t copied = 0;
    if (sys::rewind(from) != 0) throw_error(errno, "read", source_);
    while (copied < size_) {
      const ssize_t n = sys::copy_file_range(from, to, std::size_t{1} << 30);
      if (n == 0) break;
      if (n > 0) copied += static_cast<std::uint64_t>(n);
      if (n > 0) continue;
      const int error = errno;
      if (error != EXDEV && !means_lack(error)) throw_error(error, "copy to", target_);
      break;
    }
    if (copied == size_) return;
    // From the start: what copy_file_range did before it gave up is written again.
    for_each_block(from, [&](Bytes block, std::uint64_t at) { return sys::pwrite_all(to, block, at).error; });
  }

  // Where bytes have no places.
  void pour(int from, int to) const {
    for_each_block(from, [&](Bytes block, std::uint64_t) {
      while (!block.empty()) {
        const ssize_t n = sys::append_once(to, block);
        if (n < 0) return errno;
        block = block.subspan(static_cast<std::size_t>(n));
      }
      return 0;
    });
  }

  template <class Write>
  void for_each_block(int from, Write write) const {
    std::vector<std::byte> block(1_MiB);
    for (std::uint64_t at = 0;;) {
      const sys::Moved in = sys::pread_all(from, block, at);
      if (in.error != 0) throw_error(in.error, "read", source_);
      if (const int error = write(Bytes(block).first(in.size), at)) throw_error(error, "copy to", target_);
      at += in.size;
      if (in.size < block.size()) return;
    }
  }

  void sync_directory(const ResultPlace& place) const {
    const Fd around(sys::openat(place.directory.get(), ".", O_RDONLY | O_DIRECTORY));
    if (!around || sys::fsync(around.get()) != 0)
      throw_error(errno, "sync the directory of", target_, "the file is in place, and may be lost with the power");
  }

  Directory from_;
  std::string name_;
  std::filesystem::path source_, target_;
  std::uint64_t size_ = 0;
  bool touched_ = false;  // what stands at the target is not, or not only, what was there
};

}  // namespace scratch::inline SCRATCH_ABI::detail
