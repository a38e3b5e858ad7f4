// SPDX-License-Identifier: MIT
#include <scratch/detail/workspace/owned_names.hpp>

#include <unistd.h>

#include <atomic>
#include <thread>

#include <scratch/atomic_file.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/workspace.hpp>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch::test;
using scratch::Workspace;
using scratch::detail::FileIdentity;
using scratch::detail::OwnedNames;

namespace {

// As the library writes it.
std::string record(FileIdentity identity, const std::string& name) {
  const std::string text = std::to_string(identity.inode) + " " + std::to_string(identity.birth) + " " + name;
  return std::string(1, '\0') + scratch::detail::hex16(scratch::detail::xxh3(scratch::bytes_of(text))) + " " + text +
         '\0';
}

FileIdentity identity(const std::filesystem::path& file) {
  return scratch::detail::identity_of(AT_FDCWD, file.c_str()).value();
}

void add(OwnedNames& names, const std::string& name, FileIdentity identity) {
  const OwnedNames::OnRecord until_it_has_the_name = names.add(name, identity);
}

void add_alone(const TempDir& dir, const std::string& name, FileIdentity identity) {
  OwnedNames names(dir.fd(), dir.path());
  add(names, name, identity);
}

}  // namespace

TEST_CASE("Names of any bytes are on record for every process that asks") {
  TempDir dir;
  const std::set<std::string> names{"plain", "with space", "area/file", "line\nbreak", "100%", "\xff\x01", "7 8 9"};
  OwnedNames writer(dir.fd(), dir.path());
  for (const std::string& name : names) {
    add(writer, name, {1, 2});
    add(writer, name, {1, 2});
    add(writer, name, {3, -4});
  }
  CHECK(OwnedNames(dir.fd(), dir.path()).all() == names);
}

TEST_CASE("A torn record does not eat its neighbours") {
  TempDir dir;
  add_alone(dir, "first", {1, 1});
  put(dir / ".scratch-files", text_of(dir / ".scratch-files") + record({2, 2}, "second").substr(0, 20));
  add_alone(dir, "third", {3, 3});
  CHECK(OwnedNames(dir.fd(), dir.path()).all() == std::set<std::string>{"first", "third"});
}

TEST_CASE("A record that leads out of the directory is not believed") {
  TempDir dir;
  std::filesystem::create_directory(dir / "ours");
  put(dir / "victim", "precious");
  put(dir / "ours/seen", "ours by this record");
  std::string forged = record(identity(dir / "ours/seen"), "seen");
  for (const std::string name : {"../victim", "/etc/passwd", "..", "area/../../victim", ".lock"})
    forged += record(identity(dir / "victim"), name);
  put(dir / "ours/.scratch-files", forged);
  Workspace where(dir / "ours");
  CHECK(where.clear() == 19);
  CHECK(text_of(dir / "victim") == "precious");
}

TEST_CASE("Nobody else's record says what root may remove") {
  if (::geteuid() != 0) skip("needs root");
  TempDir dir;
  put(dir / "victim", "precious");
  put(dir / ".scratch-files", record(identity(dir / "victim"), "victim"));
  REQUIRE(::chown((dir / ".scratch-files").c_str(), 65534, 65534) == 0);
  Workspace where(dir.path());
  CHECK_THROWS_AS(where.clear(), scratch::Error);
  CHECK(text_of(dir / "victim") == "precious");
  std::filesystem::remove(dir / ".scratch-files");
  put(dir / "chunks.jsonl");
  REQUIRE(::chown((dir / "chunks.jsonl").c_str(), 65534, 65534) == 0);
  CHECK_THROWS_AS(where.remove_matching("*"), scratch::Error);
  CHECK(text_of(dir / "victim") == "precious");
}

TEST_CASE("What was there before is not ours") {
  TempDir dir;
  put(dir / "precious", "before");
  Workspace where(dir.path());
  scratch::write_file(where, "mine", std::string_view("12345"));
  scratch::write_file(where.area("below"), "mine", std::string_view("123"));
  CHECK(where.remove_matching("pre*") == 0);
  CHECK(where.clear() == 8);
  CHECK(text_of(dir / "precious") == "before");
}

