// SPDX-License-Identifier: MIT
// floor 3: one place
//
// A directory to write in, as all that writes in it sees it: the state that it shares with others, and which directory
// below the state's own it is. `Workspace` is its public face.
#pragma once

#include <cerrno>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/workspace/reservation.hpp>
#include <scratch/detail/workspace/shared_state.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A path that is joined when an error has to tell it: that takes as long as three system calls.
struct FileIn {
  const std::filesystem::path& directory;
  const std::string& name;

  operator std::filesystem::path() const { return directory / name; }
};

/// A cheap handle: copies share everything. Thread-safe.
class Directory {
 public:
  /// The state's own directory.
  explicit Directory(std::shared_ptr<SharedState> state)
      : state_(std::move(state)), area_(std::make_shared<Area>(Fd(), state_->path(), "")) {}
  /// One below it.
  /// @param prefix what its files' names begin with in records: "sorting/"
  Directory(std::shared_ptr<SharedState> state, Fd open, std::filesystem::path path, std::string prefix)
      : state_(std::move(state)), area_(std::make_shared<Area>(std::move(open), std::move(path), std::move(prefix))) {}

  /// @throws Error EINVAL once this was moved from, as all that follows except `path()`
  const std::shared_ptr<SharedState>& shared_state() const {
    if (!state_) throw_error(EINVAL, "use the workspace", {}, "it was moved to another object");
    return state_;
  }
  SharedState& state() const { return *shared_state(); }
  /// Empty once this was moved from.
  const std::filesystem::path& path() const noexcept {
    static const std::filesystem::path none;
    return area_ ? area_->path : none;
  }
  int fd() const { return area_->open ? area_->open.get() : state_->fd(); }
  bool durable() const { return state().durable(); }
  /// Of new files: results, in a plain directory, are as the umask, or what they replace, has it.
  mode_t file_mode() const { return state().is_session() ? private_mode : mode_by_umask; }

  const std::string& prefix() const noexcept { return area_->prefix; }
  /// A file's name as it stands in records: below the state's directory, not below this one.
  std::string relative(std::string_view name) const { return area_->prefix + std::string(name); }

  /// What is, or will be, here under a name; `name` stays as it is as long as this.
  FileIn file(const std::string& name) const { return {path(), name}; }

  /// @throws Error `session_gone`, `forked_object`
  void check() const { state().check(); }

  /// @throws Error EROFS where this only looks
  Reservation reservation() const {
    state().check_writable("write in", path());
    return Reservation(state_);
  }

  /// Holds a share of the state: what reads or writes may outlive every handle on the workspace.
  EnginePool::Lease lease() const { return state_->engines().lease(state_); }

  void emit(EventKind kind, const std::filesystem::path& file, std::uint64_t bytes = 0,
            std::string_view message = {}) const noexcept {
    state_->emit(kind, file, bytes, message);
  }

  /// Before a name is given to a file that no guest knows.
  /// @throws Error EEXIST where another one is on record under it
  void check_free(const std::string& name, const char* doing) const {
    for (const std::unique_ptr<Guest>& guest : state_->guests()) guest->check_free(*this, name, doing);
  }

  /// Before an open file gets its name, and until it has it: in a plain directory this is on record. @throws Error
  OwnedNames::OnRecord committing(const std::string& name, int file) const {
    return put_on_record(name, [&] { return identity_of(file); });
  }

  /// The same for a file that has another name, in this directory or another one. @throws Error
  OwnedNames::OnRecord arriving(const std::string& name, int from, const std::string& old_name) const {
    return put_on_record(name, [&] { return identity_of(from, old_name.c_str()); });
  }

  /// A file has its name here: in a plain directory this is on record afterwards. @throws Error
  void committed(const std::string& name) const { const auto on_record = arriving(name, fd(), name); }

  /// The directory that a file on record is in; nothing where there is none. No link is followed.
  /// @param record the file's name relative to the state's directory
  /// @throws Error
  std::optional<Directory> area_of(const std::string& record) const {
    Fd open;
    std::size_t begin = 0;
    for (std::size_t end; (end = record.find('/', begin)) != record.npos; begin = end + 1) {
      open = open_directory(open ? open.get() : state().fd(), record.substr(begin, end - begin).c_str());
      if (!open && errno == ENOENT) return std::nullopt;
      if (!open) throw_error(errno, "open the area", state().path() / record.substr(0, end), open_files_hint(errno));
    }
    if (begin == 0) return Directory(state_);
    return Directory(state_, std::move(open), state().path() / record.substr(0, begin - 1), record.substr(0, begin));
  }

  /// The directory of this name below this one, made when it is not there.
  /// @throws Error `invalid_name`; ENOTDIR, ELOOP; ENOENT when it is not there and this only looks
  Directory area(std::string_view given) const {
    check_file_name(given, "open the area");
    check();
    const std::string name(given);
    const std::filesystem::path below = path() / name;
    const bool look = state_->read_only();
    Fd open = look ? Fd() : make_area(name, below);
    const bool is_new = static_cast<bool>(open);
    if (!is_new) open = open_directory(fd(), name.c_str());
    if (!open) throw_error(errno, "open the area", below, open_files_hint(errno));
    if (is_new && durable() && sys::fsync(fd()) != 0) throw_error(errno, "sync the directory of the area", below);
    if (!look && !is_new && !state_->is_session()) remove_stale_temp_files(open.get(), below);
    return {state_, std::move(open), below, area_->prefix + name + "/"};
  }

 private:
  struct Area {
    Area(Fd opened, std::filesystem::path where, std::string begin)
        : open(std::move(opened)), path(std::move(where)), prefix(std::move(begin)) {}

    Fd open;  // empty: the state's own directory
    std::filesystem::path path;
    std::string prefix;
  };

  template <class Identity>
  OwnedNames::OnRecord put_on_record(const std::string& name, Identity identity_of_it) const {
    if (state_->is_session()) return {};
    const std::optional<FileIdentity> identity = identity_of_it();
    return identity ? state_->owned_names().add(relative(name), *identity) : OwnedNames::OnRecord();
  }

  // Empty where it is there already.
  Fd make_area(const std::string& name, const std::filesystem::path& below) const {
    MadeDirectory made = make_directory(fd(), name.c_str(), 0700);
    for (Askings askings; !made.directory && errno != EEXIST;) {
      state_->make_room(0, errno, "create the area", below, askings);
      made = make_directory(fd(), name.c_str(), 0700);
    }
    return std::move(made.directory);
  }

  std::shared_ptr<SharedState> state_;
  std::shared_ptr<const Area> area_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
