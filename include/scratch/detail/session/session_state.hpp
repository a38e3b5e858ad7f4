// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A session in one process: the state that its workspaces share, which knows how the session fares.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/chunk/chunk_guest.hpp>
#include <scratch/detail/session/keep.hpp>
#include <scratch/detail/session/life.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/detail/session/record.hpp>
#include <scratch/detail/workspace/shared_state.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/session_options.hpp>
#include <scratch/workspace_options.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// What a session's options and policies tell its workspaces.
inline WorkspaceOptions workspace_options(SessionOptions&& options, IoMaker io, bool durable) {
  WorkspaceOptions all;
  all.quota = options.quota;
  all.buffers = options.buffers;
  all.durable = durable;
  all.io = std::move(io);
  all.on_full = std::move(options.on_full);
  all.on_event = std::move(options.on_event);
  return all;
}

/// How a session is called: stays when it has ended.
struct SessionNames {
  std::filesystem::path path;
  std::string id, label;
};

/// Outlives what stands on its descriptors: a base, before all others.
struct HoldsLife {
  explicit HoldsLife(SessionLife&& life) : life_(std::move(life)) {}
  SessionLife life_;
};

/// Thread-safe, save for `close()` and `end()`. Workspaces may keep it for longer than the session lasts.
class SessionState final : private HoldsLife, public SharedState {
 public:
  /// The owner's.
  SessionState(SessionLife&& life, SessionFacts facts, Cleanup cleanup, WorkspaceOptions options)
      : HoldsLife(std::move(life)),
        SharedState(life_.directory(), life_.lacks(), life_.path(), std::move(options), &make_chunk_guest),
        names_(std::make_shared<SessionNames>(SessionNames{life_.path(), life_.id(), facts.label})),
        cleanup_(cleanup),
        set_(facts.set),
        record_(life_.directory(), life_.byte_locks(), life_.lacks(), life_.path(), std::move(facts)) {
    number_chunks();
  }
  /// Of whoever joined.
  SessionState(SessionLife&& life, std::string label, SetFacts set, SessionRecord::ReadHead read_head,
               WorkspaceOptions options)
      : HoldsLife(std::move(life)),
        SharedState(life_.directory(), life_.lacks(), life_.path(), std::move(options), &make_chunk_guest),
        names_(std::make_shared<SessionNames>(SessionNames{life_.path(), life_.id(), std::move(label)})),
        set_(std::move(set)),
        record_(life_.directory(), life_.byte_locks(), life_.lacks(), life_.path(), read_head, durable()) {
    number_chunks();
  }

  const std::shared_ptr<const SessionNames>& names() const noexcept { return names_; }
  /// The set that it is of, as it was when this was made.
  const SetFacts& set() const noexcept { return set_; }
  bool made_here() const { return life_.made_here(); }
  bool owner_is_alive() const noexcept override { return life_.owner_is_alive(); }

  void check() override {
    if (ended_ && made_here()) throw_error(errc::session_gone, "use the session", path(), "it was closed");
    try {
      life_.check();
    } catch (const Error& error) {
      if (error.code() == errc::session_gone && !told_gone_.exchange(true))
        emit(EventKind::session_gone, path(), 0, error.hint());
      throw;
    }
  }

  void recorded() noexcept override {
    if (!ended_) record_.recorded(log());
  }

  // A session begins in three steps, those of a set step by step.

  /// metadata.json is there. @throws Error
  void begin_record() { record_.begin(life_.umask_is_strange()); }

  /// The mark that it is to have from its beginning; behind the record: what a crash leaves before is nothing to be kept.
  /// @throws Error
  void begin_mark() {
    want_mark_of_beginning();
    if (wanted_ != Mark::none)
      mark();
    else if (durable())
      life_.sync_root();
  }

  /// The session is there for others. What was begun and comes not so far is taken back, what was adopted left as by a
  /// death.
  void announce() noexcept { life_.announce(); }

