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
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/chunk/chunk_guest.hpp>
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

/// Thread-safe, save for `end()`. Workspaces may keep it for longer than the session lasts.
class SessionState final : public SharedState {
 public:
  /// The owner's.
  SessionState(SessionLife&& life, SessionFacts facts, WorkspaceOptions options)
      : SharedState(life.directory_again(), life.path(), std::move(options), &make_chunk_guest, true),
        life_(std::move(life)),
        label_(facts.label),
        record_(life_.directory(), life_.lock_file(), life_.path(), std::move(facts)) {}
  /// Of whoever joined.
  SessionState(SessionLife&& life, std::string label, SessionRecord::ReadHead read_head, WorkspaceOptions options)
      : SharedState(life.directory_again(), life.path(), std::move(options), &make_chunk_guest, true),
        life_(std::move(life)),
        label_(std::move(label)),
        record_(life_.directory(), life_.lock_file(), life_.path(), read_head, durable()) {}

  SessionLife& life() noexcept { return life_; }
  const std::string& id() const noexcept { return id_; }
  const std::string& label() const noexcept { return label_; }

  void check() override {
    if (ended_ && life_.made_here()) throw_error(errc::session_gone, "use the session", life_.path(), "it was closed");
    try {
      life_.check();
    } catch (const Error& error) {
      if (error.code() == errc::session_gone && !told_gone_.exchange(true))
        emit(EventKind::session_gone, life_.path(), 0, error.hint());
      throw;
    }
  }

  void recorded() noexcept override { record_.recorded(log()); }

  void begin() { record_.begin(life_.umask_is_strange()); }
  void publish() { record_.publish(log()); }
  std::string metadata() { return record_.text(log()); }
  std::string user() const { return record_.user(); }

  template <class Change>
  void change(Change change) {
    record_.change(log(), change);
  }

  /// The session is kept afterwards, by whoever meets it. @throws Error
  void keep() {
    life_.keep();
    if (durable() && (sys::fsync(life_.directory()) != 0 || sys::fsync(life_.root()) != 0))
      throw_error(errno, "sync", path());
  }

  /// Ends this process's use of the session, after `record_end`. Once; later calls do nothing, and so does a forked
  /// child. @throws Error the first thing that failed; the process has left nevertheless
  template <class RecordEnd>
  void end(RecordEnd record_end) {
    if (ended_.exchange(true) || !life_.made_here()) return;
    std::exception_ptr failure;
    try {
      record_end();
    } catch (...) {
      failure = std::current_exception();
    }
    try {
      const Left left = life_.leave();
      emit(EventKind::session_closed, path(), left.bytes_freed, left.kept ? "kept" : "");
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
    if (failure) std::rethrow_exception(failure);
  }

 private:
  ChunkLog& log() const { return chunk_log(*this); }

  SessionLife life_;
  std::string id_ = life_.id();
  std::string label_;
  SessionRecord record_;
  std::atomic<bool> ended_{false};
  std::atomic<bool> told_gone_{false};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
