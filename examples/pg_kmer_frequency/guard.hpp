// SPDX-License-Identifier: MIT
//
// The border between C++ and a PostgreSQL server, for extensions that keep their files in scratch sessions. Take this
// header and no_threads.cpp.
//
// A server raises errors by longjmp, C++ by exceptions, and neither may cross the other's frames:
//
//   guarded(f)   around C++ that the server calls: no exception leaves it, an ERROR with SQLSTATE, DETAIL and HINT does
//   server(f)    around calls of the server inside: no jump leaves it, a `ServerError` does, and `guarded` goes on with
//                the server's own error
//
// Whoever calls `guarded` has nothing with a destructor in its frame, `f` of `server` makes nothing that has one. And a
// FATAL error runs no destructor at all: what must not outlive the transaction is a `TransactionSession`.
//
// Include it last: the server's headers define macros (snprintf, Max, ERROR, ...) that others do not expect.
#pragma once

#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include <scratch/error.hpp>

#ifndef PGDLLEXPORT  // empty in PostgreSQL 15, so that with -fvisibility=hidden the server would find nothing
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif
extern "C" {
#include <postgres.h>

#include <access/xact.h>
#include <miscadmin.h>
#include <storage/fd.h>
#include <utils/elog.h>
#include <utils/memutils.h>
}

namespace scratch_pg {

/// The server raised an error. What it says waits on the server's stack of errors until `guarded` raises it again: it is
/// not to be caught for good.
struct ServerError {};

/// Calls the server inside C++.
/// @throws ServerError
template <class F>
std::invoke_result_t<F&> server(F&& call) {
  using Result = std::invoke_result_t<F&>;
  static_assert(std::is_void_v<Result> || std::is_trivially_copyable_v<Result>, "what a jump may leave undone");
  struct Handlers {
    sigjmp_buf* jump = PG_exception_stack;
    ErrorContextCallback* context = error_context_stack;
    Handlers() = default;
    Handlers(const Handlers&) = delete;
    Handlers& operator=(const Handlers&) = delete;
    ~Handlers() {
      PG_exception_stack = jump;
      error_context_stack = context;
    }
  };
  const Handlers before;
  sigjmp_buf here;
  if (sigsetjmp(here, 0) == 0) {
    PG_exception_stack = &here;
    return call();
  }
  throw ServerError();
}

/// Takes notice of a cancel, a timeout, a termination, a worker's error. To be called at least every 50 ms.
/// @throws ServerError
inline void check_for_interrupts() {
  if (INTERRUPTS_PENDING_CONDITION()) server([] { CHECK_FOR_INTERRUPTS(); });
}

/// What an error of the library is called in SQL.
inline int sqlstate_of(const std::error_code& code) {
  using scratch::errc;
  if (code == errc::insufficient_space) return ERRCODE_DISK_FULL;
  if (code == errc::quota_exceeded) return ERRCODE_CONFIGURATION_LIMIT_EXCEEDED;
  if (code == errc::would_exceed_memory) return ERRCODE_OUT_OF_MEMORY;
  if (code == errc::count_overflow) return ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
  if (code == errc::busy) return ERRCODE_OBJECT_IN_USE;
  if (code == errc::session_gone) return ERRCODE_UNDEFINED_FILE;
  if (code == errc::corrupt || code == errc::checksum_mismatch || code == errc::unsupported_version ||
      code == errc::wrong_key_type)
    return ERRCODE_DATA_CORRUPTED;
  if (code.category() == scratch::scratch_category()) return ERRCODE_SYSTEM_ERROR;
  switch (code.value()) {
    case ENOSPC:
    case EDQUOT:
      return ERRCODE_DISK_FULL;
    case ENOMEM:
      return ERRCODE_OUT_OF_MEMORY;
    case EMFILE:
    case ENFILE:
    case EAGAIN:
      return ERRCODE_INSUFFICIENT_RESOURCES;
    case ECANCELED:
      return ERRCODE_QUERY_CANCELED;
    case EACCES:
    case EPERM:
    case EROFS:
      return ERRCODE_INSUFFICIENT_PRIVILEGE;
    default:
      return ERRCODE_IO_ERROR;
  }
}

/// An error as the server wants it, made while an exception is caught and raised when it is gone. Has no destructor.
class Report {
 public:
  /// Of the exception being handled.
  void take() noexcept {
    try {
      throw;
    } catch (const ServerError&) {
      sqlstate_ = 0;
    } catch (const scratch::Error& error) {
      sqlstate_ = sqlstate_of(error.code());
      take(error);
    } catch (const std::bad_alloc&) {
      sqlstate_ = ERRCODE_OUT_OF_MEMORY;
      write(message_, "out of memory");
    } catch (const std::exception& error) {
      write(message_, error.what());
    } catch (...) {
      write(message_, "an exception that says nothing");
    }
  }

