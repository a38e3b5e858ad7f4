// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A session in one process, without templates: its life, its record, and the ground that its workspaces stand on.
#pragma once

#include <atomic>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/session/life.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/detail/session/record.hpp>
#include <scratch/detail/workspace/persist.hpp>
#include <scratch/detail/workspace/shared_state.hpp>
#include <scratch/engine/best_io.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/place.hpp>
#include <scratch/session_options.hpp>
#include <scratch/space.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// What the policies of a session come to.
struct SessionChoices {
  IoMaker io = BestIo::make;
  bool durable = false;
  bool keep = false;  ///< from the first instant
  bool keep_on_failure = false;
};

class Session {
 public:
  /// @param middle what the naming policy gives
  static std::unique_ptr<Session> create(const Location& location, const std::string& label, std::string_view middle,
                                         SessionOptions options, SessionChoices choices) {
    RootWanted wanted = location.wanted();
    wanted.durable = choices.durable;
    Root root{make_root(wanted), location.root};
    if (options.need > 0) require_space(location.root, options.need);
    const std::string keep = environment("SCRATCH_KEEP");
    if (!keep.empty() && keep != "0") choices.keep = true;
    SessionFacts facts;
    facts.label = label;
    facts.place = location.root;
    facts.start_time = utc_now();
    facts.pid = sys::getpid();
    facts.host = host_name();
    facts.boot_id = boot_id();
    facts.uid = sys::geteuid();
    facts.durable = choices.durable;
    SessionLife life = SessionLife::create(std::move(root), location.grammar, middle);
    facts.id = life.id();
    const auto living = std::make_shared<Living>(std::move(life), std::move(facts), choices.durable);
    try {
      living->record.begin(living->life.umask_is_strange());
      if (choices.keep) living->life.keep();  // last: what a crash leaves before is nothing to be kept
      if (choices.durable && sys::fsync(living->life.root()) != 0) throw Error(errno, "sync", location.root);
      std::unique_ptr<Session> session(new Session(living, label, std::move(options), std::move(choices)));
      session->emit(EventKind::session_created);
      return session;
    } catch (...) {
      living->life.abandon();
      throw;
    }
  }

  static std::unique_ptr<Session> join(const std::filesystem::path& path, SessionOptions options) {
    SessionLife life = SessionLife::join(path);
    const nlohmann::json head = read_head(life.directory(), life.path());
    const auto durable = head.find("durable");
    SessionChoices choices;
    choices.durable = durable != head.end() && durable->is_boolean() && durable->get<bool>();
    if (options.need > 0) require_space(life.path(), options.need);
    options.quota = 0;  // the owner's, if there is one
    const auto living = std::make_shared<Living>(std::move(life), std::nullopt, choices.durable);
    std::unique_ptr<Session> session(
        new Session(living, text_at(head, "label"), std::move(options), std::move(choices)));
    session->emit(EventKind::session_joined);
    return session;
  }

