// SPDX-License-Identifier: MIT
// ctest: optimised
#include <scratch/detail/session/json.hpp>
#include <scratch/detail/session/metadata.hpp>
#include <scratch/session_json.hpp>

#include <random>
#include <string>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch::detail;
using scratch::ChunkInfo;
using scratch::errc;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::refuses_with;
using scratch::test::says;
using scratch::test::TempDir;
using scratch::test::text_of;

namespace {

SessionFacts facts() {
  SessionFacts facts;
  facts.id = "1_x";
  facts.label = "x";
  facts.place = "/dev/shm/app-0";
  facts.start_time = "2024-07-08T12:00:00Z";
  facts.pid = 42;
  return facts;
}

std::string document(const SessionFacts& of, const std::vector<ChunkInfo>& chunks = {}) {
  std::string text = head_text(of);
  for (std::size_t i = 0; i < chunks.size(); ++i) add_chunk(text, {chunks[i], scratch::ChunkLayout().block}, i == 0);
  return text + std::string(end_of_metadata);
}

nlohmann::json read_metadata(int directory, const std::filesystem::path& path) {
  return parse_metadata(scratch::detail::read_metadata_text(directory, path), path / "metadata.json");
}

}  // namespace

TEST_CASE("what is written is read back, chunks and the application's object too") {
  const TempDir dir;
  SessionFacts of = facts();
  of.user = R"({"chunks":[1,2],"text":"a\nb\"c,\n\"chunks\":["})";
  const std::vector<ChunkInfo> chunks{{0, "chunk_0.bin", 5'000'000, 7, "xxh3:9555e8555c62dcfd", ""},
                                      {3, "a\"b/\xff.bin", 0, 0, "xxh3:2d06800538d394c2", R"({"k":[1]})"},
                                      {4, "c", 1, 0, "xxh3:2d06800538d394c2", "{}"}};
  write_metadata(dir.fd(), dir.path(), document(of, chunks), false);
  const nlohmann::json json = read_metadata(dir.fd(), dir.path());
  CHECK(json["format"] == 2);
  CHECK(json["session_id"] == "1_x");
  CHECK(json["label"] == "x");
  CHECK(json["status"] == "in_progress");
  CHECK(json["pid"] == 42);
  CHECK(json["user"] == nlohmann::json::parse(of.user));
  REQUIRE(json["chunks"].size() == 3);
  CHECK(json["chunks"][0] == nlohmann::json{{"id", 0},
                                            {"file", "chunk_0.bin"},
                                            {"size", 5'000'000},
                                            {"rows", 7},
                                            {"checksum", "xxh3:9555e8555c62dcfd"},
                                            {"block", 4194304},
                                            {"blocks", 2},
                                            {"user", nlohmann::json::object()}});
  CHECK(json["chunks"][1]["file"] == "a\"b/%FF.bin");
  CHECK(json["chunks"][1]["user"]["k"][0] == 1);
  CHECK(json["chunks"][2]["user"] == nlohmann::json::object());
  CHECK(scratch::test::names_in(dir.path()).size() == 1);
}

