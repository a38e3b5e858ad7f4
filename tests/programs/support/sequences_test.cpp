// SPDX-License-Identifier: MIT
//
// Nothing of an input is passed over without a word: each byte damaged, each length cut.
#include "support/sequences.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

namespace {

class Memory : public support::ByteSource {
 public:
  explicit Memory(std::string bytes, std::size_t at_a_time = 1 << 20)
      : bytes_(std::move(bytes)), at_a_time_(at_a_time) {}
  std::size_t read(char* to, std::size_t size) override {
    const std::size_t n = bytes_.copy(to, std::min(size, at_a_time_), at_);
    at_ += n;
    return n;
  }

 private:
  std::string bytes_;
  std::size_t at_a_time_, at_ = 0;
};

/// Of each 4-mer, spelled by digits of base 4.
using Counts = std::array<int, 256>;

/// The k-mers of a row.
void count(const std::string& row, Counts& counts) {
  constexpr std::string_view letters = "ACGT";
  unsigned kmer = 0, length = 0;
  for (const char c : row) {
    const std::size_t digit = letters.find(static_cast<char>(c & ~0x20));
    kmer = (kmer * 4 + static_cast<unsigned>(digit)) % 256;
    length = digit == letters.npos ? 0 : length + 1;
    if (length >= 4) ++counts[kmer];
  }
}

/// What comes of an input: counts, or an error; and what is said of it.
struct Outcome {
  std::optional<std::string> error;
  Counts counts{};
  std::set<std::string> said;
};

Outcome read(const std::string& bytes, std::size_t at_a_time = 1 << 20, std::size_t most = 1 << 20,
             support::Unpacker by = support::best_unpacker()) {
  Outcome outcome;
  Memory memory(bytes, at_a_time);
  support::Sequences sequences("f", memory, by);
  try {
    while (sequences.next()) {
      std::string row;
      while (sequences.read(row, most)) {
      }
      count(row, outcome.counts);
    }
  } catch (const support::Refused& error) {
    outcome.error = error.what();
    return outcome;
  }
  if (!sequences.why_none().empty()) outcome.error = sequences.why_none();
  for (const std::string& notice : sequences.notices()) outcome.said.insert(notice);
  for (std::size_t c = 0; c < 256; ++c)
    if (sequences.other_letters()[c] > 0)
      outcome.said.insert(std::to_string(c) + " " + std::to_string(sequences.other_letters()[c]));
  return outcome;
}

/// The same, taking what is plain as it stands, up to `most` bytes at a time. `rows` and `letters` are what they are in
/// all, and how many were taken so.
struct Taken {
  Outcome outcome;
  std::uint64_t rows = 0, letters = 0, plain_rows = 0;
};
Taken read_plain_text(const std::string& bytes, std::size_t most, std::size_t at_a_time = 1 << 20) {
  Taken taken;
  Memory memory(bytes, at_a_time);
  support::Sequences sequences("f", memory);
  std::string row, text(most, ' ');
  bool within = false;
  std::array<std::uint64_t, 256> others{};
  const auto end_row = [&] {
    count(row, taken.outcome.counts);
    taken.letters += row.size();
    ++taken.rows;
    row.clear();
  };
  try {
    for (;;) {
      if (const auto plain = sequences.take_plain(text.data(), most)) {
        std::uint64_t rows = 0, letters = 0, lines = 0;
        for (std::size_t at = 0; at < plain->size; ++lines) {
          const std::size_t end = std::min(text.find('\n', at), plain->size);
          lines -= end == plain->size;
          const std::string line = text.substr(at, end - at);
          at = end + 1;
          if (sequences.is_fastq() ? lines % 4 == 0 : line.starts_with('>')) {
            if (within) end_row();
            within = true;
            ++rows;
          } else if (!sequences.is_fastq() || lines % 4 == 1) {
            row += line;
            letters += line.size();
            support::count_no_bases(line, others);
          }
        }
        if (within && !plain->goes_on) end_row();
        within = plain->goes_on;
        CHECK(within == sequences.in_row());
        CHECK((plain->rows == rows && plain->letters == letters && plain->lines == lines));
        taken.plain_rows += rows;
      } else {
        if (!within && !sequences.next()) break;
        within = sequences.read(row, 5);
        if (!within) end_row();
      }
    }
  } catch (const support::Refused& error) {
    taken.outcome.error = error.what();
    return taken;
  }
  if (!sequences.why_none().empty()) taken.outcome.error = sequences.why_none();
  for (const std::string& notice : sequences.notices()) taken.outcome.said.insert(notice);
  for (std::size_t c = 0; c < 256; ++c)
    if (const std::uint64_t n = sequences.other_letters()[c] + others[c]; n > 0)
      taken.outcome.said.insert(std::to_string(c) + " " + std::to_string(n));
  return taken;
}

/// As many tools read: lines, and no questions.
Outcome read_carelessly(const std::string& bytes) {
  Outcome outcome;
  std::string row;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\n', at), bytes.size());
    if (bytes[at] == '>') {
      count(row, outcome.counts);
      row.clear();
    } else {
      row += bytes.substr(at, end - at);
    }
    at = end + 1;
  }
  count(row, outcome.counts);
  return outcome;
}

