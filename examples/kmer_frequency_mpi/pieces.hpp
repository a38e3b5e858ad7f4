// SPDX-License-Identifier: MIT
//
// Which rank reads what: a file of FASTA, or of FASTQ with four lines a record, is cut where records begin; any other,
// what is packed above all, goes whole to one rank.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kmer_frequency/rows.hpp"
#include "support/errors.hpp"
#include "support/inputs.hpp"

namespace kmer_frequency {

/// A file's text, looked at here and there.
class Glance {
 public:
  /// @throws support::Refused
  explicit Glance(const std::string& name)
      : name_(name), file_(support::open_input(name)), window_(std::size_t{1} << 16) {
    struct stat facts {};
    ::fstat(file_.get(), &facts);
    if (!S_ISREG(facts.st_mode)) throw support::Refused("\"" + name + "\" is no regular file, which ranks could share");
    size_ = static_cast<std::uint64_t>(facts.st_size);
  }

  std::uint64_t size() const { return size_; }
  /// 0 behind the end.
  char at(std::uint64_t offset) { return offset < size_ && load(offset) ? window_[offset - from_] : '\0'; }
  /// Where the line begins that comes behind that of `offset`; the size where there is none.
  std::uint64_t next_line(std::uint64_t offset) {
    while (offset < size_ && load(offset)) {
      const char* const begin = window_.data() + (offset - from_);
      const std::size_t n = loaded_ - static_cast<std::size_t>(offset - from_);
      if (const void* const end = std::memchr(begin, '\n', n))
        return offset + static_cast<std::uint64_t>(static_cast<const char*>(end) - begin) + 1;
      offset += n;
    }
    return size_;
  }

  /// Whether it can be cut.
  bool has_plain_records() {
    if (at(0) == '>') return true;
    return at(0) == '@' && begins_record(0) && (fourth_line(0) == size_ || begins_record(fourth_line(0)));
  }
  /// Where the first record begins that does not begin before `offset`; the size where there is none.
  /// @pre it can be cut
  std::uint64_t next_record(std::uint64_t offset) {
    if (offset == 0) return 0;
    std::uint64_t line = next_line(offset - 1);
    while (line < size_ && !begins_record(line)) line = next_line(line);
    return line;
  }

 private:
  // Qualities may begin with @, but the second line behind them is a sequence.
  bool begins_record(std::uint64_t line) {
    if (at(0) == '>') return at(line) == '>';
    return at(line) == '@' && at(next_line(next_line(line))) == '+';
  }
  std::uint64_t fourth_line(std::uint64_t line) {
    for (int i = 0; i < 4; ++i) line = next_line(line);
    return line;
  }

  bool load(std::uint64_t offset) {
    if (offset >= from_ && offset < from_ + loaded_) return true;
    const ssize_t n = ::pread(file_.get(), window_.data(), window_.size(), static_cast<off_t>(offset));
    if (n < 0) throw support::Refused("cannot read \"" + name_ + "\": " + support::text_of(errno));
    from_ = offset;
    loaded_ = static_cast<std::size_t>(n);
    return n > 0;
  }

  std::string name_;
  support::File file_;
  std::vector<char> window_;
  std::uint64_t size_ = 0, from_ = 0;
  std::size_t loaded_ = 0;
};

/// What each of n ranks reads: about as many bytes of text each, and each record once.
/// @throws support::Refused
inline std::vector<Share> shares_of(const std::vector<std::string>& files, unsigned n) {
  constexpr std::uint64_t packed_as = 4;  // bytes of text for one that is packed
  struct Whole {
    std::string file;
    std::uint64_t bytes;
  };
  std::vector<Whole> wholes;
  std::vector<std::string> cut;
  std::uint64_t bytes = 0;
  for (const std::string& file : files) {
    Glance glance(file);
    if (!glance.has_plain_records()) {
      wholes.push_back({file, glance.size() * (glance.at(0) == '\x1f' ? packed_as : 1)});
      continue;
    }
    bytes += glance.size();
    cut.push_back(file);
  }
  std::vector<Share> shares(n);
  std::vector<std::uint64_t> load(n);
  std::stable_sort(wholes.begin(), wholes.end(), [](const Whole& a, const Whole& b) { return a.bytes > b.bytes; });
  for (const Whole& whole : wholes) {
    const auto least = static_cast<std::size_t>(std::min_element(load.begin(), load.end()) - load.begin());
    shares[least].pieces.push_back({whole.file});
    load[least] += whole.bytes;
  }
  // The level up to which what can be cut fills all.
  std::vector<std::uint64_t> sorted = load;
  std::sort(sorted.begin(), sorted.end());
  std::uint64_t level = 0, below = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    below += sorted[i];
    level = (below + bytes + i) / (i + 1);
    if (i + 1 == sorted.size() || level <= sorted[i + 1]) break;
  }
  std::vector<std::uint64_t> ends(n);  // of each rank's part of all that can be cut
  std::uint64_t end_of_all = 0;
  for (unsigned r = 0; r < n; ++r) ends[r] = end_of_all += level - std::min(level, load[r]);
  ends[n - 1] = bytes;
  std::uint64_t before = 0;
  for (const std::string& file : cut) {
    Glance glance(file);
    std::uint64_t begin = 0;
    for (unsigned r = 0; r < n; ++r) {
      const std::uint64_t wanted = std::min(ends[r] - std::min(ends[r], before), glance.size());
      const std::uint64_t end = wanted <= begin ? begin : glance.next_record(wanted);
      if (begin < end) shares[r].pieces.push_back({file, begin, end});
      begin = end;
    }
    before += glance.size();
  }
  return shares;
}

}  // namespace kmer_frequency