TEST_CASE("What somebody put in the place of a file of ours is his") {
  TempDir dir;
  {
    Workspace where(dir.path());
    scratch::write_file(where, "report.txt", "ours");
    scratch::write_file(where, "stays", "ours");
    scratch::write_file(where.area("below"), "report.txt", "ours");
    write_chunk(where, "of a chunk");
  }
  for (const char* name : {"report.txt", "below/report.txt", "chunk_0.bin"}) {
    std::filesystem::rename(dir / name, dir / "aside");  // so that the inode is not used again
    put(dir / name, "his");
    std::filesystem::remove(dir / "aside");
  }
  const bool all = GENERATE(false, true);
  Workspace where(dir.path());
  if (all)
    where.clear();
  else
    where.remove_matching("*");
  for (const char* name : {"report.txt", "below/report.txt", "chunk_0.bin"}) CHECK(text_of(dir / name) == "his");
  CHECK(!std::filesystem::exists(dir / "stays"));
}

TEST_CASE("A file of ours that was renamed by hand and back is ours; one that this library moved is, too") {
  TempDir dir;
  Workspace where(dir.path());
  scratch::write_file(where, "one", "1");
  std::filesystem::rename(dir / "one", dir / "two");
  CHECK(where.clear() == 0);
  std::filesystem::rename(dir / "two", dir / "one");
  where.move("one", where.area("below"), "three");
  CHECK(Workspace(dir.path()).clear() == 1);
}

TEST_CASE("A quota does not count what somebody put in the place of a file of ours, nor give it back") {
  TempDir dir;
  scratch::write_file(Workspace(dir.path()), "name", noise_text(1000));
  std::filesystem::rename(dir / "name", dir / "aside");
  put(dir / "name", noise_text(5000));
  Workspace where(dir.path(), {.quota = 2000});
  scratch::write_file(where, "name", noise_text(1500));  // replaces his, which was never counted
  CHECK(says(refusal([&] { scratch::write_file(where, "more", noise_text(1000)); }), "quota exceeded"));
}

TEST_CASE("The record grows with the files that are there, not with those that were") {
  TempDir dir;
  const std::string name(200, 'n');
  for (int program = 0; program < 5; ++program) {
    Workspace where(dir.path());
    for (int i = 0; i < 2000; ++i) scratch::write_file(where, name + std::to_string(i % 10), "text");
  }
  CHECK(std::filesystem::file_size(dir / ".scratch-files") < 1'200'000);
  scratch::write_file(Workspace(dir.path()), "last", "text");
  CHECK(Workspace(dir.path()).clear() == 11 * 4);
}

TEST_CASE("Writers beside each other, and beside one who writes the record anew, lose no name") {
  TempDir dir;
  const std::string name(200, 'n');
  std::atomic<bool> failed = false;
  const auto write = [&](int thread) {
    try {
      Workspace where(dir.path());
      for (int i = 0; i < 1500; ++i)
        scratch::write_file(where, name + std::to_string(thread) + "_" + std::to_string(i % 100), "text");
    } catch (const std::exception&) {
      failed = true;
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back(write, t);
  for (std::thread& thread : threads) thread.join();
  REQUIRE(!failed);
  REQUIRE(std::filesystem::file_size(dir / ".scratch-files") < 6000 * 200);  // it was
  Workspace where(dir.path());
  CHECK(where.clear() == 400 * 4);
  CHECK(names_in(dir.path()) == std::set<std::string>{".scratch-files"});
}

namespace {

// So many that whoever writes the last one writes the record anew, without those that no file has.
void fill(const TempDir& dir) {
  OwnedNames names(dir.fd(), dir.path());
  const std::string name(1000, 'n');
  for (int i = 0; i < 1200; ++i) add(names, name + std::to_string(i), {1, i});
}

}  // namespace

TEST_CASE("A name stays on record while its file gets it, whoever writes the record anew") {
  TempDir dir;
  OwnedNames names(dir.fd(), dir.path());
  {
    const OwnedNames::OnRecord until_it_has_the_name = names.add("name", {1, 2});
    std::thread([&] { add(names, "another", {3, 4}); }).join();
    fill(dir);
    CHECK(OwnedNames(dir.fd(), dir.path()).all().contains("name"));
  }
  fill(dir);
  CHECK(!OwnedNames(dir.fd(), dir.path()).all().contains("name"));
}

TEST_CASE("A name that was dropped from the record before its file had it is put there again") {
  TempDir dir;
  OwnedNames names(dir.fd(), dir.path());
  add(names, "name", {1, 2});
  fill(dir);
  REQUIRE(!OwnedNames(dir.fd(), dir.path()).all().contains("name"));
  add(names, "another", {3, 4});
  add(names, "name", {1, 2});
  CHECK(OwnedNames(dir.fd(), dir.path()).all() == std::set<std::string>{"another", "name"});
}
