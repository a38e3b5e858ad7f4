// SPDX-License-Identifier: MIT
//
// What users do in a place that may lack something, each by itself in a directory that is empty, and what must hold then.
// Each throws what does not.
#pragma once

#include <signal.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <scratch/scratch.hpp>

#include "support/bytes.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/lacking_syscalls.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace scratch::test {

using Session = SessionDir<Under>;

/// The directory of one trial, and what may be expected of it.
struct Stage {
  std::filesystem::path root;
  bool is_remote = false;  ///< its locks are nobody's to believe, be they there or not

  Under place() const { return Under{root}; }
  bool can_join() const { return lacks.file_locks == 0; }
  bool can_sweep() const { return can_join() && !is_remote; }
};

inline void must(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error(what);
}

inline void must_be_empty(const std::filesystem::path& directory) {
  std::string all;
  for (const std::string& name : names_in(directory)) all += " " + name;
  must(all.empty(), "left over:" + all);
}

inline std::string file_text(Workspace where, std::string_view name) {
  const std::vector<std::byte> bytes = read_file(std::move(where), name);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A commit: it succeeds, or, where close fails, says so. Whether it did.
template <class Work>
bool commits(Work work) {
  if (lacks.at_close == 0) return work(), true;
  const auto error = refusal(work);
  must(error && error->code() == std::error_code(lacks.at_close, std::generic_category()),
       "what close says of the bytes was lost: " + words_of(error));
  return false;
}

/// In a forked child: nothing of the parent's is open any more, as in a process that was started.
inline void close_all_but(std::initializer_list<int> kept) {
  for (int fd = 3; fd < 256; ++fd)
    if (std::find(kept.begin(), kept.end(), fd) == kept.end()) ::close(fd);
}

/// Runs `work` in a process of its own, which tells what went wrong.
template <class Work>
void in_process(Work work) {
  const Ending ending = in_child([&] {
    close_all_but({});
    try {
      work();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "a second process: %s\n", error.what());
      throw;
    }
  });
  must(ending == Ending::finished, "the second process failed");
}

inline void expect_list(const Stage& stage, std::size_t sessions) {
  const auto all = list_sessions(stage.place());
  must(all.size() == sessions, "list_sessions gives another number");
  for (const SessionInfo& info : all) {
    must(info.alive, "a session is not said to be alive");
    must(info.alive_known == stage.can_join(), "it is not known whether that is known");
  }
}

inline void expect_refused(const SweepReport& report) {
  must(report.refused && report.refused->code() == errc::locks_unreliable, "the sweep was not refused");
  must(report.removed == 0, "something was removed all the same");
}

// The scenarios.

inline void create(const Stage& stage) {
  Session one(stage.place(), "one", {.need = 1_MiB});
  Session two(stage.place(), "two", {.quota = 1_MiB});
  expect_list(stage, 2);
  must(refuses_with(errc::quota_exceeded, [&] { write_file(two, "file", noise(2'000'000)); }), "the quota is not kept");
  one.close();
  two.close();
  must_be_empty(stage.root);
}

/// A process that was there before any session, and is told by a line at a time what to do.
class Worker {
 public:
  /// @param work called with each line; gives what it answers: 'y' where all is well
  template <class Work>
  explicit Worker(Work work) {
    must(::pipe(to_) == 0 && ::pipe(from_) == 0, "no pipe");
    child_ = ::fork();
    if (child_ != 0) return;
    close_all_but({to_[0], from_[1]});
    for (std::string line; !(line = read_line(to_[0])).empty();) {
      char answer = 'n';
      try {
        answer = work(line);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "a second process: %s\n", error.what());
      }
      if (::write(from_[1], &answer, 1) != 1) break;
    }
    ::_exit(0);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    for (const int fd : {to_[0], to_[1], from_[0], from_[1]}) ::close(fd);
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }

  void expect(const std::string& line, const std::string& what) {
    const std::string whole = line + "\n";
    char answer = 'n';
    const bool told = ::write(to_[1], whole.data(), whole.size()) == static_cast<ssize_t>(whole.size());
    must(told && ::read(from_[0], &answer, 1) == 1 && answer == 'y', what);
  }

 private:
  static std::string read_line(int fd) {
    std::string line;
    for (char c = 0; ::read(fd, &c, 1) == 1 && c != '\n';) line += c;
    return line;
  }

  int to_[2] = {-1, -1}, from_[2] = {-1, -1};
  pid_t child_ = -1;
};

