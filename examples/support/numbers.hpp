// SPDX-License-Identifier: MIT
//
// Numbers as people type them. Counts are decimal digits, sizes digits and a unit, shares and times decimal; whatever
// else somebody may have meant is refused, with the option's name, and where it can be with what to type.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

namespace support {

inline constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();

namespace detail {

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

inline std::size_t digits_of(std::string_view text) {
  std::size_t n = 0;
  while (n < text.size() && is_digit(text[n])) ++n;
  return n;
}

/// Nothing where it is no number, or one that does not fit.
inline std::optional<std::uint64_t> number_of(std::string_view digits) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

inline std::optional<std::uint64_t> times(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// What `1e6` and `2k` would be.
inline std::optional<std::uint64_t> count_meant(std::string_view text) {
  const std::size_t digits = digits_of(text);
  auto number = number_of(text.substr(0, digits));
  if (!number || digits == text.size()) return std::nullopt;
  const std::string_view rest = text.substr(digits + 1);
  unsigned zeros = 0;
  switch (lower(text[digits])) {
    case 'e': {
      const auto exponent = number_of(rest);
      if (!exponent || *exponent > 19) return std::nullopt;
      zeros = static_cast<unsigned>(*exponent);
      break;
    }
    case 'k':
      zeros = 3;
      break;
    case 'm':
      zeros = 6;
      break;
    case 'g':
      zeros = 9;
      break;
    default:
      return std::nullopt;
  }
  if (lower(text[digits]) != 'e' && !rest.empty()) return std::nullopt;
  for (; zeros > 0 && number; --zeros) number = times(*number, 10);
  return number;
}

inline std::string range_text(std::uint64_t least, std::uint64_t most) {
  return std::to_string(least) + (most == no_limit ? " or more" : " to " + std::to_string(most));
}

inline std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }

}  // namespace detail

/// Decimal digits, in the range.
inline CLI::Validator count(std::uint64_t least = 0, std::uint64_t most = no_limit) {
  return CLI::Validator(
      [least, most](std::string& text) -> std::string {
        using namespace detail;
        if (text.empty() || digits_of(text) != text.size()) {
          const auto meant = count_meant(text);
          return in_quotes(text) + " is no count, which is decimal digits" +
                 (meant ? ": type " + std::to_string(*meant) : std::string());
        }
        const auto number = number_of(text);
        if (!number) return text + " is more than 2^64 - 1";
        if (*number < least || *number > most) return text + " not in range " + range_text(least, most);
        text = std::to_string(*number);
        return {};
      },
      "", "count");
}

/// Bytes: digits and a unit, of which KB and KiB are 1,024 bytes each, and so on; the unit may be left out.
inline CLI::Validator size(std::uint64_t least = 0, std::uint64_t most = no_limit) {
  return CLI::Validator(
      [least, most](std::string& text) -> std::string {
        using namespace detail;
        const std::size_t digits = digits_of(text);
        std::size_t at = digits;
        while (at < text.size() && text[at] == ' ') ++at;
        std::string unit;
        for (const char c : std::string_view(text).substr(at)) unit += lower(c);
        constexpr std::string_view letters = "kmgtpe";
        std::optional<std::uint64_t> factor;
        if (unit.empty() || unit == "b") factor = 1;
        if (const std::size_t power = unit.empty() ? letters.npos : letters.find(unit[0]); power != letters.npos)
          if (unit.size() == 1 || unit.substr(1) == "b" || unit.substr(1) == "ib")
            factor = std::uint64_t{1} << (10 * (power + 1));
        if (digits == 0 || !factor)
          return in_quotes(text) + " is no size, which is digits and a unit: 500000, 64MiB, 2GiB";
        const auto number = number_of(std::string_view(text).substr(0, digits));
        const auto bytes = number ? times(*number, *factor) : std::nullopt;
        if (!bytes) return text + " is more than 2^64 - 1 bytes";
        if (*bytes < least || *bytes > most) return text + " not in range " + range_text(least, most) + " bytes";
        text = std::to_string(*bytes);
        return {};
      },
      "", "size");
}

/// A share of rows, exact: 0.29 of 100 is 29.
class Share {
 public:
  /// Decimal, as 0.05, 12 or 1e-3; nothing for what is no such number, or too fine.
  static std::optional<Share> parse(std::string_view text) {
    using namespace detail;
    std::string digits;
    int scale = 0;
    bool point = false;
    std::size_t at = 0;
    for (; at < text.size() && (is_digit(text[at]) || (text[at] == '.' && !point)); ++at) {
      if (text[at] == '.') {
        point = true;
        continue;
      }
      digits += text[at];
      if (point) ++scale;
    }
    if (digits.empty()) return std::nullopt;
    if (at < text.size()) {
      if (lower(text[at]) != 'e') return std::nullopt;
      std::string_view exponent = text.substr(at + 1);
      const bool negative = exponent.starts_with('-');
      if (negative || exponent.starts_with('+')) exponent.remove_prefix(1);
      const auto by = number_of(exponent);
      if (digits_of(exponent) != exponent.size() || !by || *by > 30) return std::nullopt;
      scale += negative ? static_cast<int>(*by) : -static_cast<int>(*by);
    }
    for (; scale > 0 && digits.size() > 1 && digits.back() == '0'; --scale) digits.pop_back();
    for (; scale < 0; ++scale) digits += '0';
    const auto number = number_of(digits);
    if (!number || (scale > 18 && *number != 0)) return std::nullopt;
    Share share;
    share.number_ = *number;
    for (; scale > 0 && *number != 0; --scale) share.parts_ *= 10;
    return share;
  }