/// What unpacks gzip here.
std::vector<support::Unpacker> unpackers() {
  std::vector<support::Unpacker> all{support::Unpacker::zlib};
  if (support::has_isal()) all.push_back(support::Unpacker::isal);
  return all;
}

using Reader = std::function<Outcome(const std::string&)>;

/// Whether a user of the damaged input knows, or need not know.
bool is_well(const Outcome& outcome, const Outcome& whole) {
  return outcome.error || outcome.counts == whole.counts || outcome.said != whole.said;
}

using Exempt = std::function<bool(std::size_t)>;
const Exempt none = [](std::size_t) { return false; };

/// Positions at which damage passes in silence, save those that are exempt; `exempt` counts these.
std::vector<std::size_t> unnoticed_damage(const std::string& whole, const Reader& reader, const Exempt& is_exempt,
                                          std::size_t& exempt) {
  std::vector<std::size_t> found;
  const Outcome expected = reader(whole);
  for (std::size_t i = 0; i < whole.size(); ++i)
    for (const int mask : {0x01, 0xff}) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      if (mask == 0xff && is_exempt(i))
        ++exempt;
      else if (!is_well(reader(damaged), expected))
        found.push_back(i);
    }
  return found;
}

std::vector<std::size_t> unnoticed_cuts(const std::string& whole, const Reader& reader, const Exempt& is_exempt,
                                        std::size_t& exempt) {
  std::vector<std::size_t> found;
  const Outcome expected = reader(whole);
  for (std::size_t size = 0; size < whole.size(); ++size)
    if (is_exempt(size))
      ++exempt;
    else if (!is_well(reader(whole.substr(0, size)), expected))
      found.push_back(size);
  return found;
}

const std::string fasta =
    ">first of three\nACGTACGTTGCANNACGTAGGCT\nTTGACCAGTAGGACCATTAG\n>second\nacgtgcatgcaagctagctaRYacgtagct\n"
    ">the third, a longer one\nGGCATTAGCCATGACGATCGATCGATTAGGCTA\nCCCGATAGGCTTATCGAGAGAGGATCTTAGGA\nTTAGC\n";
const std::string fastq =
    "@read1 of a run\nACGTACGTTGCANNACGTAGGCT\n+\nIIIIIIIIIIIIIIIII@III>I\n@read2\nTTGACCAGTAGGACCATTAG\n+read2\n"
    "+IIIIIIIIIIII!IIIIII\n@read3\nacgtgcatgcaagctagcta\n+\n@III#IIIIIIIIIIIIIII\n";

std::string with_cr(std::string text, bool and_lf) {
  std::string result;
  for (const char c : text) result += c == '\n' ? (and_lf ? "\r\n" : "\r") : std::string(1, c);
  return result;
}

