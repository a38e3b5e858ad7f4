// SPDX-License-Identifier: MIT
// ctest: optimised
//
// Sessions with more on record about chunks than metadata.json holds.
#include <scratch/chunk_writer.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_json.hpp>
#include <scratch/session_view.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("what a session says of itself does not depend on how much its chunks say") {
  const TempDir dir;
  SessionDir<Under> session(Under{dir.path()}, "long");
  const auto in_file = [&] { return nlohmann::json::parse(text_of(session.path() / "metadata.json")); };
  const std::string said = "{\"a\":\"" + std::string(10'000'000, 'x') + "\"}";
  for (int i = 0; i < 6; ++i) write_chunk(session, std::string_view("x"), {.user = said});
  session.publish();
  CHECK(in_file()["chunks"].size() == 6);
  CHECK_FALSE(in_file().contains("chunks_in"));
  write_chunk(session, std::string_view("x"), {.user = said});
  session.publish();
  session.user(std::string_view(R"({"a":1})"));
  session.complete();
  CHECK(in_file()["status"] == "completed");
  CHECK(in_file()["user"]["a"] == 1);
  CHECK(in_file()["chunks"].empty());
  CHECK(in_file()["chunks_in"] == "chunks.jsonl");
  CHECK(session.chunks().size() == 7);
  {
    JoinedSession joined(session.path());
    CHECK(write_chunk(joined, std::string_view("x")).id == 7);
    joined.publish();
    CHECK(in_file()["status"] == "completed");
  }
  CHECK(SessionView(session.path()).chunks().size() == 8);
  Workspace(session).remove_matching("chunk_[0-5].bin");
  session.publish();
  CHECK(in_file()["chunks"].size() == 2);
  CHECK_FALSE(in_file().contains("chunks_in"));
}
