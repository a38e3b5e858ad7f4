// SPDX-License-Identifier: MIT
#include "sequences.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <utility>

namespace support {
namespace {

constexpr std::size_t buffer_size = std::size_t{1} << 17;

std::string quote(const std::string& name) { return "\"" + name + "\""; }

/// Members of gzip, one after the other: all of them, to the last byte.
class Inflating {
 public:
  Inflating(std::string name, ByteSource& source, Unpacker by)
      : name_(std::move(name)), source_(source), member_(GzipMember::make(by)), in_(buffer_size, '\0') {}

  /// What was read already to see what it is.
  void push(std::string_view start) {
    start.copy(in_.data(), start.size());
    end_ = start.size();
  }

  std::size_t read(char* to, std::size_t size) {
    for (;;) {
      if (!in_member_ && !begin_member()) return 0;
      if (at_ == end_) fill();
      const GzipMember::Step step = member_->unpack(in_.data() + at_, end_ - at_, to, size);
      at_ += step.used;
      made_ += step.made;
      if (!step.why.empty())
        throw Refused("cannot read " + quote(name_) + ": its gzip stream is damaged near byte " +
                      std::to_string(offset()) + " (" + step.why + ")");
      if (step.ended) {
        in_member_ = false;
        last_is_empty_ = made_ == 0;
      } else if (at_ == end_ && ended_ && step.made < size) {
        throw Refused(quote(name_) + " is truncated: its gzip stream has no end");
      }
      if (step.made > 0) return step.made;
    }
  }

  std::uint64_t zeros_after() const { return zeros_; }

 private:
  std::uint64_t offset() const { return before_ + at_; }

  bool fill() {
    if (ended_) return false;
    if (at_ > 0) {
      std::memmove(in_.data(), in_.data() + at_, end_ - at_);
      before_ += at_;
      end_ -= at_;
      at_ = 0;
    }
    const std::size_t n = source_.read(in_.data() + end_, in_.size() - end_);
    ended_ = n == 0;
    end_ += n;
    return n > 0;
  }

  bool begin_member() {
    constexpr std::size_t header = 18;  // of a block of BGZF
    while (end_ - at_ < header && fill()) {
    }
    const std::string_view rest(in_.data() + at_, end_ - at_);
    if (rest.empty()) {
      if (is_bgzf_ && !last_is_empty_)
        throw Refused(quote(name_) + " is truncated: the empty block that ends BGZF is missing");
      return false;
    }
    if (members_ > 0 && rest[0] == '\0') return skip_zeros();
    if (!rest.starts_with("\x1f\x8b"))
      throw Refused(quote(name_) + " is damaged: what begins at byte " + std::to_string(offset()) +
                    ", after a member of gzip, is none");
    if (members_++ == 0)
      is_bgzf_ = rest.size() >= header && (static_cast<unsigned char>(rest[3]) & 4) != 0 && rest.substr(12, 2) == "BC";
    member_->begin();
    made_ = 0;
    in_member_ = true;
    return true;
  }

  // Tapes fill their last block.
  bool skip_zeros() {
    do {
      for (; at_ < end_; ++at_, ++zeros_)
        if (in_[at_] != '\0')
          throw Refused(quote(name_) + " is damaged: what begins at byte " + std::to_string(offset()) +
                        ", after zeros, is no member of gzip");
    } while (fill());
    return false;
  }

