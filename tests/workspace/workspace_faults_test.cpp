// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Each system call of persisting, removing and making areas fails once. Then nothing is lost that was not to go, and the
// same handle does it the next time.
#include <scratch/scratch.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

using scratch::test::words_of;

constexpr std::array all_errors{EIO, ENOSPC, EACCES, EBUSY, EMFILE, ESTALE};
constexpr std::array with_a_lack{EIO, ENOSPC, EACCES, EBUSY, EMFILE, EOPNOTSUPP};

/// What is wrong after `work` whose n-th call fails with each errno, for each n. `look` is told what it said, and gives
/// "" or what is wrong.
std::vector<std::string> with_each_fault(const std::function<void()>& prepare, const std::function<void()>& work,
                                         const std::function<std::string(const std::optional<Error>&)>& look,
                                         const std::array<int, 6>& errors = all_errors) {
  std::vector<std::string> wrong;
  long fired = 0;
  prepare();
  work();
  for (long n = 0, met = 1; met != 0; ++n)
    for (std::size_t i = static_cast<std::size_t>(n % 3); i < errors.size() && met != 0; i += soaking() ? 1 : 3) {
      prepare();
      const std::size_t descriptors = open_descriptors();
      plan.fail_once(n, errors[i]);
      const auto said = refusal(work);
      met = plan.fired;
      const std::string call = plan.fired_at.load();
      plan.clear();
      std::string what = look(said);
      if (said && met == 0) what = "an error out of nothing";
      if (open_descriptors() != descriptors) what = "a descriptor leaked";
      if (!what.empty())
        wrong.push_back(call + ", call " + std::to_string(n) + ", " + std::to_string(errors[i]) + ": " + what +
                        "; it said " + words_of(said));
      fired += met;
    }
  if (fired < 10) wrong.push_back("only " + std::to_string(fired) + " faults");
  return wrong;
}

std::string words_of(const std::vector<std::string>& wrong) {
  std::string text = std::to_string(wrong.size()) + " failures\n";
  for (std::size_t i = 0; i < wrong.size() && i < 8; ++i) text += wrong[i] + "\n";
  return text;
}

enum class Target { none, ours, others, open };

}  // namespace

