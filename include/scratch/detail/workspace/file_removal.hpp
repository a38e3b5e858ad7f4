// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Removing several files of a workspace, and what is on record about them.
#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/remove_tree.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/guest.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Goes on past what cannot be removed. In the end the guests forget the files that went, and the first failure is
/// thrown.
class FileRemoval {
 public:
  explicit FileRemoval(Directory from) : from_(std::move(from)) {
    from_.state().check_writable("remove files in", from_.path());
  }

  /// A file of the directory itself, if it is ours.
  void file(const std::string& name) { remove_ours(from_.fd(), name, from_.relative(name)); }

  /// One of ours, in the directory or an area of it; directories that are empty then go too.
  void file_below(const std::string& record) {
    Way way;
    if (!enter(record, way)) return;
    remove_ours(way.end(from_.fd()), way.rest, record);
    for (; !way.directories.empty(); way.names.pop_back()) {
      way.directories.pop_back();
      if (sys::unlinkat(way.end(from_.fd()), way.names.back().c_str(), AT_REMOVEDIR) != 0) return;
    }
  }

  /// A file or a directory with all that is in it.
  void tree(const std::string& name) {
    const std::string record = from_.relative(name);
    if (spared_.contains(record)) return;
    const Removed removed = remove_tree(from_.fd(), name);
    freed_ += removed.bytes;
    trees_.insert(record);
    if (removed.error != 0) fail(removed.error, from_.relative(removed.failed));
  }

  /// Everything in the directory and its areas is about to go.
  void all() {
    for_guests([&](Guest& guest) { guest.all_depart(from_.prefix()); });
  }

  /// What guests keep about files of the directory whose names pass `goes`.
  void books(const NameFilter& goes) { books(from_, from_.prefix(), goes); }

  /// The same in an area, for names in records that are among `ours`.
  void books_below(const std::string& area, const NameSet& ours) {
    Way way;
    if (!enter(area, way)) return;
    const auto goes = [&](std::string_view name) { return ours.contains(area + std::string(name)); };
    if (way.directories.empty()) return books(from_, area, NameFilter(goes));
    books(Directory(from_.shared_state(), std::move(way.directories.back()), from_.state().path() / area, area), area,
          NameFilter(goes));
  }

  /// @returns the bytes freed
  /// @throws Error the first one
  std::uint64_t finish() {
    SharedState& state = from_.state();
    state.quota().removed(freed_);
    if (!files_.empty() || !trees_.empty())
      for (const std::unique_ptr<Guest>& guest : state.guests()) guest->removed(files_, trees_);
    if (failure_) throw Error{*failure_};
    return freed_;
  }

  // For guests.

  /// Removes the file `name` of a directory, where it stands for `record`.
  void remove(int directory, const std::string& name, std::string record) {
    struct stat facts {};
    if (spared_.contains(record)) return;
    if (sys::fstatat(directory, name.c_str(), facts) != 0) {
      if (errno != ENOENT) fail(errno, record);
      return;
    }
    std::vector<std::unique_ptr<Hold>> holds;
    const bool told = for_guests([&](Guest& guest) {
      if (std::unique_ptr<Hold> one = guest.departs(record, "")) holds.push_back(std::move(one));
    });
    if (sys::unlinkat(directory, name.c_str()) == 0) {
      freed_ += static_cast<std::uint64_t>(facts.st_size);
      for (const std::unique_ptr<Hold>& one : holds) one->moved();
      if (!told) files_.insert(std::move(record));
    } else if (errno != ENOENT) {
      fail(errno, record);
    }
  }

  /// `record` stays, since `why`.
  void spare(std::string record, const Error& why) {
    spared_.insert(std::move(record));
    if (!failure_) failure_ = why;
  }

 private:
  // Guests put on record what is about to go. Where the disk is too full for that it goes nevertheless, which makes room,
  // and `removed` tells them: false.
  template <class Tell>
  bool for_guests(Tell tell) {
    try {
      for (const std::unique_ptr<Guest>& guest : from_.state().guests()) tell(*guest);
      return true;
    } catch (const Error& error) {
      if (error.code() != std::errc::no_space_on_device && error.code().value() != EDQUOT) throw;
      return false;
    }
  }

  void remove_ours(int directory, const std::string& name, std::string record) {
    try {
      struct stat facts {};
      if (sys::fstatat(directory, name.c_str(), facts) != 0 && errno == ENOENT)
        files_.insert(std::move(record));  // a removal that failed may have left it on record
      else if (from_.state().is_ours(directory, name, record))
        remove(directory, name, std::move(record));
    } catch (const Error& error) {
      if (!failure_) failure_ = error;
    }
  }

  // From the workspace to a file below it, area by area; no link is followed.
  struct Way {
    std::vector<Fd> directories{};
    std::vector<std::string> names{};
    std::string rest{};  // the file's name

    int end(int from) const { return directories.empty() ? from : directories.back().get(); }
  };

  // @param record as it stands in records, below this workspace. False: there is no such way, or that failed
  bool enter(const std::string& record, Way& way) {
    std::string_view rest = std::string_view(record).substr(from_.prefix().size());
    for (std::size_t slash = 0; (slash = rest.find('/')) != rest.npos; rest.remove_prefix(slash + 1)) {
      way.names.emplace_back(rest.substr(0, slash));
      Fd next = open_directory(way.end(from_.fd()), way.names.back().c_str());
      const int error = errno;
      way.directories.push_back(std::move(next));
      if (way.directories.back()) continue;
      if (error != ENOENT) fail(error, record);
      return false;
    }
    way.rest = rest;
    return true;
  }

  void books(const Directory& where, const std::string& prefix, const NameFilter& goes) {
    for (const std::unique_ptr<Guest>& guest : where.state().guests())
      guest->before_removal(*this, where, prefix, goes);
  }

  void fail(int error, const std::string& record) {
    if (!failure_) failure_ = Error(error, "remove", from_.state().path() / record, open_files_hint(error));
  }

  Directory from_;
  std::uint64_t freed_ = 0;
  // Names as they stand in records.
  NameSet files_{}, trees_{}, spared_{};
  std::optional<Error> failure_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
