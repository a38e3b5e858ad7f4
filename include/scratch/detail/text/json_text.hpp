// SPDX-License-Identifier: MIT
// floor 0: words
//
// JSON as text (RFC 8259): whether a text is a value, what it is made of, the value without blanks, and any bytes as a
// string.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <scratch/error.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr std::size_t deepest_json = 64;

/// The bytes of the UTF-8 character that `text` begins with; 0 where there is none: overlong, a surrogate, cut short.
inline std::size_t utf8_length(std::string_view text) noexcept {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto follows = [&](std::size_t i) { return (at(i) & 0xc0U) == 0x80; };
  const unsigned a = at(0), b = at(1);
  if (a < 0x80) return text.empty() ? 0 : 1;
  if (a >= 0xc2 && a <= 0xdf && follows(1)) return 2;
  if ((a & 0xf0U) == 0xe0 && follows(1) && follows(2))
    return (a == 0xe0 && b < 0xa0) || (a == 0xed && b > 0x9f) ? 0 : 3;
  if (a >= 0xf0 && a <= 0xf4 && follows(1) && follows(2) && follows(3))
    return (a == 0xf0 && b < 0x90) || (a == 0xf4 && b > 0x8f) ? 0 : 4;
  return 0;
}

/// Of `\uXXXX` at the beginning; 0x10000 where it is none.
inline std::uint32_t json_code_unit(std::string_view text) {
  if (text.size() < 6 || text[0] != '\\' || text[1] != 'u') return 0x10000;
  std::uint32_t unit = 0;
  for (const char c : text.substr(2, 4)) {
    const std::size_t digit = std::string_view("0123456789abcdefABCDEF").find(c);
    if (digit == text.npos) return 0x10000;
    unit = unit << 4 | static_cast<std::uint32_t>(digit < 16 ? digit : digit - 6);
  }
  return unit;
}

/// Told by a `JsonScanner` what it finds, also of a text that turns out to be no JSON later on.
struct JsonEvents {
  void begin(char) {}               ///< `{` or `[`
  void end(char) {}                 ///< `}` or `]`
  void key(std::string_view) {}     ///< of a member, as it stands between the quotes
  void string(std::string_view) {}  ///< a value that is a string, likewise
  void word(std::string_view) {}    ///< a number, true, false or null, as it is written
};

/// Passes over a text that should be JSON.
template <class Events>
class JsonScanner {
 public:
  JsonScanner(std::string_view json, std::size_t deepest, Events& events)
      : rest_(json), deepest_(deepest), events_(events) {}

  /// One value and nothing else but blanks.
  bool is_value() { return value(1) && blanks() && rest_.empty(); }
  /// How much of the text follows what is JSON.
  std::size_t rest() const { return rest_.size(); }

 private:
  bool value(std::size_t depth) {
    blanks();
    if (rest_.starts_with('{') || rest_.starts_with('[')) return items(depth);
    const std::string_view from = rest_;
    if (string()) return events_.string(inside(from)), true;
    if (!word("true") && !word("false") && !word("null") && !number()) return false;
    return events_.word(passed(from)), true;
  }

  bool items(std::size_t depth) {
    if (depth > deepest_) return false;
    const bool members = rest_.starts_with('{');
    const char end = members ? '}' : ']';
    events_.begin(rest_[0]);
    rest_.remove_prefix(1);
    if (blanks() && take(end)) return events_.end(end), true;
    do {
      if (blanks() && members && !(key() && blanks() && take(':'))) return false;
      if (!value(depth + 1)) return false;
    } while (blanks() && take(','));
    return take(end) && (events_.end(end), true);
  }

  bool key() {
    const std::string_view from = rest_;
    return string() && (events_.key(inside(from)), true);
  }

  std::string_view passed(std::string_view from) const { return from.substr(0, from.size() - rest_.size()); }
  std::string_view inside(std::string_view from) const { return from.substr(1, from.size() - rest_.size() - 2); }

  bool string() {
    if (!take('"')) return false;
    while (!rest_.empty()) {
      if (take('"')) return true;
      const bool control = static_cast<unsigned char>(rest_[0]) < 0x20;
      const std::size_t n = rest_[0] == '\\' ? escape_length() : control ? 0 : utf8_length(rest_);
      if (n == 0) return false;
      rest_.remove_prefix(n);
    }
    return false;
  }

