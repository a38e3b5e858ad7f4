// SPDX-License-Identifier: MIT
//
// Where rows end in what PostgreSQL's COPY ... TO STDOUT writes.
//
// clang-format off
// binary: PGCOPY\n\377\r\n\0, 4 bytes of flags, 4 bytes length of an extension, the extension; then rows: 2 bytes number
//         of fields, for each 4 bytes length (-1: null) and the bytes; in the end -1 as number of fields. Big-endian.
// csv:    a line, unless within quotes; a quote within quotes is doubled. The first line may be column names.
// text:   a line; newlines within values are written as \n.
// clang-format on
#pragma once

#include <scratch/bytes.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "support/errors.hpp"

namespace table_export {

using support::Refused;

inline constexpr std::string_view binary_signature("PGCOPY\n\377\r\n\0", 11);

/// Finds the rows in bytes that arrive bit by bit.
class Rows {
 public:
  Rows() = default;
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;
  virtual ~Rows() = default;

  virtual std::string format() const = 0;
  /// How long what comes before the rows is; nothing while that cannot be told yet. @throws Refused
  virtual std::optional<std::size_t> header(std::string_view start) = 0;
  /// Where the row that `rest` begins with ends; nothing while it is incomplete. Of a row that was incomplete only what
  /// came since is looked at: `rest` must then begin with the same bytes. @throws Refused
  virtual std::optional<std::size_t> row_end(std::string_view rest) = 0;
  /// As if so many rows had been seen.
  virtual void pass_over(std::uint64_t rows) = 0;
  /// What stands after the rows, to make the same stream again.
  virtual std::string trailer() const = 0;
  /// Whether the stream's own mark of its end was seen: nothing may follow.
  virtual bool ended() const { return false; }
  /// The input ended, with `rest` after the last row. @returns whether that is one more row @throws Refused when it is no
  /// end
  virtual bool finish(std::string_view rest) const = 0;
  /// The row that began and has not ended has grown too long. @throws Refused
  [[noreturn]] virtual void too_long(std::uint64_t most) const = 0;
};

class BinaryRows : public Rows {
 public:
  std::string format() const override { return "binary"; }

  std::optional<std::size_t> header(std::string_view start) override {
    if (start.size() < 19) return std::nullopt;
    if (start.substr(0, binary_signature.size()) != binary_signature)
      throw Refused("the input is not in COPY's binary format: it does not begin with PGCOPY");
    if ((number(start.substr(11)) & 0x10000U) != 0)
      throw Refused("the input has OIDs, as PostgreSQL 11 and older wrote");
    if ((number(start.substr(11)) >> 16) != 0) throw Refused("the input's header has flags that are not known");
    const std::uint64_t end = 19 + std::uint64_t{number(start.substr(15))};
    if (end > 1U << 20) throw Refused("the input's header claims to have " + std::to_string(end) + " bytes");
    if (start.size() < end) return std::nullopt;
    return static_cast<std::size_t>(end);
  }

  std::optional<std::size_t> row_end(std::string_view rest) override {
    if (ended_) return std::nullopt;
    if (at_ == 0) {
      if (rest.size() < 2) return std::nullopt;
      fields_ = short_number(rest);
      if (fields_ == 0xffff) {
        ended_ = true;
        return std::nullopt;
      }
      if (fields_ > 1664) damaged("a row claims to have " + std::to_string(fields_) + " fields");
      if (columns_ && *columns_ != fields_)
        damaged("a row has " + std::to_string(fields_) + " fields, those before it " + std::to_string(*columns_));
      columns_ = fields_;
      at_ = 2;
    }
    for (; fields_ > 0; --fields_) {
      if (rest.size() < at_ + 4) return std::nullopt;
      const std::uint32_t length = number(rest.substr(at_));
      if (length == 0xffffffff) {
        at_ += 4;
        continue;
      }
      if (length > 0x7fffffff) damaged("a field claims to have " + std::to_string(length) + " bytes");
      if (rest.size() < at_ + 4 + length) return std::nullopt;
      at_ += 4 + length;
    }
    const std::size_t end = at_;
    at_ = 0;
    ++rows_;
    return end;
  }