  /// 8 of adoption.hpp, behind `publish()`. @param was_kept whether it has the mark @throws Error
  void adopt_mark(bool was_kept) {
    want_mark_of_beginning();
    if (was_kept && wanted_ == Mark::none) unmark();
    mark();
  }

  bool is_marked() {
    const std::lock_guard hold(ending_);
    return mark_ != Mark::none;
  }

  /// metadata.json says whether the set is settled. @throws Error and then it says what it said before
  void settle(bool settled) {
    write([&] { record_.change(log(), [&](SessionFacts& facts) { facts.set.settled = settled; }); });
  }

  void progress(std::uint64_t done, std::uint64_t total, std::string_view what) {
    if (ended_ || !made_here()) check();
    record_.progress(log(), done, total, what);
  }

  void before_asking() noexcept override {
    if (!ended_) record_.catch_up(log());
  }

  void publish() {
    write([&] { record_.publish(log()); });
  }
  std::string metadata() { return record_.text(log()); }
  std::string user() const { return record_.user(); }
  void user(std::string json) {
    write([&] { record_.change(log(), [&](SessionFacts& facts) { facts.user = json; }); });
  }

  /// The session is kept afterwards, by whoever meets it. @throws Error and then it is done at the end, or not removed
  void keep() {
    bool kept = false;
    {
      const std::lock_guard hold(ending_);
      wanted_ = Mark::for_good;
      kept = mark();
    }
    if (kept) emit_kept();
  }

  /// @throws Error and then status and mark are as before
  void complete() {
    write([&] { complete_now(); });
  }

  /// What fails is done again at the end, and where that fails, too, the session is not removed.
  /// @throws Error unless an exception is under way, which then is the one that counts
  void fail(std::string_view reason) {
    if (ended_ || !made_here()) check();
    const bool under_way = std::uncaught_exceptions() > 0 || std::current_exception() != nullptr;
    bool kept = false;
    std::exception_ptr failure;
    attempt(failure, [&] { check(); });
    {
      const std::lock_guard hold(ending_);
      outcome_ = Outcome::failed;
      want_mark_of_failure();
      attempt(failure, [&] { kept = mark(); });
      attempt(failure, [&] { unwritten_ = reason; });
    }
    attempt(failure, [&] { write([&] { write_failure(); }); });
    if (kept) emit_kept();
    if (failure && !under_way) std::rethrow_exception(failure);
  }

  /// Ends this process's use of the session. Again: does what could not be done before. In a forked child: nothing.
  /// @throws Error and then it is as before where the mark or the record could not be written; or has ended, but is there
  void close() {
    if (!made_here()) return;
    if (!ended_) write_outcome(false);
    ended_ = true;
    close_files();
    tell_left(life_.leave());
  }

  /// The same, as well as it can be done: what could not be marked is left as it is, and not removed.
  /// @param unwinding an exception ends it
  void end(bool unwinding) noexcept {
    if (!made_here()) return;
    std::exception_ptr failure;
    if (!ended_) attempt(failure, [&] { write_outcome(unwinding); });
    ended_ = true;
    close_files();
    if (wanted_ != Mark::none && mark_ == Mark::none)
      life_.leave_it();
    else
      attempt(failure, [&] { tell_left(life_.leave()); });
    if (failure) tell_failure(failure);
  }

 private:
  enum class Mark : std::uint8_t { none, until_completed, for_good };
  enum class Outcome : std::uint8_t { open, completed, failed };

  ChunkLog& log() const { return chunk_log(*this); }

  void number_chunks() const {
    log().count_in(life_.lock_file(), path() / lock_name, chunk_ids_byte);
    if (!set_.members.empty()) log().give_out({set_.index, set_.members.size()});
  }

  void close_files() noexcept {
    for (const std::unique_ptr<Guest>& guest : guests()) guest->close();
    quota().close();
  }

  void emit_kept() const noexcept { emit(EventKind::session_kept, path(), 0, "sweeps leave it alone"); }