  /// Rounded down. The most that there can be where it is more.
  std::uint64_t of(std::uint64_t rows) const {
    __extension__ using Wide = unsigned __int128;
    const Wide share = Wide{rows} * number_ / parts_;
    return share > no_limit ? no_limit : static_cast<std::uint64_t>(share);
  }
  /// The same for equal shares that were written alike.
  std::string text() const { return std::to_string(number_) + "/" + std::to_string(parts_); }
  /// Whether it is at most that many wholes.
  bool at_most(std::uint64_t wholes) const {
    __extension__ using Wide = unsigned __int128;
    return Wide{number_} <= Wide{wholes} * parts_;
  }

 private:
  std::uint64_t number_ = 0, parts_ = 1;
};

/// A share of at most so many wholes, for `Share::parse` or a double.
inline CLI::Validator share(std::uint64_t most) {
  return CLI::Validator(
      [most](std::string& text) -> std::string {
        const auto number = Share::parse(text);
        if (!number) return detail::in_quotes(text) + " is no share: type a decimal number such as 0.05";
        if (!number->at_most(most)) return text + " not in range 0 to " + std::to_string(most);
        return {};
      },
      "", "share");
}

/// A time such as 90s, 15m, 1.5h, 7d, 250ms; without a unit, seconds. The text becomes seconds.
inline CLI::Validator duration(double least = 0) {
  return CLI::Validator(
      [least](std::string& text) -> std::string {
        std::size_t end = 0;
        while (end < text.size() && (detail::is_digit(text[end]) || text[end] == '.')) ++end;
        const std::string unit = text.substr(end);
        double seconds = 0;
        const auto [at, error] = std::from_chars(text.data(), text.data() + end, seconds);
        constexpr std::array<std::pair<std::string_view, double>, 6> units{
            {{"", 1}, {"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}}};
        for (const auto& [name, factor] : units)
          if (unit == name && end > 0 && error == std::errc() && at == text.data() + end) {
            seconds *= factor;
            if (seconds > 1e9) return text + " is more than 30 years";
            if (seconds < least) return text + " is too short";
            text = std::to_string(seconds);
            return {};
          }
        return detail::in_quotes(text) + " is no time: type digits and one of ms, s, m, h, d";
      },
      "", "time");
}

/// The name of a file or directory: there is one.
inline CLI::Validator some_name() {
  return CLI::Validator([](std::string& text) -> std::string { return text.empty() ? "the name is empty" : ""; }, "",
                        "name");
}

}  // namespace support