  std::string name_;
  ByteSource& source_;
  std::unique_ptr<GzipMember> member_;
  std::string in_;
  std::size_t at_ = 0, end_ = 0;
  std::uint64_t before_ = 0, zeros_ = 0, members_ = 0, made_ = 0;
  bool ended_ = false, in_member_ = false, is_bgzf_ = false, last_is_empty_ = false;
};

enum class Kind : std::uint8_t { base, uracil, iupac, blank, line_end, sign };

constexpr auto kinds = [] {
  std::array<Kind, 256> all{};
  all.fill(Kind::sign);
  for (const char c : {' ', '\t', '\v', '\f'}) all[static_cast<unsigned char>(c)] = Kind::blank;
  for (const char c : {'\n', '\r'}) all[static_cast<unsigned char>(c)] = Kind::line_end;
  for (const unsigned lower : {0U, 32U}) {
    for (const char c : {'R', 'Y', 'S', 'W', 'K', 'M', 'B', 'D', 'H', 'V', 'N'})
      all[static_cast<unsigned char>(c) + lower] = Kind::iupac;
    for (const char c : {'A', 'C', 'G', 'T'}) all[static_cast<unsigned char>(c) + lower] = Kind::base;
    all['U' + lower] = Kind::uracil;
  }
  return all;
}();

Kind kind_of(char c) { return kinds[static_cast<unsigned char>(c)]; }

/// How many of the first are bases. Sixteen at a time, which a compiler does at once.
std::size_t bases_at(const char* text, std::size_t size) {
  std::size_t n = 0;
  for (; size - n >= 16; n += 16) {
    unsigned char others = 0;
    for (std::size_t i = 0; i < 16; ++i) {
      const auto upper = static_cast<unsigned char>(text[n + i] & 0xdf);
      others |= static_cast<unsigned char>((upper != 'A') & (upper != 'C') & (upper != 'G') & (upper != 'T'));
    }
    if (others != 0) break;
  }
  while (n < size && kind_of(text[n]) == Kind::base) ++n;
  return n;
}

std::string shown(unsigned char c) {
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), c > 0x20 && c < 0x7f ? "%c" : "0x%02x", c);
  return text.data();
}

}  // namespace

std::size_t FileSource::read(char* to, std::size_t size) {
  const ssize_t n = read_some(fd_, to, static_cast<std::size_t>(std::min<std::uint64_t>(size, most_ - bytes_)), alarm_);
  if (given_up_ != nullptr && *given_up_) throw GivenUp{};
  if (n < 0) throw Refused("cannot read " + quote(name_) + ": " + text_of(errno));
  bytes_ += static_cast<std::uint64_t>(n);
  return static_cast<std::size_t>(n);
}

/// The text, unpacked.
class Sequences::Text {
 public:
  Text(const std::string& name, ByteSource& source, Unpacker by)
      : name_(name), source_(source), by_(by), buffer_(buffer_size, '\0') {}

  /// More of it when all was used. False: that was all.
  bool more() {
    if (at_ < end_) return true;
    if (!begun_) return begin();
    at_ = end_ = 0;
    end_ = read(buffer_.data(), buffer_.size());
    return end_ > 0;
  }

  /// Moves up to so many bytes of it; `ended` says that those are the last.
  std::size_t take(char* to, std::size_t most, bool& ended) {
    std::size_t n = std::min(size(), most);
    std::memcpy(to, data(), n);
    use(n);
    ended = false;
    try {
      while (n < most && !ended) {
        const std::size_t more = read(to + n, most - n);
        ended = more == 0;
        n += more;
      }
    } catch (...) {
      if (n == 0) throw;
      failure_ = std::current_exception();  // after what came before it
    }
    return n;
  }
  /// What was taken last is what comes next.
  void give_back(std::string_view bytes) {
    std::string next(bytes);
    next.append(data(), size());
    at_ = 0;
    end_ = next.size();
    if (buffer_.size() < next.size()) buffer_.resize(next.size());
    next.copy(buffer_.data(), next.size());
  }

  const char* data() const { return buffer_.data() + at_; }
  std::size_t size() const { return end_ - at_; }
  char front() const { return buffer_[at_]; }
  void use(std::size_t n) { at_ += n; }

  std::uint64_t zeros_after() const { return inflating_ ? inflating_->zeros_after() : 0; }

 private:
  bool begin() {
    begun_ = true;
    while (end_ < 3) {
      const std::size_t n = source_.read(buffer_.data() + end_, buffer_.size() - end_);
      if (n == 0) break;
      end_ += n;
    }
    if (std::string_view(data(), size()).starts_with("\x1f\x8b")) {
      inflating_.emplace(name_, source_, by_);
      inflating_->push({data(), size()});
      end_ = 0;
      while (end_ < 3) {
        const std::size_t n = inflating_->read(buffer_.data() + end_, buffer_.size() - end_);
        if (n == 0) break;
        end_ += n;
      }
    }
    if (std::string_view(data(), size()).starts_with("\xef\xbb\xbf")) at_ = 3;  // a byte-order mark
    return more();
  }