std::string deflated(const std::string& text, bool bgzf) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, bgzf ? -15 : 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(text.size() + 200, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  if (!bgzf) return out;
  std::string block("\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0", 16);
  const auto put = [&block](std::uint64_t number, int bytes) {
    for (int i = 0; i < bytes; ++i) block += static_cast<char>(number >> (8 * i));
  };
  put(18 + out.size() + 8 - 1, 2);
  block += out;
  put(::crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())), 4);
  put(text.size(), 4);
  return block;
}

/// Where a line that is a name ends.
Exempt ends_of_names(const std::string& text) {
  return [&text](std::size_t i) {
    if (text[i] != '\n' && text[i] != '\r') return false;
    if (text[i] == '\n' && i > 0 && text[i - 1] == '\r') return false;
    const std::size_t before = text.find_last_of("\r\n", i - 1);
    return text[before == text.npos ? 0 : before + 1] == '>';
  };
}

Exempt after_lines(const std::string& text) {
  return [&text](std::size_t size) { return size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'); };
}

/// After each fourth line, its end or not.
Exempt after_records(const std::string& text) {
  return [&text](std::size_t size) {
    if (size == 0) return false;
    const std::string_view start(text.data(), size);
    auto lines = std::count(start.begin(), start.end(), '\n');
    if (start.back() == '\n') return lines % 4 == 0;
    if (text.substr(size, 1) == "\n" || text.substr(size, 2) == "\r\n") return lines % 4 == 3;
    return start.back() == '\r' && lines % 4 == 3;
  };
}

}  // namespace

TEST_CASE("no byte of FASTA can be damaged in silence, save the end of a name") {
  for (const std::string& text : {fasta, with_cr(fasta, true), with_cr(fasta, false)}) {
    std::size_t exempt = 0;
    CHECK(unnoticed_damage(
              text, [](const auto& b) { return read(b); }, ends_of_names(text), exempt)
              .empty());
    CHECK(exempt == 3);
  }
}

TEST_CASE("no byte of FASTQ can be damaged in silence") {
  for (const std::string& text : {fastq, with_cr(fastq, true), with_cr(fastq, false)}) {
    std::size_t exempt = 0;
    CHECK(unnoticed_damage(
              text, [](const auto& b) { return read(b); }, none, exempt)
              .empty());
    CHECK(exempt == 0);
  }
}

TEST_CASE("FASTA cannot be cut in silence, save at the end of a line") {
  for (const std::string& text : {fasta, with_cr(fasta, true), with_cr(fasta, false)}) {
    std::size_t exempt = 0;
    CHECK(unnoticed_cuts(
              text, [](const auto& b) { return read(b); }, after_lines(text), exempt)
              .empty());
    const auto ends = std::count_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; });
    CHECK(exempt == static_cast<std::size_t>(ends - 1));
  }
}

TEST_CASE("FASTQ cannot be cut in silence, save at the end of a record") {
  std::size_t exempt = 0;
  CHECK(unnoticed_cuts(
            fastq, [](const auto& b) { return read(b); }, after_records(fastq), exempt)
            .empty());
  CHECK(exempt == 5);  // of three records, each with its newline or without it; the last with it is the whole
  const std::string crlf = with_cr(fastq, true);
  exempt = 0;
  CHECK(unnoticed_cuts(
            crlf, [](const auto& b) { return read(b); }, after_records(crlf), exempt)
            .empty());
  CHECK(exempt == 8);
}

TEST_CASE("no byte of gzip can be damaged in silence, and no cut but between members is silent") {
  for (const support::Unpacker by : unpackers())
    for (const std::string& text : {fasta, fastq}) {
      const Reader reader = [by](const std::string& bytes) { return read(bytes, 1 << 20, 1 << 20, by); };
      const std::string first = deflated(text, false), both = first + deflated(text, false);
      REQUIRE(reader(both).counts == read(text + text).counts);
      std::size_t exempt = 0;
      CHECK(unnoticed_damage(both, reader, none, exempt).empty());
      CHECK(unnoticed_cuts(
                both, reader, [&](std::size_t n) { return n == first.size(); }, exempt)
                .empty());
      CHECK(exempt == 1);
    }
}

