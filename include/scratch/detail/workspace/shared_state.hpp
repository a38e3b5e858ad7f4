// SPDX-License-Identifier: MIT
// floor 3: one place
//
// What a workspace, its areas, their handles and threads share: the directory held open, the options, the engines, the
// quota and the guests that keep books. A session's state is one of these, too.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/engine_pool.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/workspace/askings.hpp>
#include <scratch/detail/workspace/guest.hpp>
#include <scratch/detail/workspace/owned_names.hpp>
#include <scratch/detail/workspace/quota.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/space.hpp>
#include <scratch/workspace_options.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Thread-safe.
class SharedState {
 public:
  /// Of a plain directory, whose other files are none of our business.
  /// @param first a guest that is there in every program
  SharedState(Fd directory, std::filesystem::path path, WorkspaceOptions options, GuestMaker first)
      : SharedState(std::move(directory), -1, nullptr, std::move(path), std::move(options), first) {}
  SharedState(const SharedState&) = delete;
  SharedState& operator=(const SharedState&) = delete;
  virtual ~SharedState() = default;

  const std::filesystem::path& path() const noexcept { return path_; }
  int fd() const noexcept { return fd_; }
  bool durable() const noexcept { return options_.durable; }
  bool read_only() const noexcept { return options_.read_only; }
  bool is_session() const noexcept { return is_session_; }
  EnginePool& engines() noexcept { return engines_; }
  OwnedNames& owned_names() noexcept { return owned_; }
  Quota& quota() noexcept { return quota_; }
  /// What the directory's file system and the kernel have not.
  Lacks& lacks() noexcept { return lacks_; }
  const std::vector<std::unique_ptr<Guest>>& guests() const noexcept { return guests_; }

  /// The guest of this type, whose header is included by whoever asks.
  template <class G>
  G& guest() const {
    for (const std::unique_ptr<Guest>& one : guests_)
      if (one->kind() == G::kind) return static_cast<G&>(*one);
    throw_error(ENOTSUP, "use the records of", path_, "this workspace was made before main()");
  }

  /// @throws Error `forked_object` in a child of the process that made it; of a session, `session_gone`
  virtual void check() {
    if (!made_here_.is_true())
      throw_error(errc::forked_object, "use the workspace", path_, "make another one in the child, of the same path");
  }

  /// False: whoever made the session is dead, so that nothing comes any more.
  virtual bool owner_is_alive() const noexcept { return true; }

  /// A chunk was put on record, or taken off it.
  virtual void recorded() noexcept {}

  /// Before an application is asked to make room: it may wait for readers, who must not wait for what is only here.
  virtual void before_asking() noexcept {}

  /// @throws Error EROFS where the workspace only looks
  void check_writable(std::string_view doing, const std::filesystem::path& what) const {
    if (options_.read_only) throw_error(EROFS, doing, what, "this workspace was opened to look only");
  }

  void emit(EventKind kind, const std::filesystem::path& path, std::uint64_t bytes = 0,
            std::string_view message = {}) const noexcept {
    notify(kind, path, bytes, message);
    tell_lacks();
  }

  /// Says what was found to be missing since the last time.
  void tell_lacks() const noexcept {
    lacks_.tell([this](Lack lack) { notify(EventKind::done_without, path_, 0, describe(lack)); });
  }

  /// A name of a table is this process's alone where nobody else can be in the session. False: another thread has it.
  bool hold_name(const std::string& name) {
    const std::lock_guard hold(names_mutex_);
    return names_held_.insert(name).second;
  }
  void let_go_of_name(const std::string& name) noexcept {
    const std::lock_guard hold(names_mutex_);
    names_held_.erase(name);
  }

  /// Reserves `bytes` of the quota, asking `on_full` as often as `Askings` lets it: others may take what it frees.
  /// @throws Error `quota_exceeded`; nothing was reserved
  void reserve(std::uint64_t bytes, std::string_view doing, const std::filesystem::path& file) {
    if (bytes == 0) return;
    Askings askings;
    while (!quota_.reserve(bytes)) {
      if (bytes <= quota_.limit() && ask_for_room(bytes, {quota_.stamp()}, askings)) continue;
      const std::uint64_t used = quota_.used();
      write_failed_ = true;
      throw_error(errc::quota_exceeded, doing, file,
                  readable_size(bytes) + " needed, " +
                      readable_size(quota_.limit() > used ? quota_.limit() - used : 0) + " of the quota of " +
                      readable_size(quota_.limit()) + " left; remove files, raise .quota, or free some in on_full" +
                      askings.hint());
    }
  }

  /// Called when a write failed with `error`: returns when it may be tried again, since `on_full` may have made room.
  /// @param askings those of before, for the same piece of work
  /// @throws Error what the kernel said, and for a full disk how much was needed and is free
  void make_room(std::uint64_t bytes, int error, std::string_view doing, const std::filesystem::path& file,
                 Askings& askings) {
    const bool full = error == ENOSPC || error == EDQUOT;
    if (!full || !ask_for_room(bytes, room_on_disk(), askings))
      throw_no_room(bytes, error, doing, file, askings.hint());
  }

  /// The same for `work`, again and again as long as `on_full` says that there may be room.
  /// @param file a path, or what makes one when there is an error to tell
  template <class File, class Work>
  auto with_room(std::uint64_t bytes, std::string_view doing, const File& file, Work work) {
    for (Askings askings;;) {
      try {
        return work();
      } catch (const Error& error) {
        const int code = error.code().category() == std::generic_category() ? error.code().value() : 0;
        if (code != ENOSPC && code != EDQUOT) {
          note_failure(code);
          throw;
        }
        make_room(bytes, code, doing, file, askings);
      }
    }
  }

