// SPDX-License-Identifier: MIT
//
// What an error says, and how it is told from others.
#include <scratch/error.hpp>

#include <cerrno>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("an error is one line: doing what, to which path, why, and what was found or would help") {
  CHECK(std::string(Error(ENOSPC, "rename", "/a/b", "1.0 MiB free", "/a/c").what()) ==
        "scratch: cannot rename \"/a/b\" to \"/a/c\": No space left on device (1.0 MiB free)");
  CHECK(std::string(Error(errc::busy, "merge", "/a").what()) ==
        "scratch: cannot merge \"/a\": in use by somebody else");
  CHECK(std::string(Error(errc::forked_object, "use an engine", {}).what()) ==
        "scratch: cannot use an engine: used in a forked child of the process that made it");
}

TEST_CASE("an error gives back what it was made of") {
  const Error error(EXDEV, "move", "/a", "another file system", "/b");
  CHECK(error.code() == std::error_code(EXDEV, std::generic_category()));
  CHECK(error.code() == std::errc::cross_device_link);
  CHECK(error.doing() == "move");
  CHECK(error.path() == "/a");
  CHECK(error.other_path() == "/b");
  CHECK(error.hint() == "another file system");
}

TEST_CASE("a name cannot write to a terminal through an error, and stays readable") {
  const auto shown = [](std::string_view name) { return std::string(Error(ENOENT, "open", name).what()); };
  CHECK(shown("a\x1b[2J\n\x7f") == "scratch: cannot open \"a\\x1b[2J\\x0a\\x7f\": No such file or directory");
  CHECK(shown("a\"b\\c") == "scratch: cannot open \"a\\\"b\\\\c\": No such file or directory");
  CHECK(shown("gr\u00fc\u00df") == "scratch: cannot open \"gr\u00fc\u00df\": No such file or directory");
}

TEST_CASE("an error is copied without fail, and outlives what it was copied from") {
  STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<Error>);
  STATIC_REQUIRE(std::is_base_of_v<std::system_error, Error>);
  auto first = std::make_unique<Error>(EIO, "read", std::string(1000, 'x'), "hint");
  const Error second = *first;
  const std::string what = first->what();
  first.reset();
  CHECK(second.what() == what);
  CHECK(second.hint() == "hint");
}

TEST_CASE("each reason of the library has words of its own, in a category of its own") {
  std::set<std::string> messages;
  for (int value = 1; value <= static_cast<int>(errc::locks_unreliable); ++value)
    messages.insert(make_error_code(static_cast<errc>(value)).message());
  CHECK(messages.size() == static_cast<std::size_t>(errc::locks_unreliable));
  CHECK_FALSE(messages.contains("unknown error"));
  CHECK(make_error_code(static_cast<errc>(0)).message() == "unknown error");
  CHECK(make_error_code(static_cast<errc>(static_cast<int>(errc::locks_unreliable) + 1)).message() == "unknown error");
  const std::error_code code = errc::corrupt;  // by itself
  CHECK(code.category() == scratch_category());
  CHECK(std::string(code.category().name()) == "scratch");
  CHECK(code != std::error_code(static_cast<int>(errc::corrupt), std::generic_category()));
}

TEST_CASE("what an error has no words for is empty, and is not in its line") {
  const Error bare(ENOENT, "open", {});
  CHECK(bare.path().empty());
  CHECK(bare.other_path().empty());
  CHECK(bare.hint().empty());
  CHECK(std::string(bare.what()) == "scratch: cannot open: No such file or directory");
  CHECK(std::string(Error(ENOENT, "open", {}, "a hint").what()) ==
        "scratch: cannot open: No such file or directory (a hint)");
}

TEST_CASE("an error that was moved from keeps its words") {
  Error first(errc::busy, "merge", "/a", "a hint", "/b");
  const std::string what = first.what();
  const Error second(std::move(first));
  CHECK(first.what() == what);  // NOLINT
  CHECK(second.what() == what);
  Error third(EIO, "read", "/c");
  third = std::move(first);     // NOLINT
  CHECK(first.what() == what);  // NOLINT
  CHECK((third.what() == what && third.hint() == "a hint" && third.code() == errc::busy));
}

TEST_CASE("words of an error that dies with the expression are copies, and those of one that stays are its own") {
  const Error error(errc::busy, "merge", "/a", "a hint", "/b");
  CHECK(&error.doing() == &error.doing());
  CHECK(&error.path() == &error.path());
  const std::string doing = Error(error).doing(), hint = Error(error).hint();
  const std::filesystem::path path = Error(error).path(), other = Error(error).other_path();
  CHECK((doing == "merge" && hint == "a hint" && path == "/a" && other == "/b"));
}

TEST_CASE("an error is caught as what the standard library calls it, whatever was thrown in its stead") {
  const auto caught = [](auto code) {
    try {
      detail::throw_error(code, "open", "/a", "a hint");
    } catch (const std::system_error& error) {
      return error.code();
    }
  };
  CHECK(caught(EACCES) == std::errc::permission_denied);
  CHECK(caught(errc::corrupt) == errc::corrupt);
  CHECK(caught(std::make_error_code(std::errc::file_exists)) == std::errc::file_exists);
  CHECK(says(refusal([] { detail::throw_error(errc::corrupt, "open", "/a", "a hint"); }), "cannot open \"/a\": "));
}

namespace {
/// As another shared object of the program may have it.
class Elsewhere : public std::error_category {
 public:
  explicit Elsewhere(const char* name) : name_(name) {}
  const char* name() const noexcept override { return name_; }
  std::string message(int) const override { return "elsewhere"; }

 private:
  const char* name_;
};
}  // namespace

TEST_CASE("a reason is told by its category's name, of whichever shared object that is, and by its number") {
  const Elsewhere ours("scratch"), theirs("scratch2");
  const std::error_code busy(static_cast<int>(errc::busy), ours), other(static_cast<int>(errc::busy), theirs);
  CHECK(busy == errc::busy);
  CHECK(busy != errc::corrupt);
  CHECK(other != errc::busy);
  CHECK(Error(busy, "merge", {}).code() == errc::busy);
  CHECK(std::error_code(errc::busy) == std::error_condition(static_cast<int>(errc::busy), ours));
  CHECK(busy == std::error_condition(static_cast<int>(errc::busy), scratch_category()));
  CHECK(std::error_code(static_cast<int>(errc::busy), std::generic_category()) != errc::busy);
  CHECK(make_error_code(errc::busy) == errc::busy);
}
