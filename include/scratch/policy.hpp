// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// How a session is called, when it goes, who moves its bytes, and what must survive a power cut.
//
// Each policy answers one question, in any order and at most once; an application brings its own by modelling the
// concept of the question. The first question, where, is answered by a place (place.hpp).
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>
#include <string_view>
#include <type_traits>

#include <scratch/detail/kernel/random.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/engine/best_io.hpp>
#include <scratch/engine/io.hpp>
#include <scratch/engine/posix_io.hpp>
#include <scratch/engine/uring_io.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Answers "called what?": `static std::string middle(std::string_view label)`, what stands in a session's name between
/// `session_` and `_<16 hexadecimal digits>`; the label is clean already.
template <class T>
concept NamingPolicy = requires(std::string_view label) {
  { T::middle(label) } -> std::convertible_to<std::string>;
};

/// Answers "when does it go?": `static constexpr bool keeps(bool failed)`, whether the directory stays at the end.
/// `failed`: an exception left the scope, or `fail()` was called. What answers yes to both stays from its first
/// instant. With `static constexpr bool until_completed = true` beside it, it stays from its first instant, whatever
/// `keeps` says, until `complete()` was called.
template <class T>
concept CleanupPolicy = requires(bool failed) {
  { T::keeps(failed) } -> std::convertible_to<bool>;
};

/// Answers "must it survive power loss?": `static constexpr bool durable`.
template <class T>
concept DurabilityPolicy = requires {
  { T::durable } -> std::convertible_to<bool>;
};

/// A policy of a session. "Who moves the bytes?" is answered by an `IoPolicy` (io.hpp).
template <class T>
concept SessionPolicy = NamingPolicy<T> || CleanupPolicy<T> || IoPolicy<T> || DurabilityPolicy<T>;

/// `session_20240708_120000_pid12345_customer_<random>`, the time in UTC.
struct NamedByTime {
  /// What stands between `session_` and the random end.
  static std::string middle(std::string_view label) {
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    ::gmtime_r(&now, &utc);
    std::array<char, 64> text{};
    const std::size_t size = std::strftime(text.data(), text.size(), "%Y%m%d_%H%M%S_pid", &utc);
    return std::string(text.data(), size) + std::to_string(sys::getpid()) + "_" + std::string(label);
  }
};

/// `session_4fa1c0de-..._<random>`: says nothing about who and when.
struct NamedByUuid {
  /// What stands between `session_` and the random end.
  static std::string middle(std::string_view) {
    // RFC 9562, version 4
    const std::uint64_t high = (detail::random_number() & ~std::uint64_t{0xf000}) | 0x4000;
    const std::uint64_t low = (detail::random_number() & ~(std::uint64_t{3} << 62)) | (std::uint64_t{2} << 62);
    const std::string a = detail::hex16(high), b = detail::hex16(low);
    return a.substr(0, 8) + "-" + a.substr(8, 4) + "-" + a.substr(12) + "-" + b.substr(0, 4) + "-" + b.substr(4);
  }
};

/// The directory goes at the end, whatever happened.
struct RemoveAlways {
  /// Whether the directory stays at the end.
  static constexpr bool keeps(bool) { return false; }
};

/// The directory stays when an exception leaves the scope, and after `fail()`, unless `complete()` comes later.
///
/// Somebody must catch the exception, above the session: where nobody does, or it leaves a thread, the program ends
/// without leaving any scope. The next sweep takes that, as what a kill -9 leaves. So does an object that outlives the
/// `catch`, being a member of something: call `fail()` there.
struct KeepOnFailure {
  /// Whether the directory stays at the end.
  static constexpr bool keeps(bool failed) { return failed; }
};

/// The directory stays from its first instant, also after kill -9, abort or a power cut, until `complete()` was called:
/// then it goes at the end, whatever leaves the scope afterwards. `fail()` after `complete()` keeps it again.
struct KeepUnlessCompleted {
  static constexpr bool until_completed = true;  ///< then it goes after all
  /// Whether the directory stays at the end.
  static constexpr bool keeps(bool) { return true; }
};

/// The directory stays, also after kill -9, until a sweep is told to take kept ones.
struct KeepAlways {
  /// Whether the directory stays at the end.
  static constexpr bool keeps(bool) { return true; }
};

/// Nothing waits for the disk.
struct Ephemeral {
  static constexpr bool durable = false;  ///< as `Workspace` asks it
};

/// What was committed is on disk. It outlives a power cut in a kept session, in a plain `Workspace`, and after
/// `persist()`; a session that goes at its end takes it along, and one cut off by the power is swept.
struct Durable {
  static constexpr bool durable = true;  ///< as `Workspace` asks it
};

namespace detail {

template <template <class> class Answers, class Default>
struct AnswerOf {
  template <class... Ps>
  struct Among {
    using type = Default;
  };
  template <class P, class... Ps>
  struct Among<P, Ps...> {
    using type = typename std::conditional_t<Answers<P>::value, std::type_identity<P>, Among<Ps...>>::type;
  };
};

template <class T>
struct NamesIt : std::bool_constant<NamingPolicy<T>> {};
template <class T>
struct CleansIt : std::bool_constant<CleanupPolicy<T>> {};
template <class T>
struct MovesIt : std::bool_constant<IoPolicy<T>> {};
template <class T>
struct LastsIt : std::bool_constant<DurabilityPolicy<T>> {};

/// What metadata.json calls an engine. One of the application's own has no name that another process would know.
template <IoPolicy T>
constexpr const char* engine_name() {
  return std::is_same_v<T, PosixIo> ? "posix" : std::is_same_v<T, UringIo> ? "uring" : "best";
}

inline IoMaker engine_named(std::string_view name) {
  return name == "posix" ? PosixIo::make : name == "uring" ? UringIo::make : BestIo::make;
}

/// The answers among `Ps`, defaults where there is none.
template <class... Ps>
struct Policies {
  using Naming = typename AnswerOf<NamesIt, NamedByTime>::template Among<Ps...>::type;
  using Cleanup = typename AnswerOf<CleansIt, RemoveAlways>::template Among<Ps...>::type;
  using Engine = typename AnswerOf<MovesIt, BestIo>::template Among<Ps...>::type;
  using Durability = typename AnswerOf<LastsIt, Ephemeral>::template Among<Ps...>::type;

  // After the answers: clang ends a class where an assertion fails, and would miss the answers, too.
  static_assert((std::size_t{NamingPolicy<Ps>} + ... + 0) <= 1,
                "scratch: a session has one name: give NamedByTime or NamedByUuid, not two of them");
  static_assert(
      (std::size_t{CleanupPolicy<Ps>} + ... + 0) <= 1,
      "scratch: a session goes in one way: give RemoveAlways, KeepOnFailure, KeepUnlessCompleted or KeepAlways, "
      "not two of them");
  static_assert((std::size_t{IoPolicy<Ps>} + ... + 0) <= 1,
                "scratch: a session has one engine: give BestIo, PosixIo or UringIo, not two of them");
  static_assert((std::size_t{DurabilityPolicy<Ps>} + ... + 0) <= 1,
                "scratch: a session is Ephemeral or Durable, not both");
};

}  // namespace detail

}  // namespace scratch::inline SCRATCH_ABI