inline void join(const Stage& stage) {
  std::optional<JoinedSession> joined;  // the worker's
  Worker worker([&](const std::string& line) {
    const auto answer = [](bool holds) { return holds ? 'y' : 'n'; };
    if (line == "late") return answer(!joined->owner_is_alive() && std::filesystem::exists(joined->path()));
    if (line == "write") return commits([&] { write_chunk(*joined, noise_text(5000)); }), 'y';
    if (line == "close") return joined->close(), joined.reset(), 'y';
    const auto refused = refusal([&] { joined.emplace(line); });
    if (!stage.can_join()) return answer(refused && refused->code() == errc::locks_unreliable);
    if (refused) throw Error(*refused);
    return answer(joined->owner_is_alive());
  });
  Session session(stage.place(), "owner", {.quota = 10_MiB});
  worker.expect(session.path(), "joining, or being refused, is not as it should be");
  if (stage.can_join()) {
    worker.expect("write", "who joined cannot write");
    must(session.chunks().size() == (lacks.at_close == 0 ? 1 : 0), "the chunk of who joined is not there");
    worker.expect("close", "who joined cannot leave");
    must(std::filesystem::exists(session.path()), "who joined took the session along");
    worker.expect(session.path(), "nobody joins a second time");
  }
  session.close();  // and the last one out removes it
  if (stage.can_join()) {
    worker.expect("late", "who joined lost the session, or does not see that its owner went");
    worker.expect("write", "who joined cannot write any more");
    worker.expect("close", "who joined cannot leave a session without an owner");
  }
  must_be_empty(stage.root);
}