TEST_CASE("no byte of BGZF can be damaged in silence, and no cut is silent") {
  for (const support::Unpacker by : unpackers())
    for (const std::string& text : {fasta, fastq}) {
      const Reader reader = [by](const std::string& bytes) { return read(bytes, 1 << 20, 1 << 20, by); };
      const std::string all =
          deflated(text.substr(0, 100), true) + deflated(text.substr(100), true) + deflated("", true);
      REQUIRE(reader(all).counts == read(text).counts);
      std::size_t exempt = 0;
      CHECK(unnoticed_damage(all, reader, none, exempt).empty());
      CHECK(unnoticed_cuts(all, reader, none, exempt).empty());
      CHECK(exempt == 0);
    }
}

TEST_CASE(
    "every unpacker gives the same, however small the pieces that members come in, and says where they are damaged") {
  std::mt19937_64 dice(14);
  std::string text;
  for (int i = 0; i < 4000; ++i) {
    text += ">row\n";
    for (int n = 0; n < 50; ++n) text += "ACGT"[dice() % 4];
    text += '\n';
  }
  std::string packed;
  for (std::size_t at = 0; at < text.size(); at += 70000) packed += deflated(text.substr(at, 70000), false);
  const Counts counts = read(text).counts;
  for (const support::Unpacker by : unpackers()) {
    for (const std::size_t at_a_time : {1U, 2U, 3U, 7U, 8U, 9U, 1000U, 1U << 20})
      CHECK((read(packed, at_a_time, 1 << 20, by).counts == counts));
    std::string damaged = packed;
    damaged[damaged.size() - 5] ^= 1;
    const Outcome outcome = read(damaged, 1 << 20, 1 << 20, by);
    CHECK(outcome.error.value_or("").find("cannot read \"f\": its gzip stream is damaged near byte ") == 0);
    CHECK(outcome.error.value_or("").find("incorrect ") != std::string::npos);
    CHECK(read(packed.substr(0, packed.size() - 3), 1 << 20, 1 << 20, by).error ==
          "\"f\" is truncated: its gzip stream has no end");
  }
}

TEST_CASE("a careless reader is found out: the control of the others") {
  std::size_t exempt = 0;
  CHECK(!unnoticed_damage(fasta, read_carelessly, ends_of_names(fasta), exempt).empty());
  CHECK(!unnoticed_cuts(fasta, read_carelessly, after_lines(fasta), exempt).empty());
}

TEST_CASE("what comes in pieces is read as what comes at once") {
  for (const std::string& text : {fasta, fastq, with_cr(fasta, true), with_cr(fastq, false), deflated(fasta, false)}) {
    const Outcome whole = read(text);
    REQUIRE(!whole.error);
    REQUIRE(std::ranges::count(whole.counts, 0) < 236);
    for (const std::size_t most : {1U, 2U, 3U, 7U, 64U}) {
      CHECK(read(text, most).counts == whole.counts);
      CHECK(read(text, 1 << 20, most).counts == whole.counts);
      CHECK(read(text, most, most).said == whole.said);
    }
  }
}

