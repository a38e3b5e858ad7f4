// SPDX-License-Identifier: MIT
//
// Sequences of FASTA and FASTQ, plain, gzipped or BGZF: all of the input, or a word why not.
//
// Lines end with LF, CR LF or CR. Blanks in a sequence are dropped, U is T, and what is neither a base nor one of
// IUPAC's letters breaks it; each is counted. What cannot be read whole is an error: a record of FASTQ that is cut or
// has other qualities than bases, junk between its records or between members of gzip, a stream without its end.
// Sequences are read bit by bit: no length of a line is too long. What is plain can be taken as it stands, many rows at
// once; what is not, is read letter by letter.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "errors.hpp"
#include "gzip_member.hpp"
#include "plain_text.hpp"
#include "streams.hpp"

namespace support {

/// Where bytes come from.
class ByteSource {
 public:
  ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;
  virtual ~ByteSource() = default;
  /// Some bytes; 0 at the end. @throws Refused
  virtual std::size_t read(char* to, std::size_t size) = 0;
};

/// An open file, or the next so many bytes of it. Somebody else may have reading given up, also where it waits.
class FileSource : public ByteSource {
 public:
  FileSource(std::string name, const File& file, const std::atomic<bool>* given_up = nullptr, int alarm = -1,
             std::uint64_t most = ~std::uint64_t{0})
      : name_(std::move(name)), fd_(file.get()), given_up_(given_up), alarm_(alarm), most_(most) {}

  std::size_t read(char* to, std::size_t size) override;
  std::uint64_t bytes_read() const { return bytes_; }

 private:
  std::string name_;
  int fd_;
  const std::atomic<bool>* given_up_;
  int alarm_;
  std::uint64_t most_;
  std::uint64_t bytes_ = 0;
};

/// The sequences of one file.
class Sequences {
 public:
  /// @param name for words about it
  /// @param by   what unpacks gzip
  Sequences(std::string name, ByteSource& source, Unpacker by = best_unpacker());
  Sequences(const Sequences&) = delete;
  Sequences& operator=(const Sequences&) = delete;
  ~Sequences();

  /// Goes to the next sequence. @returns false: there is no further one @throws Refused
  bool next();
  /// Appends more of this sequence's letters, at most so many. @returns whether there may be more of it @throws Refused
  bool read(std::string& letters, std::size_t most);

  /// Moves text as it stands to `to`, up to so many bytes, as far as it is plain: whole records of FASTQ; of FASTA whole
  /// rows where one ends there, else a part of one. Letters of IUPAC's in it are the caller's to count.
  /// @returns nothing, and nothing has changed, where what follows is not plain: `next()` or `read()` it
  /// @throws Refused
  std::optional<PlainText> take_plain(char* to, std::size_t most);
  bool is_fastq() const { return is_fastq_; }
  /// Within a sequence, more of which may come.
  bool in_row() const { return in_row_; }

  /// What was found in it that a user should know, each a line.
  std::vector<std::string> notices() const;
  /// How many letters of IUPAC's that are no bases: N, R, ...; they are in no k-mer.
  const std::array<std::uint64_t, 256>& other_letters() const { return other_letters_; }
  /// Why there was no sequence in it; empty when there was one.
  std::string why_none() const;

 private:
  class Text;

  [[noreturn]] void fail(const std::string& what) const;
  void begin();
  void skip_blank_lines();
  void skip_name();
  void read_qualities();
  void end_line();

  std::string name_;
  std::unique_ptr<Text> text_;
  bool begun_ = false, is_fastq_ = false, any_ = false, any_text_ = false;
  bool at_line_start_ = true, in_row_ = false;
  char before_ = '\n';                    // the byte before
  std::uint64_t line_ = 1, letters_ = 0;  // of this row
  std::string row_name_;

  std::array<std::uint64_t, 256> other_letters_{}, signs_{};
  std::uint64_t us_ = 0, controls_ = 0;
  bool no_last_line_end_ = false;
};

}  // namespace support
