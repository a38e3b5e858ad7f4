// SPDX-License-Identifier: MIT
// ctest: timeout=300
//
// Disks that are really full, limits that are really met.
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/merge.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <set>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/counts.hpp"
#include "support/crash.hpp"
#include "support/engines.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

void verify_all(const Workspace& where) {
  for (const ChunkInfo& info : where.chunks()) ChunkReader(where, info).verify();
}

/// Chunks until one fails; how that one ended, nothing when none did.
std::optional<Error> fill_up(const Workspace& where, std::size_t size) {
  for (int i = 0; i < 10000; ++i) {
    const auto said = refusal([&] { write_chunk(where, noise(size, static_cast<std::uint64_t>(i))); });
    if (said) return said;
  }
  return std::nullopt;
}

}  // namespace

TEST_CASE("a full tmpfs: the error says needed and free, all that was committed verifies, work goes on after room") {
  own_mounts();
  const TempDir dir;
  const Engine engine = GENERATE(from_range(engines()));
  const std::size_t size = GENERATE(as<std::size_t>(), 1000, 100000, 300001);
  CAPTURE(engine, size);
  const TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=32");
  Workspace where(tiny.path(), {.io = engine.make});
  const auto said = fill_up(where, size);
  REQUIRE(says(said, "No space left on device"));
  REQUIRE(says(said, "nothing committed is lost"));
  const std::size_t committed = where.chunks().size();
  REQUIRE(committed > 0);
  verify_all(where);
  REQUIRE(where.usage().files == committed);
  where.remove_matching("chunk_0.bin");
  write_chunk(where, noise(size / 2));
  verify_all(where);
  REQUIRE(where.chunks().size() == committed);
}

TEST_CASE("on_full frees finished work, is asked once, and the same chunk goes on") {
  own_mounts();
  const TempDir dir;
  const Engine engine = GENERATE(from_range(engines()));
  CAPTURE(engine);
  const TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=32");
  int asked = 0;
  std::optional<Workspace> where;
  where.emplace(tiny.path(), WorkspaceOptions{.io = engine.make, .on_full = [&](std::uint64_t) {
                                                ++asked;
                                                return where->remove_matching("old_*") > 0;
                                              }});
  write_file(*where, "old_1", noise(700000));
  const std::vector<std::byte> bytes = noise(600000);
  const ChunkInfo info = write_chunk(*where, bytes);
  REQUIRE(asked == 1);
  REQUIRE(same(bytes_in(tiny.path() / info.file), bytes));
  REQUIRE(says(refusal([&] { write_chunk(*where, bytes); }), "No space left"));
  REQUIRE(asked == 2);
  verify_all(*where);
}

TEST_CASE("a full disk never ends the process: what is mapped was written whole") {
  own_mounts();
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=64");
  const Ending ending = in_child([&] {
    const Workspace where(tiny.path());
    fill_up(where, 50000);
    for (const ChunkInfo& info : where.chunks()) {
      ChunkReader reader(where, info);
      const Bytes bytes = reader.map();
      if (detail::checksum_text(detail::xxh3(bytes)) != info.checksum) throw std::runtime_error("other bytes");
    }
  });
  REQUIRE(ending == Ending::finished);
}

TEST_CASE("a map of a file without blocks ends the process there: the control for the one before") {
  own_mounts();
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=64");
  constexpr std::size_t size = 4 << 20;
  const Ending ending = in_child([&] {
    const int file = ::open((tiny.path() / "sparse").c_str(), O_RDWR | O_CREAT, 0600);
    if (::ftruncate(file, size) != 0) throw std::runtime_error("ftruncate");
    void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    std::memset(at, 1, size);
  });
  CHECK(ending != Ending::finished);  // by SIGBUS, or by a sanitizer that met it
}

