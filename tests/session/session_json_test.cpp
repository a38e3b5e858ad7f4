// SPDX-License-Identifier: MIT
//
// What metadata.json says, as nlohmann::json.
#include <scratch/session_json.hpp>

#include <scratch/joined_session.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_view.hpp>

#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using nlohmann::json;
namespace fs = std::filesystem;

TEST_CASE("the owner, a worker and a view give the same, and that is what metadata.json says") {
  const TempDir dir;
  SessionDir<Under, Durable, PosixIo> session(Under{dir.path()}, "my job");
  session.user(R"({"table": "customer", "n": 12345678901234567890, "quoted": "a \"b\" \u00e9"})");
  session.progress(3, 10, "sorting \"it\"");
  const ChunkInfo chunk = write_chunk(session.area("sorting"), "rows", {.rows = 7, .user = R"({"a": [1, null]})"});
  session.publish();
  const json all = metadata_json(session);
  CHECK(all == json::parse(text_of(session.path() / "metadata.json")));
  CHECK(all == metadata_json(JoinedSession(session.path())));
  CHECK(all == metadata_json(SessionView(session.path())));

  CHECK(all["format"] == 2);
  CHECK(all["session_id"] == session.id());
  CHECK(all["label"] == "my_job");
  CHECK(all["pid"] == ::getpid());
  CHECK(all["status"] == "in_progress");
  CHECK(all["durable"] == true);
  CHECK(all["engine"] == "posix");
  CHECK(all["start_time"] == list_sessions(Under{dir.path()}).at(0).start_time);
  CHECK(all["progress"] == json{{"done", 3}, {"total", 10}, {"what", "sorting \"it\""}});
  CHECK(all["user"]["n"] == 12345678901234567890U);
  CHECK(all["user"]["quoted"] == "a \"b\" \u00e9");
  REQUIRE(all["chunks"].size() == 1);
  const json& record = all["chunks"][0];
  CHECK(record["id"] == chunk.id);
  CHECK(record["file"] == "sorting/chunk_0.bin");
  CHECK((record["size"] == 4 && record["rows"] == 7 && record["checksum"] == chunk.checksum));
  CHECK(record["user"] == json{{"a", {1, nullptr}}});
}

TEST_CASE("the latest chunks are in it, also before metadata.json has them, and the latest status") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  const SessionView view(session.path());
  for (std::size_t i = 1; i <= 50; ++i) {
    write_chunk(session, "rows");
    CHECK((metadata_json(session)["chunks"].size() == i && metadata_json(view)["chunks"].size() == i));
  }
  session.fail("a \"reason\"\n");
  CHECK((metadata_json(view)["status"] == "failed" && metadata_json(view)["reason"] == "a \"reason\"\n"));
  session.complete();
  CHECK(metadata_json(view)["status"] == "completed");
}

TEST_CASE("the application's object is the same to all, and an empty one where there is none") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  const SessionView view(session.path());
  const JoinedSession joined(session.path());
  const auto all_give = [&](const json& object) {
    CHECK(user_json(session) == object);
    CHECK(user_json(joined) == object);
    CHECK(user_json(view) == object);
  };
  all_give(json::object());
  const json object{{"text", "a \"b\"\n\t\u0001 \u00e9 \U0001f600"},
                    {"list", {1, -2, 3.5, true, nullptr, json::object()}},
                    {"large", 18446744073709551615U},
                    {"small", -9223372036854775807 - 1},
                    {"", ""}};
  user(session, object);
  all_give(object);
  CHECK(json::parse(session.user()) == object);
  CHECK(json::parse(text_of(session.path() / "metadata.json"))["user"] == object);
  session.user(R"({"by": "text"})");
  all_give(json{{"by", "text"}});
  user(session, json::object());
  all_give(json::object());
}

