// SPDX-License-Identifier: MIT
#include <scratch/detail/text/json_text.hpp>

#include <cstddef>
#include <iterator>
#include <random>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"

using scratch::detail::is_json;
using scratch::detail::is_json_object;
using scratch::detail::json_string;
using scratch::detail::minified_json;

namespace {

std::string nested(std::size_t depth, std::string_view inside = "") {
  return std::string(depth, '[') + std::string(inside) + std::string(depth, ']');
}

}  // namespace

TEST_CASE("what is JSON is told from what is not") {
  for (const char* text : {"{}", "[]", "0", "-0", "1.5e+7", "1E-2", "\"\"", "true", "null", " [ 1 , {\"a\" : [ ] } ] ",
                           R"("\u00e9\ud83d\ude00\/\b")", "\"\xc3\xa9\xf0\x9f\x98\x80\"", "[\"\x7f\"]"})
    CHECK(is_json(text));
  for (const char* text : {"",
                           " ",
                           "{",
                           "}",
                           "[1,]",
                           "[,1]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{a:1}",
                           "{\"a\":1,}",
                           "01",
                           "+1",
                           "1.",
                           ".5",
                           "1e",
                           "nul",
                           "truee",
                           "'a'",
                           "\"",
                           "\"\\x\"",
                           "\"\\u12g4\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "\"\n\"",
                           "\"\xff\"",
                           "\"\xc0\xaf\"",
                           "\"\xed\xa0\x80\"",
                           "\"\xf5\x80\x80\x80\"",
                           "\"\xe2\x82\"",
                           "1 2",
                           "[1 2]",
                           "\"\\u12\""})
    CHECK_FALSE(is_json(text));
  CHECK_FALSE(is_json(std::string_view("\"a\0b\"", 5)));
}

TEST_CASE("what a string says is read as nlohmann/json reads it") {
  std::mt19937_64 random(11);
  const std::string_view parts[] = {"a",
                                    "\\\"",
                                    "\\\\",
                                    "\\/",
                                    "\\b",
                                    "\\f",
                                    "\\n",
                                    "\\r",
                                    "\\t",
                                    "\\u0000",
                                    "\x7f",
                                    "\\u00E9",
                                    "\\u20ac",
                                    "\\ud83d\\ude00",
                                    "\xc3\xa9",
                                    "\\uDBFF\\uDFFF",
                                    "u",
                                    "\\uffff",
                                    "\\ud800\\udc00"};
  for (int i = 0; i < 2000; ++i) {
    std::string inside;
    for (std::size_t n = random() % 8; n > 0; --n) inside += parts[random() % std::size(parts)];
    CAPTURE(inside);
    REQUIRE(is_json('"' + inside + '"'));
    CHECK(scratch::detail::unescaped_json(inside) == nlohmann::json::parse('"' + inside + '"').get<std::string>());
  }
}

TEST_CASE("JSON nests at most 64 deep") {
  CHECK(is_json(nested(64)));
  CHECK(is_json(nested(64, "1")));
  CHECK_FALSE(is_json(nested(65)));
  CHECK_FALSE(is_json(nested(1'000'000)));
  CHECK(is_json(nested(3), 3));
  CHECK_FALSE(is_json(nested(4), 3));
}

TEST_CASE("an object is told from other JSON") {
  CHECK(is_json_object(" {\"a\":1}"));
  for (const char* text : {"[]", "1", "", " ", "{", "{}{}"}) CHECK_FALSE(is_json_object(text));
}

TEST_CASE("it answers as nlohmann/json does, for texts made of JSON's pieces") {
  constexpr std::string_view pieces[] = {"{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         ":",
                                         "\"",
                                         "\"a\"",
                                         "1",
                                         "-",
                                         "0",
                                         ".5",
                                         "e3",
                                         "true",
                                         "null",
                                         " ",
                                         "\\",
                                         "\\n",
                                         "\\u00",
                                         "e9",
                                         "\n",
                                         "\xc3",
                                         "\xa9",
                                         "\xf0\x9f\x98\x80",
                                         "\xed\xa0\x80",
                                         "\\ud83d",
                                         "\\ude00"};
  std::mt19937_64 random(17);
  int valid = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::string text;
    for (std::size_t n = 1 + random() % 9; n > 0; --n) text += pieces[random() % std::size(pieces)];
    const bool theirs = nlohmann::json::accept(text);
    valid += theirs;
    if (is_json(text) != theirs) FAIL(text << " is JSON for one of the two");
    if (theirs && nlohmann::json::parse(minified_json(text)) != nlohmann::json::parse(text)) FAIL(text << " changed");
  }
  CHECK(valid > 1000);
}

TEST_CASE("blanks outside of strings go, and nothing else") {
  CHECK(minified_json(" { \"a b\" :\n [ 1 , \" \\\" \" ] }\t") == "{\"a b\":[1,\" \\\" \"]}");
}

TEST_CASE("reasons and labels of any bytes become JSON strings") {
  CHECK(json_string("plain") == "\"plain\"");
  CHECK(json_string("a\"b\\\n") == R"("a\"b\\\n")");
  CHECK(json_string("\xff") == "\"\xef\xbf\xbd\"");
  CHECK(json_string(std::string_view("\0\x1f\x7f", 3)) == R"("\u0000\u001f\u007f")");
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  CHECK(nlohmann::json::accept(json_string(all)));
  CHECK(nlohmann::json::parse(json_string("\xc3\xa9 \xf0\x9f\x98\x80 \t")) == "\xc3\xa9 \xf0\x9f\x98\x80 \t");
}