  [[noreturn]] void raise() const {
    if (sqlstate_ == 0) PG_RE_THROW();
    ereport(ERROR, (errcode(sqlstate_), errmsg_internal("%s", message_),
                    *detail_ != '\0' ? errdetail_internal("%s", detail_) : 0, hint()));
    pg_unreachable();
  }

 private:
  void take(const scratch::Error& error) noexcept {
    try {
      std::string text = "cannot " + error.doing();
      if (!error.path().empty()) text += " \"" + error.path().native() + "\"";
      if (!error.other_path().empty()) text += " to \"" + error.other_path().native() + "\"";
      write(message_, text + ": " + error.code().message());
      write(detail_, error.hint());
    } catch (const std::bad_alloc&) {
      write(message_, error.what());
    }
  }

  int hint() const {
    switch (sqlstate_) {
      case ERRCODE_DISK_FULL:
        return errhint("Make room in the tablespace, or name one that has more in \"temp_tablespaces\".");
      case ERRCODE_CONFIGURATION_LIMIT_EXCEEDED:
        return errhint("\"temp_file_limit\" is the limit of each such file set.");
      case ERRCODE_OUT_OF_MEMORY:
        return errhint("Lower the memory of each worker, or the number of workers.");
      case ERRCODE_DATA_CORRUPTED:
        return errhint("The file is temporary and goes with this transaction; look after the disk it stood on.");
      case ERRCODE_UNDEFINED_FILE:
        return errhint("Something removed the server's temporary files; run the command again.");
      case ERRCODE_OBJECT_IN_USE:
        return errhint("Run the command again.");
      default:
        return 0;
    }
  }

  template <std::size_t n>
  static void write(char (&to)[n], std::string_view text) noexcept {
    const std::size_t size = text.size() < n ? text.size() : n - 1;
    std::memcpy(to, text.data(), size);
    to[size] = '\0';
  }

  int sqlstate_ = ERRCODE_INTERNAL_ERROR;
  char message_[1024] = "";
  char detail_[512] = "";
};

/// Calls C++ from the server.
template <class F>
std::invoke_result_t<F&> guarded(F&& call) {
  Report report;
  try {
    return call();
  } catch (...) {
    report.take();
  }
  report.raise();
}

namespace detail {

/// What ends with a (sub)transaction, or when a memory context is reset: all of them in this backend are a list.
class Held {
 public:
  Held() = default;
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  virtual ~Held() {
    if (armed_ != nullptr) armed_->held = nullptr;
    if (previous_ != nullptr) previous_->next_ = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
    if (first_ == this) first_ = next_;
  }
  virtual void failed() noexcept = 0;

  /// @throws ServerError
  void hold(MemoryContext context) {
    server([&] {
      if (!registered_) {
        RegisterXactCallback(&transaction_event, nullptr);
        RegisterSubXactCallback(&subtransaction_event, nullptr);
        registered_ = true;
      }
      armed_ = static_cast<Armed*>(MemoryContextAlloc(context, sizeof(Armed)));
      armed_->callback.func = &context_is_reset;
      armed_->callback.arg = armed_;
      armed_->held = this;
      MemoryContextRegisterResetCallback(context, &armed_->callback);
    });
    subtransaction_ = GetCurrentSubTransactionId();
    next_ = first_;
    if (first_ != nullptr) first_->previous_ = this;
    first_ = this;
  }