TEST_CASE("a file is persisted or stays, whichever call fails once, and is persisted the next time") {
  const Target kind = GENERATE(Target::none, Target::ours, Target::others, Target::open);
  const auto [far, durable] = GENERATE(std::array{false, false}, std::array{true, false}, std::array{false, true});
  if (kind == Target::others && ::geteuid() != 0) return;
  CAPTURE(static_cast<int>(kind), far, durable);
  const TempDir dir, disk(TempDir::On::disk);
  const std::string text = noise_text(5000, 1), old(kind == Target::none || kind == Target::open ? "" : "old");
  const std::filesystem::path out = (far ? disk : dir) / "out";
  Workspace where(dir.path(), {.durable = durable});
  detail::Fd opened;
  std::filesystem::path target = out;
  std::filesystem::perms mode{};
  const auto wrong = with_each_fault(
      [&] {
        write_file(where, "file", text);
        mode = std::filesystem::status(dir / "file").permissions();
        opened.reset();
        std::filesystem::remove(out);
        if (kind != Target::none) put(out, old);
        if (kind == Target::others) REQUIRE(::chown(out.c_str(), 65534, 65534) == 0);
        if (kind != Target::open) return;
        opened = detail::Fd(::open(out.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
        target = "/dev/fd/" + std::to_string(opened.get());
      },
      [&] { detail::Persisting(detail::directory_of(where), "file", target).run(); },
      [&](const std::optional<Error>& said) -> std::string {
        const bool here = std::filesystem::exists(dir / "file");
        const std::string now = std::filesystem::exists(out) ? text_of(out) : "";
        if (here && text_of(dir / "file") != text) return "the file is damaged";
        if (!said && (here || now != text)) return "it is not where it should be";
        if (says(said, "target unchanged") && (!here || now != old)) return "the target changed";
        if (!here && now != text) return "it is lost";
        if (here && std::filesystem::status(dir / "file").permissions() != mode) return "it has another mode";
        if (!here) return "";
        detail::Persisting(detail::directory_of(where), "file", target).run();
        if (!text_of(out).ends_with(text) || std::filesystem::exists(dir / "file")) return "not even the next time";
        if (kind != Target::open && text_of(out) != text) return "more than it is there";
        return "";
      },
      with_a_lack);
  INFO(words_of(wrong));
  CHECK(wrong.empty());
}

TEST_CASE("whichever call of a removal fails once, what is not ours stays, and the next removal takes what is left") {
  const bool plain = GENERATE(true, false);
  const std::string what = GENERATE(as<std::string>(), "clear", "remove_matching", "remove", "remove a chunk");
  CAPTURE(plain, what);
  const TempDir dir;
  std::optional<SessionDir<Under>> session;
  Workspace where(dir.path());
  ChunkInfo chunk;
  const auto remove = [&] {
    if (what == "clear") where.clear();
    if (what == "remove_matching") where.remove_matching("*");
    if (what == "remove") where.remove("file");
    if (what == "remove a chunk") where.remove(chunk);
  };
  const auto left = [&] {
    if (what == "remove a chunk") return std::filesystem::exists(where.path() / chunk.file);
    if (what == "clear" && std::filesystem::exists(where.path() / "area/below/deep")) return true;
    return std::filesystem::exists(where.path() / "file");
  };
  const auto wrong = with_each_fault(
      [&] {
        session.reset();
        if (plain) {
          std::filesystem::remove_all(dir / "plain");
          std::filesystem::create_directory(dir / "plain");
          put(dir / "plain/theirs", "not ours");
          where = Workspace(dir / "plain", {.quota = 1_GiB});
        } else {
          session.emplace(Under{dir / "place"}, "x", SessionOptions{.quota = 1_GiB});
          where = *session;
        }
        write_file(where, "file", std::string_view("1"));
        write_file(where.area("area").area("below"), "deep", std::string_view("22"));
        chunk = write_chunk(where.area("area"), std::string(100, 'c'));
        write_chunk(where, std::string(100, 'd'));
      },
      remove,
      [&](const std::optional<Error>& said) -> std::string {
        if (!said && left()) return "it is still there";
        if (what != "clear" && !std::filesystem::exists(where.path() / "area/below/deep")) return "too much went";
        for (const ChunkInfo& one : where.chunks())
          if (!said) ChunkReader(where, one).verify();
        remove();
        if (left()) return "not even the next time";
        for (const ChunkInfo& one : where.chunks()) ChunkReader(where, one).verify();
        if (plain && text_of(dir / "plain/theirs") != "not ours") return "what is not ours went";
        where.clear();
        if (const auto names = where.list(); names.size() != (plain ? 1 : 0)) return names[0] + " is left in the end";
        if (!where.chunks().empty()) return "a chunk is on record in the end";
        if (where.usage().bytes != (plain ? 8 : 0)) return "the usage is wrong in the end";
        return "";
      });
  INFO(words_of(wrong));
  CHECK(wrong.empty());
}

TEST_CASE("whichever call of making an area or looking into one fails once, the next try has it") {
  const bool plain = GENERATE(true, false), there = GENERATE(true, false);
  CAPTURE(plain, there);
  const TempDir dir;
  std::optional<SessionDir<Under, Durable>> session;
  if (!plain) session.emplace(Under{dir / "place"}, "x");
  Workspace where = plain ? Workspace(dir.path(), {.durable = true}) : Workspace(*session);
  const auto work = [&] {
    write_file(where.area("area").area("below"), "file", std::string_view("text"));
    if (where.area("area").area("below").list() != std::vector<std::string>{"file"})
      throw std::logic_error("not there");
  };
  const auto wrong = with_each_fault(
      [&] {
        where.clear();
        std::filesystem::remove_all(where.path() / "area");
        if (there) where.area("area").area("below");
      },
      work,
      [&](const std::optional<Error>&) -> std::string {
        work();
        return where.usage().files == 1 ? "" : "there is more than the file";
      });
  INFO(words_of(wrong));
  CHECK(wrong.empty());
}

TEST_CASE("a file that cannot be examined is not taken for one that is not there") {
  const TempDir dir;
  put(dir / "file");
  const auto whole = detail::identity_of(dir.fd(), "file");
  const detail::Fd open(::open((dir / "file").c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(whole);
  for (const bool by_name : {true, false}) {
    const auto ask = [&] { return by_name ? detail::identity_of(dir.fd(), "file") : detail::identity_of(open.get()); };
    plan.fail_once(0, EIO);
    CHECK(refuses_with(std::errc::io_error, ask));
    plan.fail_from(0, ENOSYS);  // a sandbox without statx
    plan.only = "statx";
    CHECK(ask()->inode == whole->inode);
    plan.fail_from(0, 0);
    plan.at_number = [](long n) { plan.error = n == 0 ? ENOSYS : EIO; };
    CHECK(refuses_with(std::errc::io_error, ask));
    plan.fail_from(0, 0);
    plan.at_number = [](long n) { plan.error = n == 0 ? ENOSYS : ENOENT; };
    if (by_name)
      CHECK(!ask());
    else  // an open file is there
      CHECK(refuses_with(std::errc::no_such_file_or_directory, ask));
    plan.clear();
    CHECK(ask() == whole);
  }
}

TEST_CASE("a file is ours where the kernel told its birth only when it got its name, or only afterwards") {
  for (const bool then : {true, false}) {
    const TempDir dir;
    Workspace where(dir.path(), {.quota = 1_MiB});
    const auto without_statx = [](bool yes) {
      plan.clear();
      if (!yes) return;
      plan.fail_from(0, EPERM);
      plan.only = "statx";
    };
    without_statx(then);
    write_file(where, "file", std::string_view("text"));
    put(dir / "other");
    without_statx(!then);
    CHECK(detail::directory_of(where).state().is_ours(dir.fd(), "file", "file"));
    CHECK_FALSE(detail::directory_of(where).state().is_ours(dir.fd(), "other", "other"));
    CHECK_FALSE(detail::directory_of(where).state().is_ours(dir.fd(), "other", "file"));
    where.clear();
    plan.clear();
    CHECK(names_in(dir.path()) == std::set<std::string>{".scratch-files", "other"});
  }
}

TEST_CASE("what only close tells of a result that is written in place is an error, and it is written the next time") {
  if (::geteuid() != 0) skip("needs root");
  const TempDir dir;
  Workspace where(dir.path());
  write_file(where, "file", std::string_view("text"));
  put(dir / "out", "old");
  REQUIRE(::chown((dir / "out").c_str(), 65534, 65534) == 0);
  const auto persist = [&] { detail::Persisting(detail::directory_of(where), "file", dir / "out").run(); };
  plan.clear();
  plan.error_at_close = EDQUOT;
  const auto said = refusal(persist);
  plan.clear();
  REQUIRE(said);
  CHECK(said->code().value() == EDQUOT);
  CHECK(text_of(dir / "file") == "text");
  persist();
  CHECK(text_of(dir / "out") == "text");
}

TEST_CASE("a result that has no room in another user's file leaves that as it is") {
  if (::geteuid() != 0) skip("needs root");
  own_mounts();
  const TempDir dir;
  const TinyTmpfs small(dir / "small", "size=64k,mode=0700");
  Workspace where(dir.path());
  write_file(where, "file", noise_text(100'000));
  put(small.path() / "out", "old");
  REQUIRE(::chown((small.path() / "out").c_str(), 65534, 65534) == 0);
  const auto persist = [&] { detail::Persisting(detail::directory_of(where), "file", small.path() / "out").run(); };
  const auto said = refusal(persist);
  REQUIRE(said);
  CHECK(said->code() == std::errc::no_space_on_device);
  CHECK(says(said, "target unchanged"));
  CHECK(text_of(small.path() / "out") == "old");
  write_file(where, "file", std::string_view("less"));
  persist();
  CHECK(text_of(small.path() / "out") == "less");
}

TEST_CASE("somebody else's file in a sticky directory is no place for a result") {
  if (::geteuid() != 0) skip("needs root");
  const TempDir dir, sticky;
  put(sticky / "out", "root's");
  ::chmod((sticky / "out").c_str(), 0666);
  ::chmod(sticky.path().c_str(), 01777);
  REQUIRE(::chown(dir.path().c_str(), 65534, 65534) == 0);
  REQUIRE(::seteuid(65534) == 0);
  std::optional<Error> said;
  {
    Workspace where(dir.path());
    write_file(where, "file", std::string_view("text"));
    const auto persist = [&](const char* name) {
      detail::Persisting(detail::directory_of(where), "file", sticky / name).run();
    };
    said = refusal([&] { persist("out"); });
    persist("mine");
  }
  REQUIRE(::seteuid(0) == 0);
  REQUIRE(said);
  CHECK(said->code() == std::errc::operation_not_permitted);
  CHECK(says(said, "target unchanged"));
  CHECK(text_of(sticky / "out") == "root's");
  CHECK(text_of(sticky / "mine") == "text");
}

TEST_CASE("a record of files that cannot be one is refused, and one that cannot be written anew stays as it is") {
  const TempDir dir;
  Workspace where(dir.path());
  const auto write = [&](const std::string& name) { write_file(where, name, std::string_view("text")); };
  write("first");
  const auto record = dir / ".scratch-files";
  const auto size = std::filesystem::file_size(record);
  std::filesystem::resize_file(record, 257_MiB);
  CHECK(refuses_with(errc::corrupt, [&] { write("second"); }));
  std::filesystem::resize_file(record, size);
  write("second");
  CHECK(where.list().size() == 2);
  const auto fill = [&] { put(record, text_of(record) + std::string(1'200'000, 'x') + '\0'); };  // so that it is due
  const auto is_anew = [&] { return std::filesystem::file_size(record) < 1'000'000; };
  fill();
  write("third");
  REQUIRE(is_anew());
  int stayed = 0;
  for (long n = 0, met = 1; met != 0; ++n) {
    fill();
    plan.fail_once(n, EIO);
    const auto said = refusal([&] { write("third"); });
    met = plan.fired;
    plan.clear();
    stayed += !said && !is_anew();
    write("third");
    CHECK(is_anew());
    CHECK(Workspace(dir.path()).list() == std::vector<std::string>{"first", "second", "third"});
  }
  CHECK(stayed > 3);
  where.clear();
  CHECK(where.list().empty());
}
