// SPDX-License-Identifier: MIT
//
// One call of an object that fails, and is then made again on the same object: an error of writing ends it, and it says
// so; after any other error it is as it was, and the second try does the whole work, once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scenarios.hpp"
#include "support/refusal.hpp"

namespace scratch::test {

/// An object in the middle of its work. `step` is what fails and is tried again; `look` lets go of what `step` used, and
/// throws unless all of its work is done, or nothing of it is there.
struct Work {
  std::function<void()> step;
  std::function<void(bool done)> look;
};

struct SecondTry {
  std::string name;
  std::function<Work(Stage&)> begin;
  bool any_error_ends = false;  ///< else only those of writing do
};

/// What was written under faults: one chunk with these bytes and its record, or neither. A file that could not be removed
/// is known to be ours.
inline void expect_chunk(Workspace where, bool done, std::string_view text) {
  if (!done) where.clear();
  const std::vector<ChunkInfo> chunks = where.chunks();
  expect(chunks.size() == (done ? 1 : 0), std::to_string(chunks.size()) + " chunks are on record");
  for (const ChunkInfo& info : chunks) {
    ChunkReader reader(where, info);
    reader.verify();
    const Bytes bytes = reader.map();
    expect(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) == text,
           "the chunk has other bytes");
  }
  const std::vector<std::string> files = where.list();
  expect(files.size() == chunks.size(), std::to_string(files.size()) + " files are there");
  // In a session this may be what could not become metadata.json.
  if (!detail::directory_of(where).state().is_session())
    for (const std::string& name : names_in(where.path()))
      expect(!name.starts_with(detail::temp_prefix), "left over: " + name);
}

inline Work chunk_commit(Workspace where, std::size_t size) {
  auto chunk = std::make_shared<std::optional<ChunkWriter>>(where);
  const std::string text = known_text(size, 1);
  (*chunk)->append(text);
  return {.step = [chunk] { (*chunk)->commit({.rows = 7, .user = R"({"a":1})"}); },
          .look =
              [chunk, where, text](bool done) {
                chunk->reset();
                expect_chunk(where, done, text);
                if (done) expect(where.chunks()[0].rows == 7, "it has other rows");
              }};
}

inline Work chunk_append(Workspace where) {
  auto chunk = std::make_shared<std::optional<ChunkWriter>>(where);
  const std::string begin = noise_text(1000, 1), text = known_text(5'000'000, 2);
  (*chunk)->append(begin);
  return {.step = [chunk, text] { (*chunk)->append(text); },
          .look =
              [chunk, where, text, begin](bool done) {
                const bool committed = !refusal([&] { (*chunk)->commit(); });
                expect(committed == done, "a chunk with a gap was committed, or a whole one was not");
                chunk->reset();
                expect_chunk(where, done, begin + text);
              }};
}