  void tell_left(const Left& left) const noexcept {
    emit(EventKind::session_closed, path(), left.bytes_freed, left.message);
  }

  void tell_failure(const std::exception_ptr& failure) const noexcept {
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& error) {
      emit(EventKind::session_closed, path(), 0, error.what());
    } catch (...) {
    }
  }

  // The first failure is the one to tell.
  template <class Work>
  static void attempt(std::exception_ptr& failure, Work work) noexcept {
    try {
      work();
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
  }

  void sync(int directory) const {
    if (sys::fsync(directory) != 0) throw_error(errno, "sync", path());
  }

  // metadata.json, which asks for room as all that writes does: without a lock, which `work` takes each time anew.
  template <class Work>
  void write(Work work) {
    with_room(record_.size(), "write", path() / metadata_name, work);
  }

  void write_failure() {
    const std::lock_guard hold(ending_);
    if (!unwritten_) return;  // another word came later
    write_status("failed", *unwritten_);
    unwritten_.reset();
  }

  void complete_now() {
    const std::lock_guard hold(ending_);
    const Mark before = wanted_;
    if (mark_ == Mark::until_completed) unmark();  // first: what is kept for a failure never says "completed"
    if (wanted_ == Mark::until_completed) wanted_ = Mark::none;
    try {
      write_status("completed", {});
    } catch (...) {
      wanted_ = before;
      std::exception_ptr ignored;  // it is done at the end
      attempt(ignored, [&] { mark(); });
      throw;
    }
    outcome_ = Outcome::completed;
    unwritten_.reset();
  }

  // How it went, where the session stays to tell. A failure is marked before it is written.
  void write_outcome(bool unwinding) {
    bool kept = false, stays = false, failed = false;
    {
      const std::lock_guard hold(ending_);
      if (unwinding && cleanup_ == Cleanup::on_failure) want_mark_of_failure();
      kept = mark();
      if (unwinding && keeps_failures() && outcome_ == Outcome::open)
        unwritten_ = "an exception left the session's scope";
      stays = mark_ != Mark::none;
      failed = unwritten_.has_value();
    }
    if (stays) write([&] { failed ? write_failure() : record_.publish(log()); });
    if (kept) emit_kept();
  }

  // What follows is done with `ending_`, save in `begin()`.

  bool keeps_failures() const noexcept { return cleanup_ != Cleanup::remove; }

  void want_mark_of_beginning() noexcept {
    if (cleanup_ == Cleanup::keep) wanted_ = Mark::for_good;
    if (cleanup_ == Cleanup::unless_completed) wanted_ = Mark::until_completed;
  }

  void want_mark_of_failure() noexcept {
    if (keeps_failures() && wanted_ == Mark::none) wanted_ = Mark::until_completed;
  }

  // It has the mark that it is to have. Whether it had none before.
  bool mark() {
    if (mark_ == wanted_) return false;
    mark_kept(life_.directory(), path());
    if (durable()) {
      sync(life_.directory());
      life_.sync_root();
    }
    return std::exchange(mark_, wanted_) == Mark::none;
  }

  void unmark() {
    unmark_kept(life_.directory(), path());
    mark_ = Mark::none;
  }

  void write_status(const char* status, const std::string& reason) {
    record_.change(log(), [&](SessionFacts& facts) {
      facts.status = status;
      facts.reason = reason;
    });
  }

  std::shared_ptr<const SessionNames> names_;
  Cleanup cleanup_ = Cleanup::remove;
  SetFacts set_;
  SessionRecord record_;
  std::atomic<bool> ended_{false};
  std::atomic<bool> told_gone_{false};

  std::mutex ending_{};
  Mark wanted_ = Mark::none;  // what it is to have, and `mark_`: what it has
  Mark mark_ = Mark::none;
  Outcome outcome_ = Outcome::open;
  std::optional<std::string> unwritten_{};  // why it failed, which metadata.json does not say yet
};

}  // namespace scratch::inline SCRATCH_ABI::detail
