// SPDX-License-Identifier: MIT
// floor 0: words
//
// What failed, doing what, to which path, and what would help.
#pragma once

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <scratch/version.hpp>

namespace scratch {

/// The library's own reasons to fail. The kernel's are `std::errc`.
enum class [[gnu::visibility("default")]] errc{
    corrupt = 1,          ///< bytes on disk do not have the form they must have
    checksum_mismatch,    ///< bytes on disk are not the bytes that were written
    unsupported_version,  ///< a file of another version of its format
    wrong_key_type,       ///< a count table with keys of another width
    count_overflow,       ///< a count would pass 2^64 - 1
    quota_exceeded,       ///< the session's quota leaves no room
    insufficient_space,   ///< the file system has less room than asked for
    would_exceed_memory,  ///< a budget is too small for the work
    invalid_name,         ///< a name that cannot be a file here
    untrusted_directory,  ///< a root that others could have prepared or can change
    session_gone,         ///< the session was removed, or its owner is no longer alive
    busy,                 ///< somebody else holds what is needed
    forked_object,        ///< used in a forked child of the process that made it
    locks_unreliable,     ///< the file system's locks do not exclude anybody
};

/// The category of `errc`, named "scratch". Each shared object of a program may have one of its own: they are told apart
/// from others by this name.
[[gnu::visibility("default")]] inline const std::error_category& scratch_category() noexcept {
  class Category final : public std::error_category {
   public:
    const char* name() const noexcept override { return "scratch"; }
    bool equivalent(int value, const std::error_condition& condition) const noexcept override {
      return is_one(condition.category()) && condition.value() == value;
    }
    bool equivalent(const std::error_code& code, int value) const noexcept override {
      return is_one(code.category()) && code.value() == value;
    }
    static bool is_one(const std::error_category& other) noexcept { return std::strcmp(other.name(), "scratch") == 0; }
    std::string message(int value) const override {
      switch (static_cast<errc>(value)) {
        case errc::corrupt:
          return "the file is damaged";
        case errc::checksum_mismatch:
          return "checksum mismatch";
        case errc::unsupported_version:
          return "unsupported format version";
        case errc::wrong_key_type:
          return "wrong key type";
        case errc::count_overflow:
          return "the count would pass 2^64 - 1";
        case errc::quota_exceeded:
          return "quota exceeded";
        case errc::insufficient_space:
          return "not enough free space";
        case errc::would_exceed_memory:
          return "the memory budget is too small";
        case errc::invalid_name:
          return "invalid name";
        case errc::untrusted_directory:
          return "the directory cannot be trusted";
        case errc::session_gone:
          return "the session is gone";
        case errc::busy:
          return "in use by somebody else";
        case errc::forked_object:
          return "used in a forked child of the process that made it";
        case errc::locks_unreliable:
          return "file locks are not reliable here";
      }
      return "unknown error";
    }
  };
  static const Category category;
  return category;
}

/// So that an `errc` is a `std::error_code`.
inline std::error_code make_error_code(errc code) noexcept { return {static_cast<int>(code), scratch_category()}; }

/// Also of an error that another shared object of the program threw.
inline bool operator==(const std::error_code& code, errc value) noexcept {
  return scratch_category().equivalent(code, static_cast<int>(value));
}

/// The one exception of this library.
///
/// `what()` is one line: `scratch: cannot rename "/a/b" to "/a/c": No space left on device (1.0 MiB free)`.
class [[gnu::visibility("default")]] Error : public std::system_error {
 public:
  /// @param doing a verb phrase: "open", "create the session directory"
  /// @param path  what it was done to; may be empty
  /// @param hint  what was found, what is needed, what would help; may be empty
  /// @param other the second path of a rename, a merge, ...; may be empty
  Error(std::error_code code, std::string doing, std::filesystem::path path, std::string hint = {},
        std::filesystem::path other = {})
      : std::system_error(code), words_(std::make_shared<Words>()) {
    words_->doing = std::move(doing);
    words_->path = std::move(path);
    words_->hint = std::move(hint);
    words_->other = std::move(other);
    words_->what = compose(code);
  }

  /// For a reason of the library's own.
  Error(errc code, std::string doing, std::filesystem::path path, std::string hint = {},
        std::filesystem::path other = {})
      : Error(make_error_code(code), std::move(doing), std::move(path), std::move(hint), std::move(other)) {}

  /// For a failed system call: `error` is its errno.
  Error(int error, std::string doing, std::filesystem::path path, std::string hint = {},
        std::filesystem::path other = {})
      : Error(std::error_code(error, std::generic_category()), std::move(doing), std::move(path), std::move(hint),
              std::move(other)) {}

  // Moving copies, so that every error keeps its words.
  Error(const Error&) noexcept = default;
  Error& operator=(const Error&) noexcept = default;

  /// What could not be done: a verb phrase.
  const std::string& doing() const& noexcept { return words_->doing; }
  /// What it was to be done to; may be empty.
  const std::filesystem::path& path() const& noexcept { return words_->path; }
  /// The second path of a rename, a merge, ...; may be empty.
  const std::filesystem::path& other_path() const& noexcept { return words_->other; }
  /// What was found, what is needed, what would help; may be empty.
  const std::string& hint() const& noexcept { return words_->hint; }
  // Of one that dies with the expression.
  std::string doing() const&& { return words_->doing; }
  std::filesystem::path path() const&& { return words_->path; }
  std::filesystem::path other_path() const&& { return words_->other; }
  std::string hint() const&& { return words_->hint; }
  /// All of it in one line.
  const char* what() const noexcept override { return words_->what.c_str(); }

 private:
  struct Words {
    std::string doing{}, hint{}, what{};
    std::filesystem::path path{}, other{};
  };

  std::string compose(const std::error_code& code) const {
    std::string text = "scratch: cannot " + words_->doing;
    if (!words_->path.empty()) text.append(" ").append(quoted(words_->path.native()));
    if (!words_->other.empty()) text.append(" to ").append(quoted(words_->other.native()));
    text.append(": ").append(code.message());
    if (!words_->hint.empty()) text.append(" (").append(words_->hint).append(")");
    return text;
  }

  // Control bytes of a file name would let it write to somebody's terminal.
  static std::string quoted(std::string_view name) {
    constexpr char hex[] = "0123456789abcdef";
    std::string text = "\"";
    for (const char c : name) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x20 || byte == 0x7f) {
        text += "\\x";
        text += hex[byte >> 4];
        text += hex[byte & 15];
      } else {
        if (c == '"' || c == '\\') text += '\\';
        text += c;
      }
    }
    return text + '"';
  }

  std::shared_ptr<Words> words_;  // copying an exception must not throw
};

}  // namespace scratch

template <>
struct std::is_error_code_enum<scratch::errc> : std::true_type {};

namespace scratch::inline SCRATCH_ABI::detail {

/// Throws an `Error`. Where a function fails this is one call, and not the making of an exception and its texts.
[[noreturn, gnu::cold]] inline void throw_error(std::error_code code, std::string_view doing,
                                                const std::filesystem::path& path, std::string_view hint = {}) {
  throw Error(code, std::string(doing), path, std::string(hint));
}
[[noreturn, gnu::cold]] inline void throw_error(errc code, std::string_view doing, const std::filesystem::path& path,
                                                std::string_view hint = {}) {
  throw_error(make_error_code(code), doing, path, hint);
}
[[noreturn, gnu::cold]] inline void throw_error(int error, std::string_view doing, const std::filesystem::path& path,
                                                std::string_view hint = {}) {
  throw_error(std::error_code(error, std::generic_category()), doing, path, hint);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