inline void write(const Stage& stage) {
  Session session(stage.place(), "writer");
  const std::string text = noise_text(300'000, 3);
  if (!commits([&] { write_file(session.area("sorting"), "file", text); })) {
    must(session.area("sorting").list().empty(), "a file that was not committed is there");
    session.close();
    return must_be_empty(stage.root);
  }
  must(file_text(session.area("sorting"), "file") == text, "it reads back otherwise");
  session.area("sorting").move("file", session.area("output"), "moved");
  must(file_text(session.area("output"), "moved") == text, "what was moved reads back otherwise");
  {
    FileReader reader(session.area("output"), "moved");
    write_file(session.area("output"), "moved", std::string_view("new"));
    must(session.area("output").list() == std::vector<std::string>{"moved"}, "other files are listed");
    must(session.area("output").remove("moved"), "it was not removed");
    must(session.area("output").list().empty(), "a removed file is listed");
    std::string seen(text.size(), ' ');
    reader.read(std::as_writable_bytes(std::span(seen)));
    must(seen == text, "a reader does not see what it opened");
  }
  AtomicFile file(session, "new");
  file.append(std::string_view("mine"));
  write_file(session, "new", std::string_view("theirs"));
  must(refuses_with(std::errc::file_exists, [&] { file.commit_new(); }), "a taken name was given");
  must(file_text(session, "new") == "theirs", "somebody's file was replaced");
  session.remove("new");
  file.commit_new();
  must(file_text(session, "new") == "mine", "a free name was not given");
  must(session.area("output").clear() == 0, "clear() freed something that is gone");
  std::filesystem::create_directory(stage.root / "out");
  session.persist("new", stage.root / "out/kept");
  must(text_of(stage.root / "out/kept") == "mine", "what is to stay has other bytes");
  std::filesystem::remove_all(stage.root / "out");
  session.close();
  must_be_empty(stage.root);
}

inline void commit(const Stage& stage) {
  std::filesystem::create_directory(stage.root / "plain");
  const std::string small = noise_text(100, 1), large = noise_text(6'000'000, 2);
  {
    Session session(stage.place(), "chunks", {.quota = 100_MiB});
    for (const Workspace& where : {Workspace(session), Workspace(stage.root / "plain"), session.area("area")}) {
      bool all = true;
      for (const std::string& text : {small, large}) all = commits([&] { write_chunk(where, text); }) && all;
      for (const ChunkInfo& chunk : where.chunks()) ChunkReader(where, chunk).verify();
      if (all && where.path() != session.path())
        must(where.chunks().size() == 2, "chunks are missing");
      else if (!all)
        must(where.chunks().empty(), "a chunk that was not committed is on record");
    }
    if (lacks.at_close == 0) {
      session.complete();
      must(session.metadata().find("completed") != std::string::npos, "the status is another");
      must(text_of(session.path() / "metadata.json").find("chunk_3.bin") != std::string::npos,
           "metadata.json does not have the last chunk");
    }
    session.close();
  }
  Workspace(stage.root / "plain").clear();
  for (const std::string& name : names_in(stage.root / "plain"))
    must(name.starts_with(".scratch-") || name == "chunks.jsonl", "left over: " + name);
  std::filesystem::remove_all(stage.root / "plain");
  must_be_empty(stage.root);
}

inline std::map<std::uint64_t, std::uint64_t> counts_in(const Workspace& where, std::string_view name) {
  std::map<std::uint64_t, std::uint64_t> counts;
  CountReader<std::uint64_t> reader(where, name);
  reader.verify();
  for (const auto& entry : reader) counts[entry.key] = entry.count;
  return counts;
}

inline void count(const Workspace& where, const std::string& name, std::uint64_t keys) {
  CountTable<std::uint64_t> table(where, name, {.memory = 256_KiB});
  for (std::uint64_t key = 0; key < keys; ++key) table.add(key * 7919, 1);
  table.commit();
}

inline void merge(const Stage& stage) {
  std::filesystem::create_directory(stage.root / "plain");
  {
    Session session(stage.place(), "counts");
    const auto run = [&](const Workspace& where) {
      for (const std::string name : {"a", "b", "c"})
        if (!commits([&] { count(where, name, 30'000); })) return;
      {
        const CountReader<std::uint64_t> open(where, "b");
        CountTable<std::uint64_t> busy(where, "b", {.memory = 256_KiB, .existing = Existing::add});
        const auto second = [&] {
          must(refuses_with(errc::busy, [&] { CountTable<std::uint64_t>(where, "b", {.memory = 256_KiB}); }),
               "two write one table");
          must(refuses_with(errc::busy, [&] { scratch::merge<std::uint64_t>(where, "a", "b"); }),
               "what is written is merged");
        };
        second();
        if (where.path() != session.path())
          in_process([&] {
            const auto error = refusal([&] { CountTable<std::uint64_t>(Workspace(where.path()), "b"); });
            must(error && error->code() == errc::busy, "two processes write one table");
          });
      }
      merge_all<std::uint64_t>(where, "sum", {"a", "b", "c"});
      const auto sums = counts_in(where, "sum");
      must(sums.size() == 30'000, "keys are missing");
      for (const auto& [key, n] : sums) must(n == 3, "a count is wrong");
      must(where.list() == std::vector<std::string>{"sum"}, "other tables are there");
      where.path() == session.path() ? static_cast<void>(session.remove("sum"))
                                     : static_cast<void>(Workspace(where).clear());
    };
    run(session);
    if (lacks.file_locks != 0 && lacks.byte_locks != 0)
      must(refuses_with(errc::locks_unreliable, [&] { count(Workspace(stage.root / "plain"), "a", 10); }),
           "a table is written where nobody can be kept off it");
    else
      run(Workspace(stage.root / "plain"));
    session.close();
  }
  std::filesystem::remove_all(stage.root / "plain");
  must_be_empty(stage.root);
}

inline void keep(const Stage& stage) {
  std::filesystem::path kept;
  {
    Session session(stage.place(), "kept");
    kept = session.path();
    commits([&] { session.keep(); });
    if (lacks.at_close != 0) return;  // it is left as it is
    session.close();
  }
  {
    SessionDir<Under, KeepOnFailure> failed(stage.place(), "failed");
    commits([&] { failed.fail("a test"); });
  }
  must(names_in(stage.root).size() == 2, "a kept session is gone");
  for (const SessionInfo& info : list_sessions(stage.place())) must(info.kept, "it is not said to be kept");
  if (stage.can_sweep()) {
    must(sweep(stage.place()).kept == 2, "a sweep does not find what is kept");
    must(std::filesystem::exists(kept / "metadata.json"), "a kept session was harmed");
    must(sweep(stage.place(), {.kept_too = true}).removed == 2, "it cannot be removed");
    must_be_empty(stage.root);
  } else {
    expect_refused(sweep(stage.place(), {.kept_too = true}));
    must(std::filesystem::exists(kept / "metadata.json"), "a kept session was harmed");
  }
}

/// A session whose process was killed while it wrote, and the same in a plain directory.
inline void leave_dead(const Stage& stage) {
  const Ending ending = in_child([&] {
    Session session(stage.place(), "dead");
    AtomicFile file(session.area("area"), "file");
    file.append(noise_text(5'000'000));
    std::optional<AtomicFile> plain;
    if (std::filesystem::exists(stage.root / "plain")) plain.emplace(Workspace(stage.root / "plain"), "file");
    if (plain) plain->append(noise_text(5'000'000));
    ::kill(::getpid(), SIGKILL);
  });
  must(ending == Ending::killed, "it could not begin");
}

inline void sweep_dead(const Stage& stage) {
  leave_dead(stage);
  Session session(stage.place(), "live");
  const bool committed = commits([&] { write_file(session, "file", std::string_view("precious")); });
  const SweepReport report = sweep(stage.place());
  if (stage.can_sweep())
    must(report.removed == 1 && report.live == 1 && report.failed.empty(), "another sweep than it should be");
  else
    expect_refused(report);
  must(refuses_with(errc::locks_unreliable, [&] { sweep(stage.place(), {.must = true}); }) != stage.can_sweep(),
       "certainty is given, or refused, where it should not be");
  // Whoever lacks nothing must not take a session for dead that could not be locked.
  const Lacks mine = std::exchange(lacks, {});
  const SweepReport theirs = sweep(stage.place());
  if (!stage.is_remote)
    must(theirs.removed == (stage.can_sweep() || !stage.can_join() ? 0 : 1), "a live session was swept");
  const auto late = refusal([&] { JoinedSession joined(session.path()); });
  must(late.has_value() == !(mine.file_locks == 0), "joined where the owner would not ask: " + words_of(late));
  lacks = mine;
  if (committed) must(file_text(session, "file") == "precious", "a live session was harmed");
  session.close();
  if (stage.can_sweep()) must_be_empty(stage.root);
}

/// A kept session whose process was killed is gone on with, where it can be known that it was.
inline void adopt(const Stage& stage) {
  const std::string text = noise_text(100'000, 7);
  const bool commits_hold = lacks.at_close == 0;
  const Ending ending = in_child([&] {
    SessionDir<Under, KeepAlways> session(stage.place(), "dead", {.quota = 100_MiB});
    commits([&] { write_chunk(session.area("area"), text); });
    commits([&] { count(session, "counts", 1000); });
    AtomicFile file(session, "file");
    file.append(noise_text(5'000'000));
    ::kill(::getpid(), SIGKILL);
  });
  must(ending == Ending::killed, "it could not begin");
  const auto all = list_sessions(stage.place());
  must(all.size() == 1 && all.front().kept, "the session is not there");
  std::optional<SessionDir<Under>> session;
  const auto go_on = [&] { session.emplace(scratch::adopt<Under>(stage.place(), all.front().id)); };
  if (!stage.can_sweep()) return must(refuses_with(errc::locks_unreliable, go_on), "it was adopted");
  if (!commits(go_on)) {  // metadata.json cannot say whose it is: it stays as it was, for the next one
    lacks.at_close = 0;
    go_on();
  }
  must(refuses_with(errc::busy, [&] { static_cast<void>(scratch::adopt<Under>(stage.place(), all.front().id)); }),
       "it was adopted twice");
  const bool committed = !session->chunks().empty();
  must(committed == commits_hold, "what was committed is gone");
  if (committed) ChunkReader(*session, session->chunks().front()).verify();
  if (committed) must(counts_in(*session, "counts").size() == 1000, "counts are gone");
  write_chunk(*session, text);
  must(session->chunks().size() == (committed ? 2U : 1U), "the record does not go on");
  must(session->list("file").empty(), "what was not committed is there");
  session->close();
  must_be_empty(stage.root);
}

inline void close(const Stage& stage) {
  const std::string text = noise_text(100'000, 5);
  {
    Session session(stage.place(), "closed");
    if (commits([&] { write_file(session, "file", text); })) {
      std::optional<FileReader> reader(std::in_place, session, "file");
      const auto error = refusal([&] { session.close(); });
      must(!error || lacks.open_unlink != 0 || stage.is_remote, "it cannot be closed: " + words_of(error));
      if (error) must(says(error, "still open"), "it does not say what is in the way: " + words_of(error));
      std::string seen(text.size(), ' ');
      if (!error) must(refuses_with(errc::session_gone, [&] { write_file(session, "x", text); }), "it goes on");
      reader.reset();
    }
    session.close();
    must_be_empty(stage.root);
  }
  {  // Nobody calls close, and a reader outlives it.
    std::optional<FileReader> reader;
    {
      Session session(stage.place(), "closed");
      if (commits([&] { write_file(session, "file", text); })) reader.emplace(session, "file");
    }
  }
  must_be_empty(stage.root);
}

inline void kill(const Stage& stage) {
  std::filesystem::create_directory(stage.root / "plain");
  leave_dead(stage);
  // Where nothing tells a dead writer's file from a living one's it stays.
  const bool stays = stage.is_remote || (lacks.file_locks != 0 && (lacks.unnamed_files != 0 || lacks.links != 0));
  const auto left = [&] {
    std::string all;
    for (const std::string& name : names_in(stage.root / "plain"))
      if (name != ".scratch-files") all += " " + name;
    return all;
  };
  const auto use_again = [&] {
    Workspace again(stage.root / "plain");
    must(again.list().empty(), "something uncommitted is listed");
    commits([&] { write_file(again, "file", std::string_view("second")); });
    again.clear();
  };
  use_again();
  // The kernel holds a file, and its lock, until what a dead process's ring writes into it is done.
  for (int i = 0; i < 1000 && !stays && !left().empty(); ++i) {
    ::usleep(10'000);
    use_again();
  }
  must(stays || left().empty(), "left over:" + left());
  std::filesystem::remove_all(stage.root / "plain");
  const SweepReport report = sweep(stage.place());
  if (!stage.can_sweep()) return expect_refused(report);
  must(report.removed == 1 && report.failed.empty(), "the dead one was not removed");
  must_be_empty(stage.root);
}

inline bool asks_at_close(const std::filesystem::path& directory) {
  const detail::Fd open = detail::open_directory(AT_FDCWD, directory.c_str());
  return !detail::writes_tell(open.get(), nullptr);
}

/// What is missing is said once, with what is done instead.
inline void tell(const Stage& stage) {
  std::map<std::string, int> said;
  const auto note = [&](const Event& event) {
    if (event.kind == EventKind::done_without) ++said[event.message];
  };
  {
    Session session(stage.place(), "told", {.quota = 100_MiB, .on_event = note});
    for (int i = 0; i < 3; ++i) {
      commits([&] { write_chunk(session, noise_text(5'000'000)); });
      commits([&] { write_file(session, "file", noise_text(1000)); });
      AtomicFile file(session, "new" + std::to_string(i));
      file.append(noise_text(100));
      commits([&] { file.commit_new(); });
      commits([&] { count(session, "table" + std::to_string(i), 1000); });
      std::optional<FileReader> reader;
      if (lacks.at_close == 0) reader.emplace(session, "file");
      session.remove("file");
      session.list();
    }
    if (lacks.at_close == 0) session.publish();
    session.close();
  }
  const std::vector<std::pair<bool, std::string>> expected{
      {lacks.rename_flags != 0, "renaming without replacing: "},
      {lacks.unnamed_files != 0 || lacks.links != 0, "unnamed files: "},
      {lacks.file_locks != 0, "file locks: "},
      {lacks.byte_locks != 0, "byte locks: "},
      {lacks.modes != 0, "chmod: "},
      {lacks.open_unlink != 0 && lacks.at_close == 0, "removing open files: "},
      {lacks.at_close != 0 || asks_at_close(stage.root), "errors of writing: "},
  };
  std::string all;
  for (const auto& [message, times] : said) {
    all += "\n      " + std::to_string(times) + " times: " + message;
    must(times == 1, "said more than once: " + message);
  }
  for (const auto& [lacking, words] : expected) {
    bool found = false;
    for (const auto& [message, times] : said) found = found || message.starts_with(words);
    must(stage.is_remote || found == lacking, (lacking ? "not said: " : "said: ") + words + all);
  }
  must(lacks.direct == 0 || lacks.at_close != 0 || all.find("O_DIRECT: ") != all.npos, "not said: O_DIRECT" + all);
  must_be_empty(stage.root);
}

struct Scenario {
  const char* name;
  void (*run)(const Stage&);
};

inline constexpr Scenario all_scenarios[] = {
    {"create", create},    {"join", join},   {"write", write}, {"commit", commit}, {"merge", merge}, {"keep", keep},
    {"sweep", sweep_dead}, {"adopt", adopt}, {"close", close}, {"kill", kill},     {"tell", tell}};

}  // namespace scratch::test