  ~Session() {
    try {
      end(false);
    } catch (...) {  // the next sweep
    }
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Workspace workspace() const { return Workspace(ground_); }
  const std::filesystem::path& path() const noexcept { return living_->life.path(); }
  const std::string& id() const noexcept { return id_; }
  const std::string& label() const noexcept { return label_; }

  nlohmann::json metadata() const {
    ground_->check();
    return living_->record.json(ground_->chunk_log());
  }

  nlohmann::json user() const {
    ground_->check();
    return living_->record.user();
  }

  void user(nlohmann::json json) {
    change([&](SessionFacts& facts) { facts.user = std::move(json); });
  }

  void publish() {
    ground_->check();
    living_->record.publish(ground_->chunk_log());
  }

  void complete() {
    change([](SessionFacts& facts) {
      facts.status = "completed";
      facts.reason.clear();
    });
  }

  void fail(std::string_view reason) {
    ground_->check();
    failed_ = true;
    if (choices_.keep_on_failure) mark_kept();
    change([&](SessionFacts& facts) {
      facts.status = "failed";
      facts.reason = reason;
    });
  }

  std::filesystem::path keep() {
    ground_->check();
    mark_kept();
    publish();
    return path();
  }

  void persist(std::string_view name, const std::filesystem::path& to) { Persisting(workspace(), name, to).run(); }

  /// Ends it. `unwinding`: an exception is leaving the owner's scope. Once; later calls do nothing, and so does a
  /// forked child. @throws Error the first thing that failed; the process has left nevertheless
  void end(bool unwinding) {
    if (living_->ended.exchange(true) || !living_->life.made_here()) return;
    std::exception_ptr failure;
    try {
      last_word(unwinding);
    } catch (...) {
      failure = std::current_exception();
    }
    const Removal removal = living_->life.leave();
    emit(EventKind::session_closed, removal.bytes, removal.answer == RemovalAnswer::kept ? "kept" : "");
    if (failure) std::rethrow_exception(failure);
  }

 private:
  // Shared with the hooks of the ground, which workspaces may keep for longer than the session lasts.
  struct Living {
    Living(SessionLife&& one, std::optional<SessionFacts> facts, bool durable)
        : life(std::move(one)), record(life.directory(), life.lock_file(), life.path(), std::move(facts), durable) {}

    void check() {
      if (ended && life.made_here()) throw Error(errc::session_gone, "use the session", life.path(), "it was closed");
      try {
        life.check();
      } catch (const Error& error) {
        if (error.code() == errc::session_gone && !told_gone.exchange(true))
          ground->emit(EventKind::session_gone, life.path(), 0, error.hint());
        throw;
      }
    }

    SessionLife life;
    SessionRecord record;
    Ground* ground = nullptr;  // alive whenever one of its hooks runs
    std::atomic<bool> ended{false};
    std::atomic<bool> told_gone{false};
  };

  Session(std::shared_ptr<Living> living, std::string label, SessionOptions options, SessionChoices choices)
      : living_(std::move(living)), id_(living_->life.id()), label_(std::move(label)), choices_(std::move(choices)) {
    auto hooks = std::make_unique<SessionHooks>();
    hooks->guard = [one = living_] { one->check(); };
    hooks->recorded = [one = living_] { one->record.recorded(one->ground->chunk_log()); };
    WorkspaceOptions ground;
    ground.quota = options.quota;
    ground.buffers = options.buffers;
    ground.durable = choices_.durable;
    ground.io = choices_.io;
    ground.on_full = std::move(options.on_full);
    ground.on_event = std::move(options.on_event);
    ground_ = std::make_shared<Ground>(living_->life.directory_again(), path(), std::move(ground), std::move(hooks));
    living_->ground = ground_.get();
  }

  void last_word(bool unwinding) {
    ChunkLog& log = ground_->chunk_log();
    if (unwinding && !failed_ && choices_.keep_on_failure) {
      mark_kept();
      living_->record.change(log, [](SessionFacts& facts) {
        facts.status = "failed";
        facts.reason = "an exception left the session's scope";
      });
    } else if (choices_.keep) {
      living_->record.publish(log);
    }
  }

  void emit(EventKind kind, std::uint64_t bytes = 0, std::string_view message = {}) const noexcept {
    ground_->emit(kind, path(), bytes, message);
  }

  template <class Change>
  void change(Change change) {
    ground_->check();
    living_->record.change(ground_->chunk_log(), change);
  }

  void mark_kept() {
    living_->life.keep();
    choices_.keep = true;
    if (choices_.durable && (sys::fsync(living_->life.directory()) != 0 || sys::fsync(living_->life.root()) != 0))
      throw Error(errno, "sync", path());
    emit(EventKind::session_kept, 0, "sweeps leave it alone");
  }

  std::shared_ptr<Living> living_;
  std::shared_ptr<Ground> ground_;
  std::string id_, label_;
  SessionChoices choices_;
  bool failed_ = false;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
