// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Some file systems say only at close(2) that the bytes could not be kept.
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/count_table.hpp>
#include <scratch/detail/bytes/line_log.hpp>
#include <scratch/session_dir.hpp>

#include <linux/magic.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/planned_syscalls.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

/// Everything stands on a file system that is asked at close.
struct Asked {
  Asked() {
    plan.clear();
    plan.file_system = OVERLAYFS_SUPER_MAGIC;
  }
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;
  ~Asked() { plan.clear(); }
};

/// What `work` says where every close fails.
template <class Work>
std::optional<Error> with_failing_close(int error, Work work) {
  plan.error_at_close = error;
  const auto said = refusal(work);
  plan.error_at_close = 0;
  return said;
}

}  // namespace

TEST_CASE("what a close says of the bytes is said by the commit, which then has not happened") {
  const int error = GENERATE(EDQUOT, EIO, ENOSPC);
  const std::size_t size = GENERATE(as<std::size_t>(), 5, 300'000);
  const Asked asked;
  const TempDir dir;
  const Workspace where(dir.path());
  write_file(where, "name", "old");
  AtomicFile file(where, "name");
  file.append(std::string(size, 'x'));
  const auto said = with_failing_close(error, [&] { file.commit(); });
  REQUIRE(says(said, "cannot close"));
  CHECK(said->code().value() == error);
  CHECK(text_of(dir / "name") == "old");
  CHECK(words_of(refusal([&] { file.commit(); })) == words_of(said));
  CHECK(words_of(refusal([&] { file.append("more"); })) == words_of(said));
  write_file(where, "name", "new");
  CHECK(text_of(dir / "name") == "new");
}

TEST_CASE("the same holds for chunks, tables, metadata.json and what is persisted by a copy") {
  const Asked asked;
  const TempDir dir;
  const TempDir elsewhere(TempDir::On::disk);
  SessionDir<Under> session(Under{dir / "place"}, "x");
  CHECK(with_failing_close(EDQUOT, [&] { write_chunk(session, "text"); }));
  CHECK(session.chunks().empty());
  CHECK(with_failing_close(EDQUOT, [&] {
    CountTable<std::uint64_t> table(session, "table");
    table.add(7);
    table.commit();
  }));
  CHECK(Workspace(session).list().empty());
  CHECK(with_failing_close(EDQUOT, [&] { session.publish(); }));
  write_file(session, "file", "text");
  CHECK(with_failing_close(EDQUOT, [&] { session.persist("file", elsewhere / "file"); }));
  CHECK(names_in(elsewhere.path()).empty());
  session.persist("file", elsewhere / "file");
  CHECK(text_of(elsewhere / "file") == "text");
}

TEST_CASE("Control: a writer that only closes its file says that all went well") {
  const Asked asked;
  const TempDir dir;
  CHECK(!with_failing_close(EDQUOT, [&] {
    const detail::Fd file(sys::openat(dir.fd(), "name", O_WRONLY | O_CREAT, 0600));
    REQUIRE(sys::pwrite_all(file.get(), bytes_of(std::string("text")), 0).error == 0);
  }));
}

TEST_CASE("where each write tells, nobody is asked at close") {
  const TempDir dir;
  const Workspace where(dir.path());
  plan.clear();
  CHECK(!with_failing_close(EIO, [&] { write_file(where, "name", "text"); }));
  CHECK(text_of(dir / "name") == "text");
}

TEST_CASE("a line of a record is asked for at close where only that tells what became of it") {
  const TempDir dir;
  detail::LineLog log(dir.fd(), "log", dir / "log", 100);
  const auto [file_system, tells] =
      GENERATE(std::pair{0x6969U, true}, std::pair{0x65735546U, true}, std::pair{0U, false});
  plan.clear();
  plan.file_system = file_system;
  log.append("first\n", "append");
  plan.error_at_close = EDQUOT;
  const auto said = refusal([&] { log.append("second\n", "append"); });
  plan.error_at_close = 0;
  CHECK(said.has_value() == tells);
  CHECK((!said || said->code() == std::error_code(EDQUOT, std::generic_category())));
  log.append("third\n", "append");
  std::vector<std::string> lines;
  log.read_new([&](std::string_view line, std::uint64_t) { lines.emplace_back(line); });
  CHECK(lines.front() == "first");
  CHECK(lines.back() == "third");
  plan.clear();
}
