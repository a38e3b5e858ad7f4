// SPDX-License-Identifier: MIT
//
// How long a writer that finds no room asks for some.
#include <scratch/detail/workspace/askings.hpp>

#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/session_dir.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/engines.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::literals;
using namespace scratch::test;
using detail::Askings;

namespace {

constexpr int for_ever = 20'000;

/// Always says yes, and ends a test that would have no end.
struct Yes {
  std::atomic<int> asked = 0;

  OnFull says() {
    return [this](std::uint64_t) {
      if (++asked == for_ever) throw std::runtime_error("asked for ever");
      return true;
    };
  }
};

}  // namespace

TEST_CASE("who always says at once that there is room where none is, is believed a hundred times") {
  own_mounts();
  const TempDir dir;
  const Engine engine = GENERATE(from_range(engines()));
  const std::size_t size = GENERATE(as<std::size_t>(), 100'000, 3'000'000);
  CAPTURE(engine, size);
  const TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=32");
  Yes yes;
  const Workspace where(tiny.path(), {.io = engine.make, .on_full = yes.says()});
  put(tiny.path() / "filler", std::string(1'000'000, 'x'));
  std::optional<ChunkWriter> chunk(std::in_place, where);
  const auto error = refusal([&] {
    chunk->append(noise(size));
    chunk->commit();
  });
  REQUIRE(error);
  CHECK(error->code() == std::errc::no_space_on_device);
  CHECK(says(error, "on_full said"));
  CHECK(says(error, "there was none"));
  CHECK(says(error, "free"));
  CHECK(yes.asked >= static_cast<int>(Askings::most_in_vain));
  CHECK(yes.asked < for_ever / 2);
  CHECK(says(refusal([&] { chunk->append(noise(1)); }), "on_full said"));
  chunk.reset();
  std::filesystem::remove(tiny.path() / "filler");
  const ChunkInfo info = write_chunk(where, noise(100'000));
  ChunkReader(where, info).verify();
}

TEST_CASE("the same where no inode is left, for areas, files, and a session's record") {
  own_mounts();
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=40");
  Yes yes;
  SessionDir session(Under{tiny.path() / "root"}, "x", {.on_full = yes.says()});
  write_chunk(session, noise(10));
  int n = 0;
  while (::close(::open((tiny.path() / std::to_string(n)).c_str(), O_CREAT | O_WRONLY, 0600)) == 0) ++n;
  const auto gives_up = [&](const auto& work) {
    yes.asked = 0;
    const auto error = refusal(work);
    return error && error->code() == std::errc::no_space_on_device && says(error, "on_full said") &&
           yes.asked < for_ever / 2;
  };
  CHECK(gives_up([&] { session.area("area"); }));
  CHECK(gives_up([&] { write_file(session, "file", "text"); }));
  CHECK(gives_up([&] { session.complete(); }));
  for (; n > 0; --n) std::filesystem::remove(tiny.path() / std::to_string(n - 1));
  yes.asked = 0;
  CHECK_NOTHROW(session.area("area"));
  CHECK_NOTHROW(write_file(session, "file", "text"));
  CHECK_NOTHROW(session.complete());
  CHECK(yes.asked == 0);
}

TEST_CASE("the same for a quota, also where two of the kind ask side by side") {
  const TempDir dir;
  Yes yes;
  const Workspace where(dir.path(), {.quota = 10'000, .on_full = yes.says()});
  write_file(where, "old", std::string(9'000, 'x'));
  std::atomic<int> gave_up = 0;
  const auto write = [&] {
    const auto error = refusal([&] { write_file(where, "new", std::string(2'000, 'x')); });
    if (error && error->code() == errc::quota_exceeded && says(error, "on_full said")) ++gave_up;
  };
  write();
  CHECK(gave_up == 1);
  CHECK(yes.asked >= static_cast<int>(Askings::most_in_vain));
  CHECK(yes.asked < for_ever / 2);
  yes.asked = 0;
  { const std::jthread first(write), second(write); }
  CHECK(gave_up == 3);
  CHECK(yes.asked < 10 * static_cast<int>(Askings::most_in_vain));
  Workspace(where).remove("old");
  CHECK_NOTHROW(write_file(where, "new", std::string(2'000, 'x')));
}

TEST_CASE("a quota's writer is not believed for what others write on the disk") {
  own_mounts();
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=200m");
  int asked = 0;
  const auto others_write = [&](std::uint64_t) {
    if (asked++ < for_ever) put(tiny.path() / ("other_" + std::to_string(asked)), "text");
    return asked < for_ever;
  };
  const Workspace where(tiny.path(), {.quota = 1'000, .on_full = others_write});
  write_file(where, "old", std::string(900, 'x'));
  const auto error = refusal([&] { write_file(where, "new", std::string(500, 'x')); });
  REQUIRE(error);
  CHECK(error->code() == errc::quota_exceeded);
  CHECK(asked >= static_cast<int>(Askings::most_in_vain));
  CHECK(asked < 10 * static_cast<int>(Askings::most_in_vain));
}

TEST_CASE("who waits in on_full until a reader frees something goes on, however long and often he waits") {
  own_mounts();
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=1m");
  const bool full_disk = GENERATE(true, false);
  CAPTURE(full_disk);
  std::mutex mutex;
  std::condition_variable changed;
  int waiting = 0, freed = 0;
  bool done = false;
  std::optional<Workspace> where;
  const auto wait = [&](std::uint64_t) {
    std::unique_lock hold(mutex);
    const int mine = ++waiting;
    changed.notify_all();
    changed.wait(hold, [&] { return freed >= mine; });
    return true;
  };
  where.emplace(full_disk ? tiny.path() : dir.path(),
                WorkspaceOptions{.quota = full_disk ? 0U : 1'000'000U, .on_full = wait});
  std::jthread reader([&] {
    for (std::unique_lock hold(mutex);; ++freed, changed.notify_all()) {
      changed.wait(hold, [&] { return done || waiting > freed; });
      if (done) return;
      where->remove("file_" + std::to_string(freed));
    }
  });
  std::optional<Error> error;
  for (int n = 0; n < 20 && !error; ++n)
    error = refusal([&] { write_file(*where, "file_" + std::to_string(n), std::string(450'000, 'x')); });
  CHECK_FALSE(error);
  CHECK(freed >= 18);
  const std::lock_guard hold(mutex);
  done = true;
  changed.notify_all();
}

TEST_CASE("who looks every millisecond whether there is room now is asked as long as he likes") {
  const TempDir dir;
  std::optional<Workspace> where;
  int asked = 0;
  constexpr int patience = 4 * static_cast<int>(Askings::most_in_vain);
  const auto look = [&](std::uint64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (++asked == patience) where->remove("old");
    return true;
  };
  where.emplace(dir.path(), WorkspaceOptions{.quota = 1'000, .on_full = look});
  write_file(*where, "old", std::string(900, 'x'));
  write_file(*where, "new", std::string(500, 'x'));
  CHECK(asked == patience);
}

TEST_CASE("who frees a little each time is asked until it is enough") {
  const TempDir dir;
  std::optional<Workspace> where;
  int asked = 0;
  const auto free_one = [&](std::uint64_t) { return where->remove("old_" + std::to_string(asked++)); };
  where.emplace(dir.path(), WorkspaceOptions{.quota = 3'000, .on_full = free_one});
  constexpr int files = 3 * static_cast<int>(Askings::most_in_vain);
  for (int n = 0; n < files; ++n) write_file(*where, "old_" + std::to_string(n), std::string(10, 'x'));
  write_file(*where, "new", std::string(3'000, 'x'));
  CHECK(asked == files);
}
