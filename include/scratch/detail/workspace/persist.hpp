// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Moves one file out of a workspace, to stay.
//
// The target is the kernel's to understand: `x/../y` may lead anywhere where `x` is a link.
//
// 1. What has the name must be a plain file of ours, and nothing of which somebody keeps books that are not closed.
// 2. It gets the mode of the file that it replaces, or what the umask leaves. `Durable`: sync it.
// 3. Rename it to the target. On one file system that is all.
// 4. Else copy it into an unnamed file beside the target, (sync,) give that the target's name, and remove the original.
// 5. The chunk's record goes, if it was a chunk, and the quota has its bytes back.
// 6. `Durable`: sync the target's directory, unless 4 did.
#pragma once

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/rename.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Of this process, without changing it for a moment as umask(2) would. Nothing where /proc does not say.
inline std::optional<mode_t> process_umask() {
  constexpr std::string_view word = "\nUmask:\t";
  const Fd status(sys::openat(AT_FDCWD, "/proc/self/status", O_RDONLY));
  std::array<char, 512> text{};
  if (!status) return std::nullopt;
  const std::size_t size = sys::read_all(status.get(), std::as_writable_bytes(std::span(text))).size;
  const std::string_view seen(text.data(), size);
  const std::size_t at = seen.find(word);
  if (at == seen.npos) return std::nullopt;
  unsigned mask = 0;
  const char* const digits = seen.data() + at + word.size();
  if (std::from_chars(digits, seen.data() + seen.size(), mask, 8).ec != std::errc()) return std::nullopt;
  return static_cast<mode_t>(mask & 0777);
}

/// Of a result that replaces nothing; `otherwise` where the umask is not known.
inline mode_t mode_of_result(mode_t otherwise) {
  const std::optional<mode_t> mask = process_umask();
  return mask ? (mode_by_umask & ~*mask) | private_mode : otherwise;
}

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
    const auto size = static_cast<std::uint64_t>(facts_of(file.get(), source_).st_size);
    if (!target_.has_filename() || target_.filename() == "." || target_.filename() == "..")
      fail(EISDIR, "name the file, not only its directory");
    // 2.
    Mode mode(*this, file);
    if (from_.durable() && sys::fsync(file.get()) != 0) fail(errno, "syncing it failed");
    // 3. and 4.
    renaming.departs("");
    const bool renamed = sys::rename(from_.fd(), name_.c_str(), AT_FDCWD, target_.c_str()) == 0;
    if (!renamed) {
      const int error = errno;
      if (error != EXDEV) fail(error, error == EISDIR ? "a directory has the target's name" : "");
      copy(file.get());
      if (sys::unlinkat(from_.fd(), name_.c_str()) != 0 && errno != ENOENT)
        throw Error(errno, "remove, after it was copied,", source_,
                    "the target is in place and whole; this one is still here, too", target_);
    }
    mode.keep();
    // 5.
    renaming.moved();
    from_.state().quota().removed(size);
    // 6.
    if (!from_.durable() || !renamed) return;
    const Fd beside = target_directory();
    if (sys::fsync(beside.get()) != 0)
      throw_error(errno, "sync the directory of", target_, "the file is in place, and may be lost with the power");
  }

 private:
  // The file's own again when this dies, unless it is kept.
  class Mode {
   public:
    Mode(const Persisting& work, const Fd& file)
        : file_(file), before_(facts_of(file.get(), work.source_).st_mode & 0777) {
      struct stat old {};
      const bool replaces = sys::fstatat(AT_FDCWD, work.target_.c_str(), old) == 0 && S_ISREG(old.st_mode);
      const mode_t wanted = replaces ? old.st_mode & 0777 : mode_of_result(before_);
      changed_ = wanted != before_ && set_mode(file.get(), wanted, work.source_, &work.from_.state().lacks());
    }
    Mode(const Mode&) = delete;
    Mode& operator=(const Mode&) = delete;
    ~Mode() {
      if (changed_) sys::fchmod(file_.get(), before_);
    }

    void keep() noexcept { changed_ = false; }

   private:
    const Fd& file_;
    mode_t before_;
    bool changed_;
  };

  [[noreturn]] void fail(int error, const std::string& why) const {
    throw Error(error, "persist", source_, why.empty() ? "target unchanged" : why + "; target unchanged", target_);
  }

  Fd target_directory() const {
    Fd directory(sys::openat(AT_FDCWD, target_.parent_path().c_str(), O_RDONLY | O_DIRECTORY));
    if (!directory) fail(errno, "its directory cannot be opened");
    return directory;
  }

  // Whatever fails on the way, it is persisting that failed.
  void copy(int file) const {
    const Fd beside = target_directory();
    bool in_place = false;
    try {
      copy(file, beside.get(), in_place);
    } catch (const Error& error) {
      const std::string why = "the copy that another file system needs: cannot " + error.doing() +
                              (error.hint().empty() ? "" : ", " + error.hint());
      throw Error(error.code(), "persist", source_, in_place ? why : why + "; target unchanged", target_);
    }
  }

  void copy(int file, int beside, bool& in_place) const {
    const std::string name = target_.filename();
    Lacks lacks;  // of the target's file system
    TempFile copied(beside, target_.parent_path(), from_.durable(), "make a file in", mode_by_umask, &lacks);
    for (;;) {
      const ssize_t n = sys::copy_file_range(file, copied.fd(), std::size_t{1} << 30);
      if (n == 0) break;
      if (n > 0) continue;
      const int error = errno;
      if (error != EXDEV && !means_lack(error)) throw_error(error, "copy to", target_);
      copy_by_hand(file, copied.fd());
      break;
    }
    copied.settle(name, Replacing::whatever_is_there);
    copied.give_name(name, Replacing::whatever_is_there);
    in_place = true;
    copied.finish(name, Replacing::whatever_is_there);
  }

  // From the start: what copy_file_range did before it gave up is written again.
  void copy_by_hand(int from, int to) const {
    std::vector<std::byte> block(1_MiB);
    for (std::uint64_t at = 0;;) {
      const sys::Moved in = sys::pread_all(from, block, at);
      if (in.error != 0) throw_error(in.error, "read", source_);
      const sys::Moved out = sys::pwrite_all(to, Bytes(block).first(in.size), at);
      if (out.error != 0) throw_error(out.error, "copy to", target_);
      at += in.size;
      if (in.size < block.size()) return;
    }
  }

  Directory from_;
  std::string name_;
  std::filesystem::path source_, target_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