 private:
  struct Armed {
    MemoryContextCallback callback;
    Held* held;
  };

  static void context_is_reset(void* armed) { delete static_cast<Armed*>(armed)->held; }

  static void transaction_event(XactEvent event, void*) {
    const bool aborted = event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT;
    if (!aborted && event != XACT_EVENT_COMMIT && event != XACT_EVENT_PARALLEL_COMMIT && event != XACT_EVENT_PREPARE)
      return;
    while (Held* held = first_) {
      if (aborted) held->failed();
      delete held;
    }
  }

  static void subtransaction_event(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void*) {
    if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB) return;
    for (Held *held = first_, *next; held != nullptr; held = next) {
      next = held->next_;
      if (held->subtransaction_ != mine) continue;
      if (event == SUBXACT_EVENT_COMMIT_SUB) {
        held->subtransaction_ = parent;
        continue;
      }
      held->failed();
      delete held;
    }
  }

  static inline Held* first_ = nullptr;
  static inline bool registered_ = false;

  Armed* armed_ = nullptr;
  Held* previous_ = nullptr;
  Held* next_ = nullptr;
  SubTransactionId subtransaction_ = InvalidSubTransactionId;
};

template <class Session>
class HeldSession final : public Held {
 public:
  template <class... Arguments>
  explicit HeldSession(Arguments&&... arguments) : session(std::forward<Arguments>(arguments)...) {}
  void failed() noexcept override {
    if constexpr (requires { session.fail(""); }) {
      try {
        session.fail("its transaction was aborted");
      } catch (...) {  // it goes all the same
      }
    }
  }

  Session session;
};

}  // namespace detail

/// A session (a `SessionDir` or a `JoinedSession`) that ends with `close()`, when its memory context is reset, when the
/// (sub)transaction that it was made in aborts, or when the transaction ends: whichever is first, and also when the
/// backend is terminated. An abort is a failure to `KeepOnFailure`.
///
/// A handle without a destructor: a jump may pass over it.
template <class Session>
class TransactionSession {
 public:
  /// @throws what the session's constructor throws; ServerError
  template <class... Arguments>
  static TransactionSession in(MemoryContext context, Arguments&&... arguments) {
    auto held = std::make_unique<detail::HeldSession<Session>>(std::forward<Arguments>(arguments)...);
    held->hold(context);
    return TransactionSession(held.release());
  }

  Session& operator*() const { return held_->session; }
  Session* operator->() const { return &held_->session; }

  /// Ends it now. @throws scratch::Error when something could not be removed: the transaction's end tries again
  void close() {
    held_->session.close();
    delete std::exchange(held_, nullptr);
  }

 private:
  explicit TransactionSession(detail::HeldSession<Session>* held) : held_(held) {}

  detail::HeldSession<Session>* held_;
};

/// Has the server count a descriptor that stays open from call to call, so that it makes room among its own.
class CountedDescriptor {
 public:
  /// @throws ServerError
  CountedDescriptor() {
    server([] {
      if (!AcquireExternalFD())
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("too many files are open in this backend"),
                        errhint("Close cursors, or raise \"max_files_per_process\".")));
    });
  }
  ~CountedDescriptor() { ReleaseExternalFD(); }
  CountedDescriptor(const CountedDescriptor&) = delete;
  CountedDescriptor& operator=(const CountedDescriptor&) = delete;
};

/// An object that lives as long as a memory context: what goes on from call to call. As everything else in that context
/// it goes however the context ends; a jump may pass over the pointer.
/// @throws what its constructor throws; ServerError
template <class T, class... Arguments>
T* owned_by(MemoryContext context, Arguments&&... arguments) {
  auto owned = std::make_unique<T>(std::forward<Arguments>(arguments)...);
  server([&] {
    auto* const callback =
        static_cast<MemoryContextCallback*>(MemoryContextAlloc(context, sizeof(MemoryContextCallback)));
    callback->func = [](void* object) { delete static_cast<T*>(object); };
    callback->arg = owned.get();
    MemoryContextRegisterResetCallback(context, callback);
  });
  return owned.release();
}

}  // namespace scratch_pg