/// @param how 0: `commit()` over an old file, 1: `commit_new()`
inline Work file_commit(Workspace where, int how) {
  if (how == 0) write_file(where, "file", std::string_view("old"));
  auto file = std::make_shared<std::optional<AtomicFile>>(std::in_place, where, "file");
  const std::string text = known_text(300'000, 3);
  (*file)->append(text);
  (*file)->stream() << "end";
  return {.step = [file, how] { how == 0 ? (*file)->commit() : (*file)->commit_new(); },
          .look =
              [file, where, text, how](bool done) {
                file->reset();
                if (!done && how == 1) Workspace(where).clear();  // what could not be removed is known to be ours
                const std::vector<std::string> names = where.list();
                if (!done && how == 1) return expect(names.empty(), "something is left");
                const bool may_be_new = done || detail::directory_of(where).durable();  // its name could not be synced
                expect(names == std::vector<std::string>{"file"}, "other files are there");
                const std::string now = text_of(where, "file");
                expect((may_be_new && now == text + "end") || (!done && now == "old"), "the file has other bytes");
                for (const std::string& name : names_in(where.path()))
                  expect(!name.starts_with(detail::temp_prefix), "left over: " + name);
              }};
}

inline Work file_append(Workspace where) {
  auto file = std::make_shared<std::optional<AtomicFile>>(std::in_place, where, "file");
  const std::string begin = noise_text(1000, 1), text = known_text(300'000, 2);
  (*file)->append(begin);
  return {.step = [file, text] { (*file)->append(text); },
          .look =
              [file, where, text, begin](bool done) {
                const bool committed = !refusal([&] { (*file)->commit(); });
                expect(committed == done, "a file with a gap was committed, or a whole one was not");
                file->reset();
                expect(where.list().size() == (done ? 1 : 0), "there are other files");
                if (done) expect(text_of(where, "file") == begin + text, "the file has other bytes");
              }};
}

/// Files that are read, and a part of them removed: after any error it goes on where it stood.
inline void add_steps_of_files(std::vector<SecondTry>& all) {
  all.push_back({.name = "read a file", .begin = [](Stage& stage) {
                   const Workspace where(stage.root());
                   const std::string text = known_text(1'000'000, 6);
                   write_file(where, "file", text);
                   const auto reader = std::make_shared<std::optional<FileReader>>(std::in_place, where, "file");
                   const auto seen = std::make_shared<std::string>(text.size(), ' ');
                   (*reader)->read(std::as_writable_bytes(std::span(*seen)).first(1000));
                   return Work{.step = [=] { (*reader)->read(std::as_writable_bytes(std::span(*seen)).subspan(1000)); },
                               .look =
                                   [=](bool done) {
                                     reader->reset();
                                     expect(done && *seen == text, "it was not read whole");
                                   }};
                 }});
  for (const bool everything : {false, true})
    all.push_back({.name = everything ? "clear" : "remove what matches", .begin = [everything](Stage& stage) {
                     Workspace where(stage.root());
                     write_file(where, "file", noise_text(1000, 7));
                     write_chunk(where, noise_text(1000, 8));
                     write_file(where.area("area"), "file", noise_text(1000, 9));
                     put(stage.root() / "precious", "his");
                     return Work{.step =
                                     [where, everything]() mutable {
                                       if (everything)
                                         where.clear();
                                       else
                                         where.remove_matching("*");
                                     },
                                 .look =
                                     [where, &stage, everything](bool done) {
                                       expect(done, "it could not be done");
                                       expect(where.list() == std::vector<std::string>{"precious"},
                                              "other files are left");
                                       expect(where.chunks().empty(), "a chunk is on record");
                                       const bool area = std::filesystem::exists(stage.root() / "area/file");
                                       expect(area != everything, "the area is as it should not be");
                                     }};
                   }});
}

using Session = SessionDir<Under>;

/// A session with a chunk in it, and something that it is told.
template <class Step, class Look>
Work session_step(const Stage& stage, Step step, Look look) {
  auto session = std::make_shared<std::optional<Session>>(std::in_place, stage.place(), "customer");
  write_chunk(**session, noise_text(5000, 4));
  return {.step = [session, step] { step(**session); },
          .look =
              [session, look](bool done) {
                expect(done, "it could not be done");
                look(*session);
              }};
}

inline nlohmann::json metadata_in_file(const Session& session) {
  return nlohmann::json::parse(test::text_of(session.path() / "metadata.json"));
}

inline void add_session_steps(std::vector<SecondTry>& all) {
  using Held = std::optional<Session>;
  all.push_back(
      {.name = "publish", .begin = [](Stage& stage) {
         return session_step(
             stage, [](Session& session) { session.publish(); },
             [](Held& session) { expect(metadata_in_file(*session)["chunks"].size() == 1, "the chunk is not in it"); });
       }});
  all.push_back({.name = "complete", .begin = [](Stage& stage) {
                   return session_step(
                       stage, [](Session& session) { session.complete(); },
                       [](Held& session) {
                         expect(metadata_in_file(*session)["status"] == "completed", "the status is another");
                       });
                 }});
  all.push_back({.name = "tell a session what the user says", .begin = [](Stage& stage) {
                   return session_step(
                       stage, [](Session& session) { session.user(std::string_view(R"({"job":7})")); },
                       [](Held& session) {
                         expect(session->user() == R"({"job":7})", "the object is another");
                         expect(metadata_in_file(*session)["user"]["job"] == 7, "the object is not in the file");
                       });
                 }});
  all.push_back({.name = "keep", .begin = [](Stage& stage) {
                   return session_step(
                       stage, [](Session& session) { session.keep(); },
                       [&stage](Held& session) {
                         session.reset();
                         expect(sweep(stage.place()).kept == 1, "it was not kept");
                         sweep(stage.place(), {.kept_too = true});
                       });
                 }});
  all.push_back({.name = "close", .begin = [](Stage& stage) {
                   return session_step(
                       stage, [](Session& session) { session.close(); },
                       [&stage](Held& session) {
                         expect(names_in(stage.root()).empty(), "a closed session is left");
                         session.reset();
                       });
                 }});
}

/// A session with one file, or one chunk, that gets to another place.
template <class Step, class Look>
Work moving_step(const Stage& stage, bool chunk, Step step, Look look) {
  auto session = std::make_shared<Session>(Under{stage.root() / "place"}, "customer");
  std::filesystem::create_directory(stage.root() / "out");
  const std::string text = noise_text(1000, 5), name = chunk ? "chunk_0.bin" : "file";
  chunk ? static_cast<void>(write_chunk(*session, text)) : write_file(*session, name, text);
  const Workspace area = session->area("area");
  return {.step = [session, area, name, step] { step(*session, area, name); },
          .look =
              [session, area, text, look](bool done) {
                expect(done, "it could not be done");
                expect(session->list().empty(), "it is still there");
                look(*session, area, text);
              }};
}

/// What only reads is as it was after any error, and gives the same when it is asked again.
inline void add_reading_steps(std::vector<SecondTry>& all) {
  all.push_back({.name = "read a chunk", .begin = [](Stage& stage) {
                   const Workspace where(stage.root());
                   const std::string text = known_text(5'000'000, 10);
                   const auto reader =
                       std::make_shared<std::optional<ChunkReader>>(std::in_place, where, write_chunk(where, text));
                   const auto seen = std::make_shared<std::string>();
                   return Work{.step =
                                   [=] {
                                     std::string part(8, ' ');
                                     (*reader)->read_at(4'200'000, std::as_writable_bytes(std::span(part)));
                                     expect(part == text.substr(4'200'000, 8), "other bytes were read");
                                     (*reader)->verify();
                                     seen->clear();
                                     for (const Bytes block : **reader)
                                       seen->append(reinterpret_cast<const char*>(block.data()), block.size());
                                   },
                               .look =
                                   [=](bool done) {
                                     reader->reset();
                                     expect(done && *seen == text, "it was not read whole");
                                   }};
                 }});
  all.push_back({.name = "look up counts", .begin = [](Stage& stage) {
                   const Workspace where(stage.root());
                   count_keys(where, "table", 3000, 5);
                   using Reader = CountReader<std::uint64_t>;
                   const auto reader = std::make_shared<std::optional<Reader>>(std::in_place, where, "table");
                   const auto counted = std::make_shared<std::uint64_t>(0);
                   return Work{.step =
                                   [=] {
                                     expect((*reader)->get(7) == 5, "a key has another count");
                                     const std::vector<std::uint64_t> keys{1, 2, 5'000'000};
                                     std::vector<std::uint64_t> counts(3);
                                     (*reader)->get(keys, counts);
                                     expect(counts == std::vector<std::uint64_t>{5, 5, 0}, "keys have other counts");
                                     *counted = 0;
                                     for (const auto& [key, count] : (*reader)->part(0, 1)) *counted += count;
                                     (*reader)->verify();
                                   },
                               .look =
                                   [=](bool done) {
                                     reader->reset();
                                     expect(done && *counted == 15'000, "the counts were not all read");
                                   }};
                 }});
  all.push_back({.name = "list and measure", .begin = [](Stage& stage) {
                   const Workspace where(stage.root());
                   const Series series("part_", 4);
                   for (std::uint64_t i = 0; i < 3; ++i) write_file(where, series.name(i), noise_text(100, 11));
                   write_chunk(where, noise_text(100, 12));
                   const auto seen = std::make_shared<std::size_t>(0);
                   return Work{.step =
                                   [=] {
                                     *seen = series.list(where).size() + where.chunks().size();
                                     expect(where.usage().files == 4, "it was measured otherwise");
                                     expect(where.usage_report().total.files == 4, "it was reported otherwise");
                                     scratch::space(where.path());
                                   },
                               .look = [=](bool done) { expect(done && *seen == 4, "not everything was listed"); }};
                 }});
}

inline void add_moving_steps(std::vector<SecondTry>& all) {
  for (const bool chunk : {false, true}) {
    all.push_back({.name = chunk ? "persist a chunk" : "persist a file", .begin = [chunk](Stage& stage) {
                     return moving_step(
                         stage, chunk,
                         [&stage](Session& session, const Workspace&, const std::string& name) {
                           session.persist(name, stage.root() / "out/file");
                         },
                         [&stage](Session& session, const Workspace&, const std::string& text) {
                           expect(session.chunks().empty(), "it is still on record");
                           expect(names_in(stage.root() / "out").size() == 1, "something else has arrived");
                           expect(test::text_of(stage.root() / "out/file") == text, "it has other bytes");
                         });
                   }});
    all.push_back({.name = chunk ? "move a chunk" : "move a file", .begin = [chunk](Stage& stage) {
                     return moving_step(
                         stage, chunk,
                         [](Session& session, const Workspace& area, const std::string& name) {
                           Workspace(session).move(name, area, "moved");
                         },
                         [chunk](Session& session, const Workspace& area, const std::string& text) {
                           expect(text_of(area, "moved") == text, "it has other bytes");
                           expect(session.chunks().size() == (chunk ? 1 : 0), "the record is wrong");
                           for (const ChunkInfo& info : session.chunks()) ChunkReader(session, info).verify();
                         });
                   }});
  }
}

/// In a session, so that the quota's figure can be compared.
inline Work in_session(Stage& stage, const std::function<Work(Workspace)>& make) {
  auto session = std::make_shared<Session>(stage.place(), "customer", SessionOptions{.quota = 64_MiB});
  Work work = make(*session);
  const auto look = std::move(work.look);
  work.look = [session, look](bool done) {
    look(done);
    detail::Quota& quota = detail::directory_of(*session).state().quota();
    const std::uint64_t files = session->usage().bytes;
    expect(quota.used() >= files, "files do not count");
    quota.removed(1);
    expect(quota.used() == files, std::to_string(quota.used() - files) + " bytes of the quota are nobody's");
  };
  return work;
}

inline std::vector<SecondTry> second_tries() {
  std::vector<SecondTry> all;
  const auto plain = [](Stage& stage, bool durable) { return Workspace(stage.root(), {.durable = durable}); };
  for (const bool durable : {false, true}) {
    const std::string kind = durable ? ", durably" : "";
    all.push_back({.name = "commit a chunk" + kind,
                   .begin = [plain, durable](Stage& stage) { return chunk_commit(plain(stage, durable), 300'000); }});
    all.push_back({.name = "commit a file" + kind,
                   .begin = [plain, durable](Stage& stage) { return file_commit(plain(stage, durable), 0); }});
    all.push_back({.name = "commit a new file" + kind,
                   .begin = [plain, durable](Stage& stage) { return file_commit(plain(stage, durable), 1); }});
  }
  all.push_back({.name = "append to a chunk",
                 .begin = [plain](Stage& stage) { return chunk_append(plain(stage, false)); },
                 .any_error_ends = true});
  all.push_back({.name = "append to a file",
                 .begin = [plain](Stage& stage) { return file_append(plain(stage, false)); },
                 .any_error_ends = true});
  all.push_back({.name = "commit a chunk in a session", .begin = [](Stage& stage) {
                   return in_session(stage, [](Workspace where) { return chunk_commit(std::move(where), 300'000); });
                 }});
  all.push_back({.name = "commit a file in a session", .begin = [](Stage& stage) {
                   return in_session(stage, [](Workspace where) { return file_commit(std::move(where), 0); });
                 }});
  add_steps_of_files(all);
  add_session_steps(all);
  add_moving_steps(all);
  add_reading_steps(all);
  return all;
}

/// A control: its sums are gone when the record could not be written.
inline SecondTry consumes_its_sums() {
  return {.name = "consumes its sums", .begin = [](Stage& stage) {
            const Workspace where(stage.root());
            const detail::Directory directory = detail::directory_of(where);
            const std::string text = noise_text(1000, 1);
            auto writer = std::make_shared<std::optional<detail::BlockWriter>>(std::in_place, directory, "write",
                                                                               stage.root() / "chunk", 4_MiB);
            (*writer)->append(bytes_of(text));
            (*writer)->finish();
            auto sums = std::make_shared<std::vector<std::uint64_t>>((*writer)->sums().blocks());
            auto named = std::make_shared<bool>(false);
            const auto step = [writer, directory, sums, named] {
              detail::ChunkRecord record;
              record.info = {.id = 0, .file = "chunk_0.bin", .size = (*writer)->size()};
              record.info.checksum = detail::checksum_text((*writer)->sums().whole());
              record.sums = std::move(*sums);
              if (!std::exchange(*named, true)) (*writer)->commit("chunk_0.bin", detail::Replacing::nothing);
              detail::chunk_log(directory.state()).append(record, false);
            };
            return Work{.step = step, .look = [writer, where, text](bool done) {
                          writer->reset();
                          expect_chunk(where, done, text);
                        }};
          }};
}

/// A control: what was done before it failed is done again.
inline SecondTry commits_twice() {
  return {.name = "commits twice", .begin = [](Stage& stage) {
            const Workspace where(stage.root());
            const std::string text = noise_text(1000, 1);
            const auto step = [where, text] {
              write_chunk(where, text);
              if (sys::fsync(detail::directory_of(where).fd()) != 0) throw Error(errno, "sync", where.path());
            };
            return Work{.step = step, .look = [where, text](bool done) { expect_chunk(where, done, text); }};
          }};
}

inline SecondTry commits_twice_for_want_of_memory() {
  return {.name = "commits twice", .begin = [](Stage& stage) {
            const Workspace where(stage.root());
            const std::string text = noise_text(1000, 1);
            const auto step = [where, text] {
              write_chunk(where, text);
              const std::vector<std::string> names(3, "a string that is too long to be kept inside");
            };
            return Work{.step = step, .look = [where, text](bool done) { expect_chunk(where, done, text); }};
          }};
}

}  // namespace scratch::test