  void pass_over(std::uint64_t rows) override { rows_ += rows; }
  std::string trailer() const override { return "\xff\xff"; }
  bool ended() const override { return ended_; }

  bool finish(std::string_view rest) const override {
    if (!ended_)
      throw Refused("the input is cut short: it ends " +
                    (rest.empty() ? std::string("before the end mark of COPY's "
                                                "binary format")
                                  : "within a row") +
                    ", after " + std::to_string(rows_) + " rows");
    if (rest.size() > 2) throw Refused("the input goes on after its end mark");
    return false;
  }

  [[noreturn]] void too_long(std::uint64_t most) const override {
    damaged("the next row is longer than " + std::to_string(most) + " bytes (--max-row)");
  }

 private:
  static std::uint32_t byte(char c) { return static_cast<unsigned char>(c); }
  static std::uint32_t short_number(std::string_view at) { return byte(at[0]) << 8 | byte(at[1]); }
  static std::uint32_t number(std::string_view at) { return short_number(at) << 16 | short_number(at.substr(2)); }

  [[noreturn]] void damaged(const std::string& how) const {
    throw Refused("the input is damaged after " + std::to_string(rows_) + " rows: " + how);
  }

  std::optional<std::uint32_t> columns_;
  std::uint32_t fields_ = 0;  // of this row, still to be passed
  std::size_t at_ = 0;        // in this row
  std::uint64_t rows_ = 0;
  bool ended_ = false;
};

class TextRows : public Rows {
 public:
  /// @param quotes    csv: newlines within quotes do not end a row
  /// @param has_names the first line holds the columns' names
  TextRows(bool quotes, bool has_names) : quotes_(quotes), has_names_(has_names) {}

  std::string format() const override { return quotes_ ? "csv" : "text"; }

  std::optional<std::size_t> header(std::string_view start) override {
    if (!has_names_) return 0;
    return row_end(start);
  }

  std::optional<std::size_t> row_end(std::string_view rest) override {
    while (at_ < rest.size()) {
      if (!quotes_ || !within_) {
        const std::size_t newline = find(rest, '\n', at_);
        const std::size_t quote = quotes_ ? find(rest.substr(0, newline), '"', at_) : newline;
        if (quote < newline) {
          within_ = true;
          at_ = quote + 1;
          continue;
        }
        if (newline == rest.size()) {
          at_ = newline;
          return std::nullopt;
        }
        at_ = 0;
        ++rows_;
        return newline + 1;
      }
      const std::size_t quote = find(rest, '"', at_);
      if (quote == rest.size()) {
        at_ = quote;
        return std::nullopt;
      }
      within_ = false;  // a doubled quote begins again at once
      at_ = quote + 1;
    }
    return std::nullopt;
  }

  void pass_over(std::uint64_t rows) override { rows_ += rows; }
  std::string trailer() const override { return {}; }

  bool finish(std::string_view rest) const override {
    if (within_) throw Refused("the input is cut short: it ends within quotes, which began in row " + row());
    if (rest.empty()) return false;
    if (rest.find('\r') != rest.npos)
      throw Refused("row " + row() + " has a carriage return: lines must end with LF or CR LF");
    if (!quotes_) throw Refused("the input is cut short: its last line has no newline");
    return true;
  }

  [[noreturn]] void too_long(std::uint64_t most) const override {
    throw Refused("row " + row() + " is longer than " + std::to_string(most) + " bytes (--max-row)" +
                  (within_ ? ": a quote in it does not close" : ""));
  }

 private:
  static std::size_t find(std::string_view text, char c, std::size_t from) {
    const void* found = from < text.size() ? std::memchr(text.data() + from, c, text.size() - from) : nullptr;
    return found == nullptr ? text.size() : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
  }

  std::string row() const { return std::to_string(rows_ + 1); }

  bool quotes_, has_names_;
  std::uint64_t rows_ = 0;  // lines of the table so far, that of the names too
  bool within_ = false;     // quotes
  std::size_t at_ = 0;      // in this row
};

inline std::unique_ptr<Rows> make_rows(const std::string& format, bool has_names) {
  if (format == "binary") return std::make_unique<BinaryRows>();
  return std::make_unique<TextRows>(format == "csv", has_names);
}

}  // namespace table_export