  std::size_t read(char* to, std::size_t size) {
    if (failure_) std::rethrow_exception(failure_);
    return inflating_ ? inflating_->read(to, size) : source_.read(to, size);
  }

  const std::string& name_;
  ByteSource& source_;
  Unpacker by_;
  std::optional<Inflating> inflating_;
  std::string buffer_;
  std::size_t at_ = 0, end_ = 0;
  bool begun_ = false;
  std::exception_ptr failure_;
};

Sequences::Sequences(std::string name, ByteSource& source, Unpacker by)
    : name_(std::move(name)), text_(std::make_unique<Text>(name_, source, by)) {}

Sequences::~Sequences() = default;

void Sequences::fail(const std::string& what) const {
  throw Refused(quote(name_) + ", line " + std::to_string(line_) + ": " + what);
}

/// The text's next byte ends a line.
void Sequences::end_line() {
  const char c = text_->front();
  if (!(c == '\n' && before_ == '\r')) ++line_;
  before_ = c;
  text_->use(1);
  at_line_start_ = true;
}

void Sequences::skip_blank_lines() {
  while (text_->more()) {
    const Kind kind = kind_of(text_->front());
    if (kind == Kind::line_end)
      end_line();
    else if (kind == Kind::blank)
      text_->use(1);
    else
      return;
  }
}

void Sequences::begin() {
  begun_ = true;
  any_text_ = text_->more();
  skip_blank_lines();
  if (!text_->more()) return;
  is_fastq_ = text_->front() == '@';
  if (!is_fastq_ && text_->front() != '>')
    throw Refused(quote(name_) + " is neither FASTA nor FASTQ: it does not begin with '>' or '@'");
}

void Sequences::skip_name() {
  row_name_.clear();
  before_ = text_->front();
  text_->use(1);
  while (text_->more()) {
    const char* const text = text_->data();
    std::size_t n = 0;
    for (; n < text_->size() && text[n] != '\n' && text[n] != '\r'; ++n)
      controls_ += (static_cast<unsigned char>(text[n]) < 0x20 && text[n] != '\t') || text[n] == 0x7f;
    if (row_name_.size() < 60) row_name_.append(text, std::min<std::size_t>(n, 60 - row_name_.size()));
    const bool ends = n < text_->size();
    text_->use(n);
    if (!ends) continue;
    before_ = '\0';
    return end_line();
  }
  no_last_line_end_ = true;
}

bool Sequences::next() {
  for (std::string rest; in_row_;) {
    rest.clear();
    in_row_ = read(rest, buffer_size);
  }
  if (!begun_) begin();
  skip_blank_lines();
  if (!text_->more()) return false;
  if (is_fastq_ && text_->front() != '@')
    fail("junk between records: a record of FASTQ begins with '@', and this line does not");
  skip_name();
  any_ = in_row_ = true;
  letters_ = 0;
  return true;
}

bool Sequences::read(std::string& letters, std::size_t most) {
  std::size_t before = letters.size();
  const auto counted = [&] { letters_ += letters.size() - std::exchange(before, letters.size()); };
  const std::size_t full = letters.size() + most;
  while (in_row_ && text_->more()) {
    const char c = text_->front();
    if (at_line_start_) {
      if (is_fastq_ ? c == '+' : c == '>') {
        counted();
        in_row_ = false;
        if (is_fastq_) read_qualities();
        return false;
      }
      at_line_start_ = kind_of(c) == Kind::line_end;
    }
    switch (kind_of(c)) {
      case Kind::base: {
        if (letters.size() == full) {
          counted();
          return true;
        }
        const std::size_t n = bases_at(text_->data(), std::min(text_->size(), full - letters.size()));
        letters.append(text_->data(), n);
        text_->use(n);
        before_ = 'A';
        continue;
      }
      case Kind::line_end:
        end_line();
        continue;
      case Kind::blank:
        break;
      case Kind::uracil:
        ++us_;
        letters += c == 'U' ? 'T' : 't';
        break;
      case Kind::iupac:
        ++other_letters_[static_cast<unsigned char>(c)];
        letters += 'N';
        break;
      case Kind::sign:
        ++signs_[static_cast<unsigned char>(c)];
        letters += 'N';
        break;
    }
    before_ = c;
    text_->use(1);
    if (letters.size() >= full) {
      counted();
      return true;
    }
  }
  if (in_row_ && is_fastq_)
    throw Refused(quote(name_) + " is truncated: it ends within the record \"" + row_name_ + "\"");
  if (!at_line_start_) no_last_line_end_ = true;
  in_row_ = false;
  return false;
}

