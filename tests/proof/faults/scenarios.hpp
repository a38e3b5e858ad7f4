// SPDX-License-Identifier: MIT
//
// What users do, each in three steps: `prepare` without faults, `work` under them, and `check`, without faults again,
// that what was committed is whole and that nothing leaked. Work may throw nothing but `scratch::Error`.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include "support/bytes.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/planned_syscalls.hpp"
#include "support/temp_dir.hpp"

namespace scratch::test {

inline void expect(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error(what);
}

inline std::string text_of(Workspace where, std::string_view name) {
  const std::vector<std::byte> bytes = read_file(std::move(where), name);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// `noise_text()`, made once: a scenario is tried a thousand times. For one thread.
inline const std::string& known_text(std::size_t size, std::uint64_t seed) {
  static std::map<std::pair<std::size_t, std::uint64_t>, std::string> texts;
  std::string& text = texts[{size, seed}];
  if (text.empty()) text = noise_text(size, seed);
  return text;
}

/// Whether a walk through the tree can be exact: what seems to be absent, or another file system, is passed over.
inline bool all_in_sight() { return plan.fired == 0 || (plan.error != ENOENT && plan.error != EXDEV); }

/// A root with nothing else in it.
class Stage {
 public:
  Stage() = default;
  std::filesystem::path root() const { return dir_.path(); }
  Under place() const { return Under{dir_.path()}; }

  /// What dead sessions left can be removed, all of it, by one sweep.
  void expect_sweepable(std::uint64_t live = 0) const {
    const SweepReport report = sweep(place());
    expect(report.failed.empty() && report.foreign == 0, "sweep left something behind");
    expect(report.live == live, "sweep found " + std::to_string(report.live) + " live sessions");
    std::uint64_t left = 0;
    for (const std::string& name : names_in(dir_.path())) {
      ++left;
      expect(name.starts_with("session_"), "something else is left: " + name);
    }
    expect(left == live, "sweep left " + std::to_string(left) + " entries");
  }

 private:
  TempDir dir_;
};

struct Scenario {
  std::string name;
  std::function<void(Stage&)> prepare = [](Stage&) {};
  std::function<void(Stage&)> work = {};
  std::function<void(Stage&)> check = [](Stage& stage) { stage.expect_sweepable(); };
};

/// A session that nobody uses any more, with a file in it and a file in an area of it.
inline void leave_dead_session(const Stage& stage) {
  in_child([&] {
    SessionDir<Under> session(stage.place(), "dead");
    write_file(session, "file", noise_text(100, 1));
    write_file(session.area("area"), "below", noise_text(100, 2));
    ::kill(::getpid(), SIGKILL);
  });
}

/// In a plain directory: `file` holds one of two texts and nothing uncommitted is left.
inline void expect_file(const Stage& stage, std::string_view before, std::string_view after) {
  Workspace where(stage.root());
  const bool there = std::filesystem::exists(stage.root() / "file");
  expect(there || before.empty(), "the old file is gone");
  if (there) {
    const std::string now = text_of(where, "file");
    expect(now == after || (!before.empty() && now == before), "the file is neither the old one nor the new one");
  }
  for (const std::string& name : names_in(stage.root()))
    expect(name == "file" || name == ".scratch-files", "left over: " + name);
}

template <CountKey Key>
std::map<Key, std::uint64_t> counts_in(Workspace where, std::string_view name) {
  std::map<Key, std::uint64_t> counts;
  CountReader<Key> reader(std::move(where), name);
  reader.verify();
  for (const auto& entry : reader) counts[entry.key] = entry.count;
  return counts;
}

/// Keys below `keys`, each counted `times`.
inline void count_keys(Workspace where, std::string_view name, std::uint64_t keys, std::uint64_t times) {
  CountTable<std::uint64_t> table(std::move(where), name, {.memory = 256_KiB});
  for (std::uint64_t key = 0; key < keys; ++key) table.add(key, times);
  table.commit();
}

/// The table holds each key below `keys` `times` times, or (0) does not exist.
inline bool has_counts(const Stage& stage, std::string_view name, std::uint64_t keys, std::uint64_t times) {
  if (!std::filesystem::exists(stage.root() / name)) return times == 0;
  const auto counts = counts_in<std::uint64_t>(Workspace(stage.root()), name);
  if (counts.size() != keys) return false;
  for (const auto& [key, count] : counts)
    if (count != times) return false;
  return true;
}

/// The id of the one session that is there, by its name alone: looking makes calls, too.
inline std::string id_of_the_only_one(const Stage& stage) {
  std::string id;
  for (const std::string& name : names_in(stage.root())) {
    expect(name.starts_with("session_") && id.empty(), "something else is left: " + name);
    id = name.substr(8);
  }
  expect(!id.empty(), "the session is lost");
  return id;
}

/// What stays in a plain directory: its records, and where a lock of a byte was refused the file that stands for it.
inline bool is_record(const std::string& name) {
  return name == ".scratch-files" || name == ".scratch-locks" || name.starts_with(".scratch-lock-");
}

/// A session of a process that was killed: chunks, one of them in an area, a merge that had begun and one that had
/// happened, a temporary file.
inline void leave_much_half_done(const Stage& stage, bool kept) {
  in_child([&] {
    const auto work = [&](auto& session) {
      write_chunk(session, noise_text(1000, 1));
      write_chunk(session.area("area"), noise_text(2000, 2));
      const Workspace here = session;
      for (const char* name : {"a", "b", "c", "d", "e"}) count_keys(here, name, 3, 5);
      detail::claim_table(detail::directory_of(here), {77, "a", "b"});
      merge<std::uint64_t>(here, "c", "d");
      const detail::TableFile merged(detail::directory_of(here), "c", 0);
      detail::claim_table(detail::directory_of(here), {merged.header().absorbed, "c", "e"});
      put(session.path() / "area" / ".scratch-temp-0123456789abcdef", "half a file");
      ::kill(::getpid(), SIGKILL);
    };
    if (kept) {
      SessionDir<Under, KeepAlways> session(stage.place(), "job");
      work(session);
    }
    SessionDir<Under> session(stage.place(), "job");
    work(session);
  });
}

/// What an adopter finds of that.
template <class Session>
void expect_all_done(Session& session) {
  expect(session.chunks().size() == 2, "a chunk is lost");
  for (const ChunkInfo& chunk : session.chunks()) ChunkReader(session, chunk).verify();
  for (const char* name : {"a", "b", "c"})
    for (const auto& [key, count] : counts_in<std::uint64_t>(session, name))
      expect(count == (*name == 'c' ? 10 : 5), "the counts are wrong");
  expect(session.list("?") == std::vector<std::string>{"a", "b", "c"}, "a table is lost, or there twice");
  for (const auto& where : {session.path(), session.path() / "area"})
    for (const std::string& name : names_in(where))
      expect(!name.starts_with(".scratch-claim") && !name.starts_with(".scratch-temp"), "left over: " + name);
  expect(scratch::metadata_json(session)["pid"] == ::getpid(), "metadata.json names another");
}

inline std::vector<Scenario> scenarios() {
  std::vector<Scenario> all;
  all.push_back({.name = "create and close a session", .work = [](Stage& stage) {
                   SessionDir<Under> session(stage.place(), "customer", {.need = 1_MiB, .quota = 1_GiB});
                   session.close();
                 }});

  all.push_back({.name = "write and read in a session", .work = [](Stage& stage) {
                   SessionDir<Under> session(stage.place(), "customer", {.quota = 1_GiB});
                   const std::string text = known_text(300'000, 3);
                   write_file(session.area("sorting"), "file", text);
                   expect(text_of(session.area("sorting"), "file") == text, "it reads back otherwise");
                   session.area("sorting").move("file", session.area("output"), "file_2");
                   const auto names = session.area("output").list();
                   expect(names == std::vector<std::string>{"file_2"} || !all_in_sight(), "the file did not move");
                   const std::uint64_t used = session.usage().bytes;
                   expect(used == text.size() || !all_in_sight(), "usage is wrong");
                   const std::uint64_t freed = session.area("output").clear();
                   expect(freed == text.size() || !all_in_sight(), "clear() freed something else");
                   session.close();
                 }});

  all.push_back({.name = "say how a session fares", .work = [](Stage& stage) {
                   SessionDir<Under> session(stage.place(), "customer");
                   session.user(R"({"job":7})");
                   session.publish();
                   session.complete();
                   expect(session.metadata().find(R"("status":"completed")") != std::string::npos, "another status");
                   session.close();
                 }});

  // A joiner must not harm the owner, whatever befalls it.
  auto owner = std::make_shared<std::unique_ptr<SessionDir<Under>>>();
  all.push_back({.name = "join and leave",
                 .prepare =
                     [owner](Stage& stage) {
                       *owner = std::make_unique<SessionDir<Under>>(stage.place(), "owner");
                       write_file(**owner, "file", std::string_view("kept"));
                     },
                 .work =
                     [owner](Stage&) {
                       JoinedSession joined((*owner)->path());
                       write_file(joined, "worker", noise_text(1000, 4));
                       write_chunk(joined, noise_text(5000, 5));
                       joined.close();
                     },
                 .check =
                     [owner](Stage& stage) {
                       stage.expect_sweepable(1);
                       expect(text_of(**owner, "file") == "kept", "the owner's file is damaged");
                       for (const ChunkInfo& chunk : (*owner)->chunks()) ChunkReader(**owner, chunk).verify();
                       expect(scratch::metadata_json(**owner)["status"] == "in_progress",
                              "the owner's record is damaged");
                       (*owner)->close();
                       owner->reset();
                       stage.expect_sweepable();
                     }});

  all.push_back({.name = "sweep",
                 .prepare =
                     [owner](Stage& stage) {
                       leave_dead_session(stage);
                       leave_dead_session(stage);
                       *owner = std::make_unique<SessionDir<Under>>(stage.place(), "live");
                       write_file(**owner, "file", std::string_view("kept"));
                     },
                 .work = [](Stage& stage) { sweep(stage.place()); },
                 .check =
                     [owner](Stage& stage) {
                       expect(text_of(**owner, "file") == "kept", "a live session was harmed");
                       stage.expect_sweepable(1);
                       owner->reset();
                       stage.expect_sweepable();
                     }});

  const auto in_sight = std::make_shared<bool>(true);  // else what is there was said not to be
  all.push_back({.name = "sweep beside a kept session",
                 .prepare =
                     [in_sight](Stage& stage) {
                       *in_sight = true;
                       SessionDir<Under>(stage.place(), "kept").keep();
                     },
                 .work =
                     [in_sight](Stage& stage) {
                       sweep(stage.place());
                       *in_sight = all_in_sight();
                     },
                 .check =
                     [in_sight](Stage& stage) {
                       const bool there = sweep(stage.place()).kept == 1;
                       expect(there || !*in_sight, "a kept session was swept");
                       sweep(stage.place(), {.kept_too = true});
                       stage.expect_sweepable();
                     }});

  all.push_back({.name = "keep a session",
                 .work = [](Stage& stage) { SessionDir<Under>(stage.place(), "customer").keep(); },
                 .check =
                     [](Stage& stage) {
                       sweep(stage.place(), {.kept_too = true});
                       stage.expect_sweepable();
                     }});

  const auto id = std::make_shared<std::string>();
  for (const bool was_kept : {true, false})
    all.push_back({.name = was_kept ? "adopt a kept session" : "adopt a session that was not kept",
                   .prepare =
                       [was_kept, in_sight, id](Stage& stage) {
                         *in_sight = true;
                         leave_much_half_done(stage, was_kept);
                         *id = id_of_the_only_one(stage);
                       },
                   .work =
                       [in_sight, id](Stage& stage) {
                         try {
                           adopt<Under, KeepAlways>(stage.place(), *id, {.quota = 1_GiB}).close();
                         } catch (const Error&) {
                           *in_sight = all_in_sight();
                           throw;
                         }
                       },
                   .check =
                       [was_kept, in_sight](Stage& stage) {
                         if (!*in_sight && !was_kept && names_in(stage.root()).empty()) return;  // it was no session
                         auto session = adopt<Under>(stage.place(), id_of_the_only_one(stage));
                         expect_all_done(session);
                         session.close();
                         stage.expect_sweepable();
                       }});

  all.push_back({.name = "replace a file",
                 .prepare = [](Stage& stage) { write_file(Workspace(stage.root()), "file", std::string_view("old")); },
                 .work =
                     [](Stage& stage) {
                       AtomicFile file(Workspace(stage.root()), "file");
                       file.append(known_text(300'000, 6));
                       file.commit();
                     },
                 .check = [](Stage& stage) { expect_file(stage, "old", known_text(300'000, 6)); }});

  all.push_back({.name = "replace a file durably",
                 .prepare = [](Stage& stage) { write_file(Workspace(stage.root()), "file", std::string_view("old")); },
                 .work =
                     [](Stage& stage) {
                       AtomicFile file(Workspace(stage.root(), {.durable = true}), "file");
                       file.stream() << noise_text(3000, 6);
                       file.commit();
                     },
                 .check = [](Stage& stage) { expect_file(stage, "old", noise_text(3000, 6)); }});

  all.push_back({.name = "commit a new file",
                 .work =
                     [](Stage& stage) {
                       AtomicFile file(Workspace(stage.root()), "file");
                       file.append(noise_text(1000, 7));
                       file.commit_new();
                     },
                 .check = [](Stage& stage) { expect_file(stage, "", noise_text(1000, 7)); }});

  all.push_back({.name = "add a chunk to a plain directory",
                 .prepare = [](Stage& stage) { write_chunk(Workspace(stage.root()), noise_text(100, 8)); },
                 .work =
                     [](Stage& stage) {
                       write_chunk(Workspace(stage.root(), {.quota = 64_MiB}), known_text(4'300'000, 9), {.rows = 12});
                     },
                 .check =
                     [](Stage& stage) {
                       Workspace where(stage.root());
                       const std::vector<ChunkInfo> chunks = where.chunks();
                       expect(chunks.size() == 1 || chunks.size() == 2, "a chunk is lost");
                       for (const ChunkInfo& chunk : chunks) ChunkReader(where, chunk).verify();
                       expect(chunks[0].size == 100, "the first chunk is another one");
                       const ChunkInfo info = write_chunk(where, noise_text(10, 10));
                       for (const ChunkInfo& chunk : chunks) expect(chunk.id != info.id, "a number was used twice");
                       where.clear();
                       expect(where.list().empty(), "a file is left that clear() does not know");
                     }});

  all.push_back({.name = "read a chunk",
                 .prepare = [](Stage& stage) { write_chunk(Workspace(stage.root()), known_text(5'000'000, 11)); },
                 .work =
                     [](Stage& stage) {
                       ChunkReader reader(Workspace(stage.root()), 0);
                       std::string all_bytes;
                       for (const Bytes block : reader)
                         all_bytes.append(reinterpret_cast<const char*>(block.data()), block.size());
                       expect(all_bytes == known_text(5'000'000, 11), "other bytes than were written");
                     },
                 .check = [](Stage& stage) { ChunkReader(Workspace(stage.root()), 0).verify(); }});

  all.push_back({.name = "persist a file",
                 .prepare = [](Stage& stage) { std::filesystem::create_directory(stage.root() / "out"); },
                 .work =
                     [](Stage& stage) {
                       SessionDir<Under> session(Under{stage.root() / "place"}, "customer");
                       write_file(session, "file", noise_text(1000, 12));
                       session.persist("file", stage.root() / "out/file");
                     },
                 .check =
                     [](Stage& stage) {
                       for (const std::string& name : names_in(stage.root() / "out")) {
                         expect(name == "file", "left over: " + name);
                         expect(test::text_of(stage.root() / "out/file") == noise_text(1000, 12), "a part of the file");
                       }
                       if (!std::filesystem::exists(stage.root() / "place")) return;
                       expect(sweep(Under{stage.root() / "place"}).failed.empty(), "sweep failed");
                       expect(names_in(stage.root() / "place").empty(), "sweep left something");
                     }});

  all.push_back({.name = "move a chunk",
                 .prepare =
                     [in_sight](Stage& stage) {
                       *in_sight = true;
                       write_chunk(Workspace(stage.root()), noise_text(1000, 13));
                     },
                 .work =
                     [in_sight](Stage& stage) {
                       Workspace where(stage.root());
                       const Workspace area = where.area("area");
                       where.chunks();
                       *in_sight = all_in_sight();
                       where.move("chunk_0.bin", area, "moved.bin");
                     },
                 .check =
                     [in_sight](Stage& stage) {
                       if (!*in_sight) return;
                       const Workspace where(stage.root());
                       expect(where.chunks().size() == 1, "the chunk is lost");
                       ChunkReader(where, where.chunks()[0]).verify();
                       expect(where.usage().files == 1, "there are two of them");
                     }});

  all.push_back({.name = "persist a chunk",
                 .prepare = [](Stage& stage) { std::filesystem::create_directory(stage.root() / "out"); },
                 .work =
                     [](Stage& stage) {
                       SessionDir<Under, KeepAlways> session(Under{stage.root() / "place"}, "customer");
                       write_chunk(session, noise_text(1000, 14));
                       session.persist("chunk_0.bin", stage.root() / "out/file");
                     },
                 .check =
                     [](Stage& stage) {
                       for (const SessionInfo& info : list_sessions(Under{stage.root() / "place"})) {
                         const SessionView view(info.path);
                         for (const ChunkInfo& chunk : view.chunks()) ChunkReader(view, chunk).verify();
                       }
                     }});

  constexpr std::uint64_t keys = 300;
  all.push_back({.name = "count",
                 .prepare = [](Stage& stage) { count_keys(Workspace(stage.root()), "table", keys, 1); },
                 .work =
                     [](Stage& stage) {
                       CountTable<std::uint64_t> table(Workspace(stage.root()), "table",
                                                       {.memory = 256_KiB, .existing = Existing::add});
                       for (std::uint64_t key = 0; key < keys; ++key) table.add(key, 2);
                       table.flush();
                       expect(table.get(7) == 3, "get() is wrong");
                       table.commit();
                     },
                 .check =
                     [](Stage& stage) {
                       expect(has_counts(stage, "table", keys, 1) || has_counts(stage, "table", keys, 3),
                              "neither the old counts nor the new ones");
                       for (const std::string& name : names_in(stage.root()))
                         expect(name == "table" || is_record(name), "left over: " + name);
                     }});

  // Whatever happens to a merge, running it again gives the exact counts.
  all.push_back({.name = "merge",
                 .prepare =
                     [](Stage& stage) {
                       count_keys(Workspace(stage.root()), "a", keys, 1);
                       count_keys(Workspace(stage.root()), "b", keys, 10);
                     },
                 .work = [](Stage& stage) { merge<std::uint64_t>(Workspace(stage.root()), "a", "b"); },
                 .check =
                     [](Stage& stage) {
                       merge_all<std::uint64_t>(Workspace(stage.root()), "a", {"b"});
                       expect(has_counts(stage, "a", keys, 11), "the counts are wrong");
                       for (const std::string& name : names_in(stage.root()))
                         expect(name == "a" || is_record(name), "left over: " + name);
                     }});

  all.push_back({.name = "merge several",
                 .prepare =
                     [](Stage& stage) {
                       for (const char* name : {"a", "b", "c"}) count_keys(Workspace(stage.root()), name, keys, 5);
                     },
                 .work =
                     [](Stage& stage) {
                       merge_all<std::uint64_t>(Workspace(stage.root()), "all", {"a", "b", "c"});
                     },
                 .check =
                     [](Stage& stage) {
                       merge_all<std::uint64_t>(Workspace(stage.root()), "all", {"a", "b", "c"});
                       expect(has_counts(stage, "all", keys, 15), "the counts are wrong");
                     }});
  return all;
}

/// A control: replaces a file in place and overlooks errors.
inline Scenario careless_writer() {
  return {.name = "careless",
          .prepare = [](Stage& stage) { put(stage.root() / "file", "old"); },
          .work =
              [](Stage& stage) {
                const detail::Fd file(sys::openat(AT_FDCWD, (stage.root() / "file").c_str(), O_WRONLY | O_TRUNC));
                const std::string text = noise_text(1000, 1);
                if (file) sys::pwrite_all(file.get(), bytes_of(text), 0);
              },
          .check = [](Stage& stage) { expect_file(stage, "old", noise_text(1000, 1)); }};
}

}  // namespace scratch::test