  // Half of a surrogate pair counts with its other half, and not without.
  std::size_t escape_length() const {
    if (rest_.size() < 2) return 0;
    if (rest_[1] != 'u') return std::string_view("\"\\/bfnrt").find(rest_[1]) != rest_.npos ? 2 : 0;
    const std::uint32_t first = json_code_unit(rest_);
    if (first > 0xffff || (first >= 0xdc00 && first <= 0xdfff)) return 0;
    if (first < 0xd800 || first > 0xdbff) return 6;
    const std::uint32_t second = json_code_unit(rest_.substr(6));
    return second >= 0xdc00 && second <= 0xdfff ? 12 : 0;
  }

  bool number() {
    take('-');
    if (!take('0') && !all_of("0123456789")) return false;
    if (take('.') && !all_of("0123456789")) return false;
    if (!take('e') && !take('E')) return true;
    if (!take('+')) take('-');
    return all_of("0123456789");
  }

  bool all_of(std::string_view these) {
    const std::size_t before = rest_.size(), n = rest_.find_first_not_of(these);
    rest_.remove_prefix(n == rest_.npos ? before : n);
    return rest_.size() < before;
  }

  bool word(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }

  bool take(char c) { return word({&c, 1}); }
  bool blanks() { return all_of(" \t\r\n"), true; }

  std::string_view rest_;
  std::size_t deepest_;
  Events& events_;
};

/// Whether the text is one JSON value, in UTF-8, with brackets at most `deepest` deep.
inline bool is_json(std::string_view text, std::size_t deepest = deepest_json) {
  JsonEvents nobody;
  return JsonScanner(text, deepest, nobody).is_value();
}

inline bool is_json_object(std::string_view text, std::size_t deepest = deepest_json) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  return begin != text.npos && text[begin] == '{' && is_json(text, deepest);
}

/// The same value without blanks, on one line. @pre `is_json(text)`
inline std::string minified_json(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!in_string && (c == ' ' || c == '\t' || c == '\r' || c == '\n')) continue;
    plain += c;
    if (c == '"') in_string = !in_string;
    if (c == '\\') plain += text[++i];
  }
  return plain;
}

/// An application's object as it is put on record: without blanks. @throws Error EINVAL unless the text is one
inline std::string checked_object(std::string_view text, std::string_view doing, const std::filesystem::path& path) {
  if (is_json_object(text)) return minified_json(text);
  throw_error(
      EINVAL, doing, path,
      "the text given is no JSON object in UTF-8 with brackets at most " + std::to_string(deepest_json) + " deep");
}

/// A JSON string of any bytes: what is not UTF-8 becomes U+FFFD.
inline std::string json_string(std::string_view text) {
  constexpr char hex[] = "0123456789abcdef";
  std::string quoted = "\"";
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    const char c = text[0];
    if (n == 0) {
      quoted += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      quoted.append({'\\', c});
    } else if (c == '\n' || c == '\t' || c == '\r') {
      quoted.append({'\\', c == '\n' ? 'n' : c == '\t' ? 't' : 'r'});
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted.append("\\u00").append({hex[c >> 4], hex[c & 15]});
    } else {
      quoted += text.substr(0, n);
    }
    text.remove_prefix(n == 0 ? 1 : n);
  }
  return quoted += '"';
}

inline void append_utf8(std::string& text, std::uint32_t c) {
  const auto follow = [&](unsigned shift) { text += static_cast<char>(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += static_cast<char>(0xc0 | c >> 6);
    follow(0);
  } else if (c < 0x10000) {
    text += static_cast<char>(0xe0 | c >> 12);
    follow(6), follow(0);
  } else {
    text += static_cast<char>(0xf0 | c >> 18);
    follow(12), follow(6), follow(0);
  }
}

/// What a JSON string says. @param inside what stands between its quotes @pre the string is JSON
inline std::string unescaped_json(std::string_view inside) {
  std::string text;
  text.reserve(inside.size());
  while (!inside.empty()) {
    const std::size_t plain = std::min(inside.find('\\'), inside.size());
    text += inside.substr(0, plain);
    inside.remove_prefix(plain);
    if (inside.empty()) break;
    if (inside[1] != 'u') {
      const std::size_t known = std::string_view("bfnrt").find(inside[1]);
      text += known == inside.npos ? inside[1] : "\b\f\n\r\t"[known];
      inside.remove_prefix(2);
      continue;
    }
    std::uint32_t c = json_code_unit(inside);
    inside.remove_prefix(6);
    if (c >= 0xd800 && c <= 0xdbff) {
      c = 0x10000 + ((c & 0x3ff) << 10 | (json_code_unit(inside) & 0x3ff));
      inside.remove_prefix(6);
    }
    append_utf8(text, c);
  }
  return text;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
