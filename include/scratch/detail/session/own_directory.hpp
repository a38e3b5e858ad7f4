// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A session's directory as who is in it has it: open, and the way back from it to its name in the root.
//
// The root's descriptor is held while a session begins, and spared from then on: "../<name>" leads back. One that was
// moved elsewhere with its name can be used on, and is left there in the end.
#pragma once

#include <cerrno>
#include <filesystem>
#include <string>
#include <utility>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/session/entry.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Used by one thread at a time, save for what is const.
class OwnDirectory {
 public:
  /// Of a session that is to be made, or, with a name, of one that is there: none is open yet.
  explicit OwnDirectory(Root root, std::string name = {})
      : root_(std::move(root.directory)),
        entry_{root_.get(), std::move(root.path), std::move(name)},
        path_(entry_.name.empty() ? entry_.root_path : entry_.path()) {}
  /// Of one that is there. @pre a normal path
  /// @throws Error `session_gone` where there is no such root
  static OwnDirectory at(const std::filesystem::path& path, const char* doing) {
    const std::filesystem::path root = path.parent_path();
    OwnDirectory own(Root{Fd(sys::openat(AT_FDCWD, root.c_str(), O_RDONLY | O_DIRECTORY)), root}, path.filename());
    if (!own.root_) own.refuse(errno, doing);
    return own;
  }

  const std::filesystem::path& path() const noexcept { return path_; }
  const std::string& name() const noexcept { return entry_.name; }
  const std::filesystem::path& root_path() const noexcept { return entry_.root_path; }
  /// Empty once it was spared.
  const Fd& root() const noexcept { return root_; }
  const Fd& fd() const noexcept { return directory_; }
  /// As it was when it was opened.
  const struct stat& facts() const noexcept { return facts_; }
  bool umask_is_strange() const noexcept { return umask_is_strange_; }

  /// False: the name is taken, or the directory was removed at once; another name may do. @throws Error
  bool make(std::string name, Lacks& lacks) {
    entry_.name = std::move(name);
    path_ = entry_.path();
    MadeDirectory made = make_directory(root_.get(), entry_.name.c_str(), 0700);
    const int error = errno;
    directory_ = std::move(made.directory);
    facts_ = made.facts;
    umask_is_strange_ = made.umask_is_strange;
    if (!made.keeps_modes) lacks.add(Lack::modes);
    if (directory_) return true;
    struct stat facts {};
    const bool root_is_there = sys::fstat(root_.get(), facts) == 0 && facts.st_nlink > 0;
    if ((error == EEXIST || error == ENOENT) && root_is_there) return false;
    std::string hint = hint_for_root(entry_.root_path, error);
    if (error == ENOSPC || error == EDQUOT) hint = "no space or no inodes are free; sweep() removes what the dead left";
    if (error == ENAMETOOLONG) hint = "the name has " + std::to_string(entry_.name.size()) + " bytes";
    if (!root_is_there) hint = "somebody removed the root";
    throw_error(error, "create the session", path_, hint);
  }

  /// Opens the one that is there, following no link.
  /// @throws Error `session_gone`; `untrusted_directory` unless this is the user who created it
  void open(const char* doing) {
    directory_ = open_directory(root_.get(), entry_.name.c_str());
    if (!directory_) refuse(errno, doing);
    facts_ = facts_of(directory_.get(), path_);
    const uid_t me = sys::geteuid();
    if (facts_.st_uid == me) return;
    throw_error(errc::untrusted_directory, doing, path_,
                "found " + described(facts_) + ", and its user must do this; " +
                    (me == 0 ? "files of root would lock that one out: become that user, or look with SessionView"
                             : "this is user " + std::to_string(me)));
  }

  /// From now on the root is reached from within. @throws Error and then all is as before
  void spare_root() {
    const struct stat facts = facts_of(root_.get(), entry_.root_path);
    way_back_ = "../" + entry_.name;  // where it is taken back there may be no memory
    entry_.within = facts;
    entry_.root = directory_.get();
    root_.reset();
  }

  /// Where it stands, and under this name. The descriptor in it stays this one's.
  SessionEntry entry(const std::string& name) const {
    SessionEntry entry = entry_;
    entry.name = name;
    return entry;
  }

  /// Whether its name in its root leads to it. @throws Error when it cannot tell
  bool is_where_it_stood() const { return leads_to(entry_, facts_); }
  /// Whether its name leads to it, in whatever root. One call. @pre the root is spared @throws Error when it cannot tell
  bool has_its_name() const { return leads_to(entry_.root, way_back_, facts_, path_); }

  /// The name outlives a power cut afterwards. @pre the root is spared @throws Error
  void sync_root() const {
    const Fd root = open_directory(directory_.get(), "..");
    if (!root || sys::fsync(root.get()) != 0) {
      const int error = errno;
      throw_error(error, "sync", entry_.root_path, open_files_hint(error));
    }
  }

  /// The way out of it needs its x bit, which somebody may have taken.
  void keep_way_out() const noexcept {
    struct stat now {};
    if (sys::fstat(directory_.get(), now) == 0 && (now.st_mode & 0100) == 0)
      sys::fchmod(directory_.get(), (now.st_mode & 07777) | 0100);
  }

  /// Its name goes where nothing is in it. Asks for no memory.
  void remove_empty() const noexcept {
    sys::fchmod(directory_.get(), 0700);  // no mark, where it cannot be removed
    sys::unlinkat(entry_.root, entry_.within ? way_back_.c_str() : entry_.name.c_str(), AT_REMOVEDIR);
  }

  void close() noexcept { directory_.reset(); }

  [[noreturn]] void refuse(int error, const char* doing) const {
    if (error == ENOENT) throw_error(errc::session_gone, doing, path_, "nothing is there");
    throw_error(error, doing, path_, open_files_hint(error));
  }

 private:
  Fd root_;
  SessionEntry entry_;
  std::filesystem::path path_;
  std::string way_back_{};  // from within to its name
  Fd directory_{};
  struct stat facts_ {};
  bool umask_is_strange_ = false;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