std::optional<PlainText> Sequences::take_plain(char* to, std::size_t most) {
  if (!begun_ || before_ == '\r' || (is_fastq_ && in_row_)) return std::nullopt;
  bool ended = false;
  const std::string_view text(to, text_->take(to, most, ended));
  PlainText plain;
  if (in_row_ || (!text.empty() && text[0] == (is_fastq_ ? '@' : '>')))
    plain = is_fastq_ ? plain_fastq(text) : plain_fasta(text, at_line_start_, ended);
  // A little of it is not worth a call.
  const bool is_enough = plain.size > 0 && (plain.size >= most / 128 || (ended && plain.size == text.size()));
  if (!is_enough) plain.size = 0;
  if (plain.size < text.size()) text_->give_back(text.substr(plain.size));
  if (!is_enough) return std::nullopt;
  const bool ends_line = text[plain.size - 1] == '\n';
  line_ += plain.lines;
  any_ = true;
  in_row_ = plain.goes_on;
  at_line_start_ = ends_line || !plain.goes_on;
  before_ = ends_line ? '\n' : 'A';
  return plain;
}

void Sequences::read_qualities() {
  const std::string named = row_name_;
  skip_name();  // the line of the '+'
  row_name_ = named;
  std::uint64_t left = letters_;
  bool blank_line = false;
  while (text_->more()) {
    const char c = text_->front();
    const Kind kind = kind_of(c);
    if (kind == Kind::line_end) {
      blank_line = !(c == '\n' && before_ == '\r');
      end_line();
      if (left == 0 && blank_line) break;
      continue;
    }
    before_ = c;
    if (kind == Kind::blank) {
      text_->use(1);
      continue;
    }
    if (left == 0) {
      if (letters_ == 0 && at_line_start_) break;
      fail("the qualities of \"" + row_name_ + "\" are more than its bases");
    }
    at_line_start_ = false;
    const char* const text = text_->data();
    const std::size_t most = static_cast<std::size_t>(std::min<std::uint64_t>(text_->size(), left));
    std::size_t n = 0;
    while (n < most && kind_of(text[n]) != Kind::line_end && kind_of(text[n]) != Kind::blank) ++n;
    left -= n;
    text_->use(n);
  }
  if (left > 0)
    throw Refused(quote(name_) + " is truncated: the qualities of \"" + row_name_ + "\" are not as many as its bases");
  at_line_start_ = true;
}

std::string Sequences::why_none() const {
  if (any_) return {};
  if (!any_text_) return quote(name_) + " is empty";
  return quote(name_) + " is neither FASTA nor FASTQ: it has no sequences";
}

std::vector<std::string> Sequences::notices() const {
  std::vector<std::string> all;
  const auto say = [&](const std::string& what) { all.push_back(quote(name_) + ": " + what); };
  std::uint64_t signs = 0;
  std::string which;
  for (std::size_t c = 0; c < signs_.size(); ++c) {
    if (signs_[c] == 0) continue;
    signs += signs_[c];
    which += (which.empty() ? "" : ", ") + shown(static_cast<unsigned char>(c)) + " " + std::to_string(signs_[c]);
  }
  if (signs > 0) say(plural(signs, "sign") + " within sequences that no sequence has, in no k-mer: " + which);
  if (us_ > 0) say("U is read as T, " + plural(us_, "time"));
  if (controls_ > 0) say("names have " + plural(controls_, "control character") + ": is a line end damaged?");
  if (no_last_line_end_ && !is_fastq_) say("its last line has no end: it may have been cut there");
  if (text_->zeros_after() > 0) say(plural(text_->zeros_after(), "zero byte") + " after the last member of gzip");
  return all;
}

}  // namespace support