TEST_CASE("what is no object, no UTF-8 or nests too deep is refused, and the old one stays") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  user(session, json{{"old", 1}});
  json deep = json::object();
  for (int i = 0; i < 64; ++i) deep = json{{"a", deep}};
  for (const json& none :
       {json(), json(7), json("text"), json::array({1, 2}), json(true), json(json::value_t::discarded),
        json::binary({1, 2, 3}), json{{"a", "\xff"}}, json{{"\xc0\x80", 1}}, deep}) {
    CAPTURE(static_cast<int>(none.type()));
    const auto error = refusal([&] { user(session, none); });
    REQUIRE(error);
    CHECK(error->code() == std::errc::invalid_argument);
    CHECK(error->path() == session.path() / "metadata.json");
    CHECK(user_json(session) == json{{"old", 1}});
  }
  CHECK(json::parse(text_of(session.path() / "metadata.json"))["user"] == json{{"old", 1}});
  user(session, json{{"none", std::nan("")}});  // JSON has no such number
  CHECK(user_json(session)["none"].is_null());
}

TEST_CASE("a number that no double holds is damage to who reads numbers, of the owner's object too") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  session.user(R"({"n": 1e999})");  // it is JSON
  const auto corrupt = [&](const auto& of) {
    const auto error = refusal([&] { static_cast<void>(user_json(of)); });
    return error && error->code() == errc::corrupt && error->path() == session.path() / "metadata.json";
  };
  CHECK(corrupt(SessionView(session.path())));
  CHECK(corrupt(JoinedSession(session.path())));
  CHECK(corrupt(session));
  CHECK(refuses_with(errc::corrupt, [&] { static_cast<void>(metadata_json(session)); }));
  CHECK(session.user() == R"({"n":1e999})");
}

TEST_CASE("a dead session is read as it was left, and a damaged one is an error that names the file") {
  const TempDir dir;
  CHECK(in_child([&] {
          SessionDir<Under, KeepAlways> session(Under{dir.path()}, "dead");
          session.user(R"({"left": true})");
          write_chunk(session, "rows");
          ::raise(SIGKILL);
        }) == Ending::killed);
  const SessionView view(list_sessions(Under{dir.path()}).at(0).path);
  const fs::path file = view.path() / "metadata.json";
  CHECK(metadata_json(view)["status"] == "in_progress");
  CHECK(metadata_json(view)["chunks"].size() == 1);
  CHECK(user_json(view) == json{{"left", true}});
  const std::string text = text_of(file);
  const auto with = [&](const std::string& damaged) {
    put(file, damaged);
    const auto error = refusal([&] { static_cast<void>(metadata_json(view)); });
    const auto user_error = refusal([&] { static_cast<void>(user_json(view)); });
    REQUIRE((error && user_error && error->code() == user_error->code()));
    CHECK(error->path() == file);
    return error->code();
  };
  CHECK(with("") == errc::corrupt);
  CHECK(with(text.substr(0, text.size() / 2)) == errc::corrupt);
  CHECK(with("[1]") == errc::corrupt);
  CHECK(with(R"({"format":3})") == errc::unsupported_version);
  put(file, R"({"format":2})");
  CHECK(user_json(view) == json::object());
  put(file, text);
  CHECK(user_json(view) == json{{"left", true}});
  fs::remove(file);
  CHECK(refuses_with(std::errc::no_such_file_or_directory, [&] { static_cast<void>(metadata_json(view)); }));
}

TEST_CASE("a session that has ended is gone to all of these") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  const SessionView view(session.path());
  session.close();
  CHECK(refuses_with(errc::session_gone, [&] { static_cast<void>(metadata_json(session)); }));
  CHECK(refuses_with(errc::session_gone, [&] { static_cast<void>(user_json(session)); }));
  CHECK(refuses_with(errc::session_gone, [&] { user(session, json::object()); }));
  CHECK(refuses_with(errc::session_gone, [&] { static_cast<void>(metadata_json(view)); }));
  CHECK(refuses_with(errc::session_gone, [&] { static_cast<void>(user_json(view)); }));
}