  /// Whether something could not be written here since there was no room, and `on_full` made none, or since the file
  /// system is read-only or broken.
  bool write_failed() const noexcept { return write_failed_; }

  /// A write failed with `error`. What says nothing of the place counts for nothing.
  void note_failure(int error) const noexcept {
    constexpr int of_the_place[] = {ENOSPC, EDQUOT, EROFS, EIO, ENODEV, ENXIO, ESTALE, ENOTCONN, ESHUTDOWN, EUCLEAN};
    if (std::find(std::begin(of_the_place), std::end(of_the_place), error) != std::end(of_the_place))
      write_failed_ = true;
  }

  /// @throws Error always
  [[noreturn]] void throw_no_room(std::uint64_t bytes, int error, std::string_view doing,
                                  const std::filesystem::path& file, std::string_view what_else = {}) const {
    note_failure(error);
    std::string hint;
    if (error == ENOSPC || error == EDQUOT) {
      hint = readable_size(bytes) + " needed, " + free_space_text();
    } else if (error == EFBIG) {
      hint = "larger than the file-size limit of this process (ulimit -f) or of the file system";
    } else {
      hint = open_files_hint(error);
    }
    throw_error(error, doing, file, hint.append(what_else));
  }

  /// The names of files of ours, relative to here; nullopt: all of them are. Whether what has such a name now is ours
  /// `is_ours` says.
  std::optional<std::set<std::string>> files_of_ours() {
    if (is_session()) return std::nullopt;
    std::set<std::string> names = owned_.all();
    for (const std::unique_ptr<Guest>& guest : guests_) guest->add_names(names);
    return names;
  }

  /// @param record the file's name relative to here
  bool is_ours(int directory, const std::string& name, const std::string& record) {
    return is_session() || owned_.is_ours(directory, name, record);
  }

 protected:
  /// Of a session, which holds its directory open for longer than this lives.
  SharedState(int directory, Lacks& lacks, std::filesystem::path path, WorkspaceOptions options, GuestMaker first)
      : SharedState(Fd(), directory, &lacks, std::move(path), std::move(options), first) {}

 private:
  SharedState(Fd own, int of_session, Lacks* lacks, std::filesystem::path path, WorkspaceOptions options,
              GuestMaker first)
      : path_(std::move(path)),
        directory_(std::move(own)),
        fd_(directory_ ? directory_.get() : of_session),
        lacks_(lacks != nullptr ? *lacks : own_lacks_),
        options_(std::move(options)),
        is_session_(!directory_),
        engines_(
            options_.io, fd_,
            [this](const std::string& engine, bool replaced) {
              emit(replaced ? EventKind::engine_replaced : EventKind::engine_chosen, path_, 0, engine);
            },
            options_.buffers, &lacks_),
        owned_(fd_, path_),
        guests_(make_guests(*this, first)),
        quota_(is_session_ ? Quota::shared(fd_, path_, options_.quota, &lacks_)
                           : Quota::of_process(options_.quota, [this] { return committed_bytes(); })) {}

  void notify(EventKind kind, const std::filesystem::path& path, std::uint64_t bytes,
              std::string_view message) const noexcept {
    if (!options_.on_event) return;
    try {
      options_.on_event({kind, path, bytes, std::string(message)});
    } catch (...) {  // watching the work must not end it
    }
  }

  bool ask_for_room(std::uint64_t bytes, const RoomSeen& now, Askings& askings) {
    if (!options_.on_full) return false;
    before_asking();
    return askings.ask(now, [&] { return options_.on_full(bytes); });
  }

  RoomSeen room_on_disk() const noexcept {
    struct statvfs facts {};
    if (sys::fstatvfs(fd_, facts) != 0) facts = {};
    return {quota_.stamp(), facts.f_bavail, facts.f_favail};
  }

  static std::vector<std::unique_ptr<Guest>> make_guests(SharedState& state, GuestMaker first) {
    std::vector<std::unique_ptr<Guest>> guests;
    guests.push_back(first(state));
    for (const GuestMaker make : guest_makers()) guests.push_back(make(state));
    return guests;
  }

  // Of a plain workspace.
  std::uint64_t committed_bytes() {
    const std::set<std::string> names = files_of_ours().value();
    std::uint64_t bytes = 0;
    for (const std::string& name : names) {
      if (!owned_.is_ours(fd(), name, name)) continue;
      if (const auto facts = facts_of(fd(), name, path())) bytes += static_cast<std::uint64_t>(facts->st_size);
    }
    for (const std::unique_ptr<Guest>& guest : guests_) bytes += guest->bytes_kept(names);
    return bytes;
  }

  std::string free_space_text() const noexcept {
    try {
      const Space room = scratch::space(path_);
      return readable_size(room.bytes) + " and " + std::to_string(room.inodes) +
             " inodes free; nothing committed is lost";
    } catch (...) {
      return "free space unknown";
    }
  }

  std::filesystem::path path_;
  Fd directory_;  // empty in a session's
  int fd_;
  Lacks own_lacks_{};
  Lacks& lacks_;  // those, or a session's
  MadeHere made_here_{};
  WorkspaceOptions options_;
  bool is_session_;
  mutable std::atomic<bool> write_failed_{false};
  EnginePool engines_;
  OwnedNames owned_;
  std::vector<std::unique_ptr<Guest>> guests_;
  Quota quota_;
  std::mutex names_mutex_{};
  std::set<std::string> names_held_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