TEST_CASE("what is taken as it stands is what is read letter by letter, whatever was damaged or cut") {
  const auto agrees = [](const std::string& bytes, std::size_t most) {
    const Outcome slow = read(bytes);
    const Taken fast = read_plain_text(bytes, most);
    if (fast.outcome.error != slow.error) return false;
    return slow.error || (fast.outcome.counts == slow.counts && fast.outcome.said == slow.said);
  };
  std::string many;
  for (int i = 0; i < 12; ++i) many += fasta;
  std::string gapped = fasta;
  gapped.insert(30, std::string(40, 'N') + "-" + std::string(90, 'a'));
  for (const std::string& text :
       {fasta, fastq, with_cr(fasta, true), with_cr(fastq, false), many, many + "no end", gapped,
        ">a\n\n\nAC\n\nGT\n>\n>b\n" + fasta + ">empty\n", deflated(fasta, false), deflated(fastq, false)})
    for (const std::size_t most : {40U, 64U, 65U, 100U, 128U, 1000U, 100000U}) {
      CHECK(agrees(text, most));
#ifdef __OPTIMIZE__
      const std::size_t step = most == 65 ? 1 : 7;
#else
      const std::size_t step = most == 65 ? 11 : 47;  // the sanitizers' lanes: they look at memory
#endif
      for (std::size_t i = 0; i < text.size(); i += step) {
        if (!agrees(text.substr(0, i), most)) FAIL("cut at " << i << " of " << text);
        for (const int mask : {0x01, 0x20, 0xff}) {
          std::string damaged = text;
          damaged[i] = static_cast<char>(damaged[i] ^ mask);
          if (!agrees(damaged, most)) FAIL("damaged at " << i << " by " << mask << ": " << text);
        }
      }
    }
  CHECK(read_plain_text(many, 1000).plain_rows > 30);
  CHECK(read_plain_text(many, 1000).rows == 36);
  CHECK(read_plain_text(fastq + fastq, 10000).plain_rows == 5);
  CHECK(read_plain_text(deflated(fastq + fastq, false), 10000, 7).plain_rows == 5);
}

TEST_CASE("bytes are told apart by the processor's wide words as one by one") {
  std::mt19937_64 dice(11);
  for (int round = 0; round < 3000; ++round) {
    std::string text(1 + dice() % 300, ' ');
    const std::string_view of = round % 3 == 0 ? "ACGT\n>" : round % 3 == 1 ? "ACGTNRYacgtn\n" : "";
    for (char& c : text) c = of.empty() ? static_cast<char>(dice()) : of[dice() % of.size()];
    for (const bool at_start : {false, true})
      for (const bool is_all : {false, true}) {
        const auto a = support::plain_fasta(text, at_start, is_all, support::Simd::plain);
        const auto b = support::plain_fasta(text, at_start, is_all);
        CHECK((a.size == b.size && a.lines == b.lines && a.rows == b.rows && a.letters == b.letters &&
               a.goes_on == b.goes_on));
      }
    std::string records;
    for (int i = 0; i < 3; ++i) {
      const std::string row = round % 3 == 2 ? text.substr(0, dice() % 4) : std::string(text.size(), 'A');
      records += "@" + text.substr(0, dice() % 3) + "\n" + row + "\n+\n" + std::string(row.size(), 'I') + "\n";
    }
    const auto a = support::plain_fastq(records, support::Simd::plain), b = support::plain_fastq(records);
    CHECK((a.size == b.size && a.rows == b.rows && a.letters == b.letters));
    std::array<std::uint64_t, 256> c{}, d{};
    CHECK(support::count_no_bases(text, c, support::Simd::plain) == support::count_no_bases(text, d));
    CHECK(c == d);
  }
}

TEST_CASE("lines of any kind count the same") {
  for (const std::string& text : {fasta, fastq}) {
    const Counts counts = read(text).counts;
    CHECK(read(with_cr(text, true)).counts == counts);
    CHECK(read(with_cr(text, false)).counts == counts);
    CHECK(read("\xef\xbb\xbf" + text).counts == counts);
    CHECK(read("\n\r\n" + text + "\n\n").counts == counts);
  }
}

TEST_CASE("junk after a stream of gzip is an error, zeros are said") {
  const std::string packed = deflated(fasta, false);
  for (const support::Unpacker by : unpackers()) {
    const auto reading = [by](const std::string& bytes) { return read(bytes, 1 << 20, 1 << 20, by); };
    CHECK(reading(packed + fasta).error);
    CHECK(reading(packed + '\x1f').error);
    CHECK(reading(packed + std::string(100, '\0') + "x").error);
    const Outcome zeros = reading(packed + std::string(100, '\0'));
    CHECK(!zeros.error);
    CHECK(zeros.said != reading(packed).said);
  }
}