namespace {

enum class Limit { bytes, inodes, file_size, quota };

std::ostream& operator<<(std::ostream& out, Limit limit) {
  return out << std::vector{"bytes", "inodes", "file size", "quota"}[static_cast<std::size_t>(limit)];
}

/// Replaces "name" by a larger file that a limit does not allow, then takes the limit away and replaces it again.
/// `write` returns what its error says, or "" when it says that all went well. What is wrong; "" when nothing is.
std::string where_it_is_full(Limit limit, IoMaker io,
                             const std::function<std::string(const Workspace&, Bytes)>& write) {
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=32");
  Workspace where(tiny.path(), {.quota = limit == Limit::quota ? 1'002'000U : 0U, .io = std::move(io)});
  const std::vector<std::byte> old = noise(400000), larger = noise(601000, 2);
  write_file(where, "name", old);
  struct rlimit no_limit {};
  ::getrlimit(RLIMIT_FSIZE, &no_limit);
  const struct rlimit file_size { 600'000, no_limit.rlim_max };
  if (limit == Limit::bytes) put(tiny.path() / "filler", std::string(500000, 'x'));
  if (limit == Limit::quota) write_file(where, "filler", noise(5000));
  if (limit == Limit::file_size) ::setrlimit(RLIMIT_FSIZE, &file_size);
  int inodes = 0;
  if (limit == Limit::inodes)
    for (; ::close(::open((tiny.path() / std::to_string(inodes)).c_str(), O_CREAT | O_WRONLY, 0600)) == 0;) ++inodes;
  const auto make_room = [&] {
    if (limit == Limit::bytes) std::filesystem::remove(tiny.path() / "filler");
    if (limit == Limit::quota) where.remove_matching("filler");
    if (limit == Limit::file_size) ::setrlimit(RLIMIT_FSIZE, &no_limit);
    for (; inodes > 0; --inodes) std::filesystem::remove(tiny.path() / std::to_string(inodes - 1));
  };

  const std::set<std::string> before = names_in(tiny.path());
  const std::string said = write(where, larger);
  const std::vector<std::byte> now = bytes_in(tiny.path() / "name");
  const std::set<std::string> after = names_in(tiny.path());
  make_room();
  if (said.empty()) return now == larger ? "the limit did not hold" : "it said that all went well, and it did not";
  if (now != old) return "the old file is gone";
  if (after != before) return "something is left of the new file";
  if (!write(where, larger).empty()) return "there is room, and it fails";
  return bytes_in(tiny.path() / "name") == larger ? "" : "the new file is another one";
}

/// Opens "name", or a file that is renamed to it; looks at errors, or does not.
std::string write_badly(const Workspace& where, Bytes bytes, bool in_place, bool careless) {
  const detail::Fd file(
      sys::openat(detail::directory_of(where).fd(), in_place ? "name" : "temp", O_WRONLY | O_CREAT | O_TRUNC, 0600));
  const int error = file ? sys::pwrite_all(file.get(), bytes, 0).error : errno;
  if (error != 0 && !careless) {
    if (!in_place) sys::unlinkat(detail::directory_of(where).fd(), "temp");
    return std::generic_category().message(error);
  }
  if (!in_place) sys::rename(detail::directory_of(where).fd(), "temp", detail::directory_of(where).fd(), "name");
  return "";
}

}  // namespace

TEST_CASE("where it is full: the old file is intact, nothing is left of the new one, and room helps") {
  own_mounts();
  const Engine engine = GENERATE(from_range(engines()));
  const Limit limit = GENERATE(Limit::bytes, Limit::inodes, Limit::file_size, Limit::quota);
  CAPTURE(engine, limit);
  REQUIRE(where_it_is_full(limit, engine.make, [&](const Workspace& where, Bytes bytes) {
            const auto said = refusal([&] { write_file(where, "name", bytes); });
            if (!said) return std::string();
            REQUIRE(says(said, where.path().native()));
            const char* why = limit == Limit::file_size ? "ulimit -f"
                              : limit == Limit::quota   ? "quota exceeded"
                                                        : "No space left on device";
            REQUIRE(says(said, why));
            return words_of(said);
          }) == "");
}

TEST_CASE("what bad writers do where it is full is found out: the control for the one before") {
  own_mounts();
  const auto harm = [](Limit limit, bool in_place, bool careless) {
    return where_it_is_full(limit, PosixIo::make, [=](const Workspace& where, Bytes bytes) {
      return write_badly(where, bytes, in_place, careless);
    });
  };
  const std::string lied = "it said that all went well, and it did not";
  CHECK(harm(Limit::bytes, true, false) == "the old file is gone");
  CHECK(harm(Limit::bytes, true, true) == lied);
  CHECK(harm(Limit::bytes, false, true) == lied);
  CHECK(harm(Limit::inodes, false, true) == lied);
  CHECK(harm(Limit::file_size, true, false) == "the old file is gone");
  CHECK(harm(Limit::file_size, false, true) == lied);
  CHECK(harm(Limit::quota, false, false) == "the limit did not hold");
  CHECK(harm(Limit::bytes, false, false) == "");
  CHECK(harm(Limit::file_size, false, false) == "");
}

namespace {

std::uint64_t free_bytes(const std::filesystem::path& at) { return std::filesystem::space(at).available; }

/// A file that leaves this many bytes free.
void fill_but(const std::filesystem::path& file, std::uint64_t bytes) {
  const std::string page(4096, 'x');
  std::ofstream out(file, std::ios::binary);
  while (free_bytes(file.parent_path()) >= bytes + page.size()) out << page << std::flush;
}

/// Merges "b" into "a" where this share of what the sum takes is free, then makes room and merges again. `work` throws
/// Error. What is wrong; "" when nothing is.
template <CountKey Key>
std::string merged_where_it_is_full(double share, const std::function<void(const Workspace&)>& work) {
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=4m");
  const Workspace where(tiny.path());
  const Model<Key> a = some_counts<Key>(100000, 1), b = some_counts<Key>(100000, 2);
  write_table(where, "a", a);
  write_table(where, "b", b);
  const auto files = [&] { return std::pair(text_of(tiny.path() / "a"), text_of(tiny.path() / "b")); };
  const auto old = files();
  const std::size_t sum = sizeof(Key) == 2 ? old.first.size() : old.first.size() + old.second.size();
  fill_but(tiny.path() / "filler", static_cast<std::uint64_t>(share * static_cast<double>(sum)));
  const auto names = names_in(tiny.path());
  const std::optional<Error> error = refusal([&] { work(where); });
  if (!error) return "there was room";
  if (error->code() != std::errc::no_space_on_device) return std::string("another error: ") + error->what();
  if (!says(error, (tiny.path() / "a").native()) && !says(error, (tiny.path() / "b").native()))
    return "it names no table";
  if (!says(error, " free")) return "it does not say what is free";
  if (files() != old) return "a table is another one";
  if (names_in(tiny.path()) != names) return "something is left over, or missing";
  std::filesystem::remove(tiny.path() / "filler");
  if (const auto again = refusal([&] { work(where); })) return std::string("there is room: ") + again->what();
  if (read_table<Key>(where, "a") != sum_of(a, b)) return "the counts are wrong";
  return std::filesystem::exists(tiny.path() / "b") ? "a source is left" : "";
}

}  // namespace

TEMPLATE_TEST_CASE("a disk that gets full in a merge: both tables are as they were, and with room the sum is exact", "",
                   std::uint16_t, std::uint32_t, std::uint64_t) {
  own_mounts();
  const double share = GENERATE(0.0, 0.5, 0.9);
  const unsigned threads = GENERATE(1U, 4U);
  CAPTURE(share, threads);
  CHECK(merged_where_it_is_full<TestType>(
            share, [&](const Workspace& where) { merge<TestType>(where, "a", "b", {.threads = threads}); }) == "");
  CHECK(merged_where_it_is_full<TestType>(share, [&](const Workspace& where) {
          merge_all<TestType>(where, "a", {"b"}, {.threads = threads});
        }) == "");
}

TEST_CASE("merges in place, and merges that let go too early, are found out: the control for the one before") {
  own_mounts();
  const auto badly = [](bool early) {
    return merged_where_it_is_full<std::uint64_t>(0.0, [&](const Workspace& where) {
      const TempDir elsewhere;
      write_table(Workspace(elsewhere.path()), "sum",
                  sum_of(read_table<std::uint64_t>(where, "a"), read_table<std::uint64_t>(where, "b")));
      const std::vector<std::byte> sum = bytes_in(elsewhere / "sum");
      if (early) {
        sys::unlinkat(detail::directory_of(where).fd(), "b");
        write_file(where, "a", sum);
      } else {
        const detail::Fd file(sys::openat(detail::directory_of(where).fd(), "a", O_WRONLY | O_TRUNC));
        const sys::Moved moved = sys::pwrite_all(file.get(), sum, 0);
        if (moved.error != 0) throw Error(moved.error, "merge into", where.path() / "a", "0 B free");
        sys::unlinkat(detail::directory_of(where).fd(), "b");
      }
    });
  };
  CHECK(badly(false) == "a table is another one");
  CHECK(badly(true) == "a table is another one");
}

TEST_CASE("a merge that meets a full disk asks for room once, and goes on") {
  own_mounts();
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=12m");
  int asked = 0;
  const Workspace where(tiny.path(), {.on_full = [&](std::uint64_t bytes) {
                          ++asked;
                          return bytes > 0 && std::filesystem::remove(tiny.path() / "filler");
                        }});
  const auto a = some_counts<std::uint64_t>(300000, 1), b = some_counts<std::uint64_t>(300000, 2);
  write_table(where, "a", a);
  write_table(where, "b", b);
  fill_but(tiny.path() / "filler", 1_MiB);
  merge<std::uint64_t>(where, "a", "b");
  REQUIRE(asked == 1);
  REQUIRE(read_table<std::uint64_t>(where, "a") == sum_of(a, b));
}

TEST_CASE("the file-size limit is an error that names it") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  write_chunk(where, noise(1000));
  struct rlimit old {};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const struct rlimit limit { 1'000'000, old.rlim_max };
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  const auto said = refusal([&] { write_chunk(where, noise(9000000)); });
  const auto small = refusal([&] { write_chunk(where, noise(900000)); });
  ::setrlimit(RLIMIT_FSIZE, &old);
  REQUIRE(says(said, "ulimit -f"));
  REQUIRE_FALSE(small);
  REQUIRE(where.chunks().size() == 2);
  verify_all(where);
  write_chunk(where, noise(9000000));
}

TEST_CASE("a file system that becomes read-only: an error, what was committed verifies") {
  own_mounts();
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=8m");
  write_chunk(Workspace(tiny.path()), noise(100000));
  REQUIRE(::mount("none", tiny.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  const Workspace where(tiny.path());
  REQUIRE(says(refusal([&] { write_chunk(where, noise(1000)); }), "Read-only file system"));
  REQUIRE(where.chunks().size() == 1);
  verify_all(where);
  REQUIRE(::mount("none", tiny.path().c_str(), nullptr, MS_REMOUNT, nullptr) == 0);
  write_chunk(where, noise(1000));
  verify_all(where);
}

TEST_CASE("no inodes: the error says how many are free") {
  own_mounts();
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=8m,nr_inodes=10");
  const Workspace where(tiny.path());
  const auto said = fill_up(where, 10);
  REQUIRE(says(said, "0 inodes free"));
  verify_all(where);
}