TEST_CASE("the head alone is read without the chunks, however large it is") {
  const TempDir dir;
  SessionFacts of = facts();
  for (const std::size_t size : {std::size_t{0}, std::size_t{3700}, std::size_t{100'000}}) {
    of.user = "{\"text\":\"" + std::string(size, 'x') + "\"}";
    put(dir / "metadata.json", document(of, {{0, "a", 1, 1, "xxh3:2d06800538d394c2", ""}}));
    CHECK(read_head_text(dir.fd(), dir.path()) == head_text(of));
    const auto head = read_head(dir.fd(), dir.path());
    CHECK(head.label == "x");
    CHECK(head.status == "in_progress");
    CHECK(head.pid == 42);
    CHECK(nlohmann::json::parse(head.text + "}")["user"] == nlohmann::json::parse(of.user));
    CHECK_FALSE(nlohmann::json::parse(head.text + "}").contains("chunks"));
  }
}

TEST_CASE("the head of a file that somebody wrote in another form is read nevertheless, with all that it says") {
  const TempDir dir;
  for (const char* text :
       {"\n{ \"chunks\": [ {\"id\": 1, \"user\": {}} ],\n \"format\": 2, \"label\": \"y\" }",
        "{\"format\":2,\"label\":\"y\",\"chunks\":{},\"pid\":-7,\"user\":{\"chunks\":[1,[],{},[2,{\"a\":[null]}]],"
        "\"e\":1.50}}",
        "{\"format\":2,\"durable\":true,\"label\":\"y\",\"big\":18446744073709551615,\"s\":\"\\u00e9\\n\",\"chunks\":[["
        "]]}",
        "{\"chunks\":7,\"chunks\":[],\"format\":2,\"status\":[\"x\"],\"a\":{\"label\":\"z\"},\"label\":\"y\"}"}) {
    CAPTURE(text);
    put(dir / "metadata.json", text);
    nlohmann::json all = nlohmann::json::parse(text);
    all.erase("chunks");
    const std::string head = read_head_text(dir.fd(), dir.path());
    CHECK(head.ends_with(",\n\"chunks\":["));
    CHECK(nlohmann::json::parse(read_head(dir.fd(), dir.path()).text + "}") == all);
    CHECK(read_head(dir.fd(), dir.path()).label == "y");
    CHECK(read_head(dir.fd(), dir.path()).status.empty());
    CHECK(read_head(dir.fd(), dir.path()).pid == all.value("pid", 0));
    CHECK(read_head(dir.fd(), dir.path()).durable == all.value("durable", false));
    all["chunks"] = nlohmann::json::array();
    CHECK(nlohmann::json::parse(head + "]}") == all);
  }
}

TEST_CASE("a damaged metadata.json is a clear error") {
  const TempDir dir;
  const auto with = [&](std::string_view text) {
    put(dir / "metadata.json", text);
    const auto head = refusal([&] { read_head(dir.fd(), dir.path()); });
    const auto whole = refusal([&] { read_metadata(dir.fd(), dir.path()); });
    REQUIRE(head);
    REQUIRE(whole);
    CHECK(head->code() == whole->code());
    return whole;
  };
  const std::string good = document(facts());
  for (std::size_t size = 0; size < good.size() - 3; ++size) {
    put(dir / "metadata.json", good.substr(0, size));
    CHECK(refuses_with(errc::corrupt, [&] { read_metadata(dir.fd(), dir.path()); }));
  }
  CHECK(with("")->code() == errc::corrupt);
  CHECK(says(with("[1]"), "not an object with a \"format\""));
  CHECK(says(with("{\"format\":\"1\"}"), "not an object with a \"format\""));
  CHECK(with("{\"format\":3}")->code() == errc::unsupported_version);
  CHECK(with(std::string_view("{\"format\":2,\0}", 14))->code() == errc::corrupt);
  CHECK(says(with("{\"format\":2,\"x\":" + std::string(100'000, '[')), "nests 100001 deep"));
  CHECK(says(with("{\"format\":2,\"x\":" + std::string(67, '[') + std::string(67, ']') + "}"), "nests 68 deep"));
  CHECK(says(with("{\"format\":2,\"x\":nul}"), "no JSON at byte 16"));
  CHECK(with("{\"format\":99999999999999999999}")->code() == errc::corrupt);
  CHECK(with("{\"format\":9999999999999999999}")->code() == errc::unsupported_version);
}

namespace {
struct Differing {
  int read = 0, refused = 0, otherwise = 0;
  std::string first{};  // that is read otherwise

  void note(bool differs, const std::string& text) {
    if (differs && otherwise++ == 0) first = text;
  }
};

/// What `head` makes of a text, beside what nlohmann/json makes of it, for 20,000 texts that were changed somewhere.
template <class Head>
Differing read_changed_texts(Head head) {
  const std::string good =
      "{\"format\":2,\"label\":\"\\u00e9\\ud83d\\ude00\\n\",\"pid\":-7,\"a\":[1.5,0,-0.1,true,null,\"\xc3\xa9\"],"
      "\"user\":{\"k\":[{},[]]},\"progress\":{\"done\":1,\"total\":2,\"what\":\"x\"},\n\"chunks\":[{\"id\":1}]}";
  const std::string_view bytes = "{}[]\",:\\0123456789.+-tfnu \n\x01\x7f\x80\xc3\xff";
  std::mt19937_64 random(12);
  Differing found;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = good;
    for (std::size_t n = random() % 3 + 1; n > 0; --n) {
      const std::size_t at = random() % text.size();
      const char byte = bytes[random() % bytes.size()];
      if (random() % 3 == 0)
        text.erase(at, 1);
      else if (random() % 2 == 0)
        text.insert(at, 1, byte);
      else
        text[at] = byte;
    }
    try {
      const std::string said = head(text);
      nlohmann::json all = nlohmann::json::parse(text);
      all.erase("chunks");
      ++found.read;
      found.note(nlohmann::json::parse(said + "}") != all, text);
    } catch (const scratch::Error& error) {
      if (error.hint().find("no JSON") == std::string::npos) continue;
      ++found.refused;
      found.note(nlohmann::json::accept(text), text);
    }
  }
  return found;
}
}  // namespace

TEST_CASE("whatever is changed in a text, it is read as nlohmann/json reads it") {
  const auto head = [](const std::string& text) { return scratch::detail::parse_head(text, "metadata.json").text; };
  const Differing found = read_changed_texts(head);
  CHECK(found.read > 1000);
  CHECK(found.refused > 1000);
  CHECK(found.first == "");
  const auto overlooks_escapes = [&](const std::string& text) {
    std::string said = head(text);
    if (const std::size_t at = said.find("\\n"); at != said.npos) said.erase(at, 1);
    return said;
  };
  CHECK(read_changed_texts(overlooks_escapes).otherwise > 1000);  // the control
}

TEST_CASE("brackets in strings do not nest, and of two equal keys one counts") {
  const TempDir dir;
  put(dir / "metadata.json", "{\"format\":2,\"label\":\"" + std::string(1000, '[') + "\\\"{\",\"pid\":1,\"pid\":2}");
  CHECK(read_metadata(dir.fd(), dir.path())["pid"].is_number());
}

TEST_CASE("a metadata.json of 300 MiB is refused before it is read") {
  const TempDir dir;
  put(dir / "metadata.json", "{");
  REQUIRE(::truncate((dir / "metadata.json").c_str(), 300 << 20) == 0);
  CHECK(says(refusal([&] { read_metadata(dir.fd(), dir.path()); }), "300.0 MiB, at most 256 MiB"));
  CHECK(says(refusal([&] { read_head(dir.fd(), dir.path()); }), "300.0 MiB, at most 256 MiB"));
}

TEST_CASE("what could not be read back is not written, and the old file stays") {
  const TempDir dir;
  write_metadata(dir.fd(), dir.path(), document(facts()), false);
  const std::string before = text_of(dir / "metadata.json");
  CHECK(refuses_with(std::errc::file_too_large,
                     [&] { write_metadata(dir.fd(), dir.path(), std::string((256 << 20) + 1, ' '), false); }));
  const auto nested = [](std::size_t depth) {
    return "{\"a\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  CHECK(checked_object(nested(64), "write", "x") == nested(64));
  for (const std::string& text : {nested(65), nested(100'000), std::string("{\"a\":\"\xff\"}"), std::string("[]"),
                                  std::string("7"), std::string(), std::string("{} {}"), std::string("{")})
    CHECK(refuses_with(std::errc::invalid_argument, [&] { checked_object(text, "write", "x"); }));
  CHECK(checked_object(" { \"a\" :\n [ 1 , \" \\\" \" ] } ", "write", "x") == "{\"a\":[1,\" \\\" \"]}");
  CHECK(text_of(dir / "metadata.json") == before);
  CHECK(scratch::test::names_in(dir.path()).size() == 1);
}

TEST_CASE("a link, a FIFO or a directory in place of metadata.json is refused at once") {
  const TempDir dir;
  put(dir / "elsewhere", document(facts()));
  std::filesystem::create_symlink(dir / "elsewhere", dir / "metadata.json");
  CHECK(refusal([&] { read_head(dir.fd(), dir.path()); }));
  std::filesystem::remove(dir / "metadata.json");
  std::filesystem::create_hard_link(dir / "elsewhere", dir / "metadata.json");
  CHECK(refusal([&] { read_head(dir.fd(), dir.path()); }));
  std::filesystem::remove(dir / "metadata.json");
  REQUIRE(::mkfifo((dir / "metadata.json").c_str(), 0600) == 0);
  CHECK(refusal([&] { read_head(dir.fd(), dir.path()); }));
}
