// SPDX-License-Identifier: MIT
#include "sample.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <scratch/count_key.hpp>

#include "engine/kmer_stream.hpp"
#include "engine/minima.hpp"
#include "engine/packed.hpp"
#include "engine/super_kmer.hpp"
#include "engine/wide_super_kmer.hpp"
#include "key_type.hpp"
#include "row_keys.hpp"
#include "rows.hpp"
#include "support/inputs.hpp"
#include "support/sequences.hpp"

namespace kmer_frequency {
namespace {

/// A part of a file, behind a few bytes that make a row of what it begins with.
class Part : public support::ByteSource {
 public:
  Part(const std::string& name, const support::File& file, std::uint64_t begin, std::uint64_t size,
       std::string_view before)
      : before_(before), source_(name, file, nullptr, -1, size) {
    ::lseek(file.get(), static_cast<off_t>(begin), SEEK_SET);
  }

  std::size_t read(char* to, std::size_t size) override {
    if (before_.empty()) return source_.read(to, size);
    const std::size_t n = before_.copy(to, size);
    before_.remove_prefix(n);
    return n;
  }

 private:
  std::string_view before_;
  support::FileSource source_;
};

constexpr std::uint64_t least_of_file = 16 << 10;

using Visit = std::function<void(const Batch&)>;

/// All rows of a part. Where it ends within one, so does the row. Returns how many begin in it.
std::uint64_t visit_rows(const std::string& name, Part part, const Visit& visit) {
  constexpr std::size_t enough = 1 << 18;
  std::uint64_t rows = 0;
  Batch batch;
  const auto give = [&] {
    if (!batch.ends.empty()) visit(batch);
    batch.clear();
  };
  try {
    support::Sequences sequences(name, part);
    for (; sequences.next(); ++rows) {
      for (bool more = true; more;) {
        more = sequences.read(batch.bases, enough);
        batch.ends.push_back(batch.bases.size());
        if (batch.bases.size() >= enough) give();
      }
    }
  } catch (const support::Refused&) {  // it was cut; or the file is damaged, which who counts it says
  }
  give();
  return rows;
}

/// Where a line of FASTA, or a record of FASTQ, begins behind `from`; `from`, where none is near.
std::uint64_t next_beginning(const support::File& file, std::uint64_t from, bool is_fastq) {
  std::string near(1 << 16, '\0');
  const ssize_t n = ::pread(file.get(), near.data(), near.size(), static_cast<off_t>(from));
  near.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  for (std::size_t line = near.find('\n'); line++ != near.npos; line = near.find('\n', line)) {
    if (!is_fastq) return from + line;
    // Qualities may begin with @, but the second line behind them is a sequence.
    const std::size_t second = near.find('\n', line),
                      third = second == near.npos ? second : near.find('\n', second + 1);
    if (third != near.npos && near[line] == '@' && near[third + 1] == '+') return from + line;
  }
  return from;
}

/// How many times as much there is in a file, about, and how many rows.
struct Whole {
  double times = 1, rows = 0;
};

/// Calls `visit` for rows of a file.
Whole visit_some(const std::string& name, std::uint64_t size, std::uint64_t text, const Visit& visit) {
  constexpr std::uint64_t most_parts = 4, packed_as = 4;
  const support::File file = support::open_input(name);
  char first = 0;
  if (::pread(file.get(), &first, 1, 0) < 1) return {};
  const bool is_fastq = first == '@', is_plain = is_fastq || first == '>';
  if (!is_plain) text /= packed_as;
  const std::uint64_t parts = is_plain && text < size ? most_parts : 1;
  std::uint64_t looked_at = 0, begun = 0;  // rows, save for the first one
  for (std::uint64_t i = 0; i < parts; ++i) {
    const std::uint64_t begin = i == 0 ? 0 : next_beginning(file, size / parts * i, is_fastq);
    const std::uint64_t bytes = std::min(text / parts, size - begin);
    const std::uint64_t rows = visit_rows(name, Part(name, file, begin, bytes, i > 0 && !is_fastq ? ">\n" : ""), visit);
    begun += rows - std::min<std::uint64_t>(rows, i == 0 || !is_fastq ? 1 : 0);
    looked_at += bytes;
  }
  const double times = static_cast<double>(size) / static_cast<double>(std::max<std::uint64_t>(looked_at, 1));
  return {times, 1 + times * static_cast<double>(begun)};
}

/// Sees what workers count, and nothing of it stays but hashes.
template <scratch::CountKey Key>
class Seeing {
 public:
  Seeing(const Counting& counting, Sample& sample)
      : counting_(counting),
        sample_(&sample),
        packed_(counting.k),
        stream_(counting.k, counting.canonical),
        minima_(counting.k, counting.canonical) {
    if (counting.joins()) supers_.emplace(counting.k, counting.canonical);
  }

  void see(const Batch& batch) {
    packed_.pack(batch.bases, batch.ends);
    std::span<const Run> runs = packed_.runs();
    std::uint64_t from = 0;
    for (const std::uint64_t end : batch.ends) {
      if (counting_.rows) seen_.begin(static_cast<std::size_t>(end - std::exchange(from, end)));
      for (; !runs.empty() && runs.front().to <= end; runs = runs.subspan(1)) see(runs.front());
    }
  }

 private:
  using Kmer = KmerOf<Key>;
  using Supers = std::conditional_t<std::same_as<NumberOf<Key>, Wide>, WideSuperKmers, SuperKmers>;

  void see(const Run& run) {
    const std::size_t n = run.to - run.from - counting_.k + 1;
    if (kmers_.size() < n + KmerStream::padding) kmers_.resize(n + KmerStream::padding);
    stream_.write(packed_, run.from, n, kmers_.data());
    for (const Kmer& kmer : std::span(kmers_).first(n)) see(kmer);
    sample_->kmers += static_cast<double>(n);
    if (!counting_.joins()) return;
    minima_.find(packed_, run, [this](std::uint32_t at, std::uint32_t kmers, std::uint32_t) {
      sample_->equal_supers.see(even(supers_->make(packed_, at, kmers).hash()));
      sample_->supers += 1;
    });
  }
  void see(Kmer kmer) {
    const Wide number = number_of(kmer);
    const std::uint64_t hash =
        even(static_cast<std::uint64_t>(number) + static_cast<std::uint64_t>(number >> 64) * odd);
    if (!counting_.rows) return sample_->keys.see(hash);
    const std::uint64_t before = seen_.see(kmer);
    if (before >> counting_.occurrence_bits == 0) sample_->keys.see(even(hash + before));
  }

  static constexpr std::uint64_t odd = 0xd6e8feb86659fd93;
  /// A bijection, all bits of which depend on all (MurmurHash3's).
  static std::uint64_t even(std::uint64_t word) {
    word = (word ^ word >> 33) * 0xff51afd7ed558ccd;
    word = (word ^ word >> 33) * 0xc4ceb9fe1a85ec53;
    return word ^ word >> 33;
  }

  Counting counting_;
  Sample* sample_;
  Packed packed_;
  KmerStream stream_;
  Minima minima_;
  std::optional<Supers> supers_;  // where they are counted first
  SeenInRow<Kmer> seen_;
  std::vector<Kmer> kmers_;
};

}  // namespace

Sample look_at(const std::vector<std::string>& files, const Counting& counting, std::uint64_t text) {
  std::uint64_t bytes = 0;
  std::vector<std::uint64_t> sizes;
  for (const std::string& file : files) {
    struct stat facts {};
    if (file == "-" || ::stat(file.c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) return {};
    sizes.push_back(static_cast<std::uint64_t>(facts.st_size));
    bytes += sizes.back();
  }
  Sample sample;
  const auto with_seeing = [&]<class Key>(std::type_identity<Key>) {
    Seeing<Key> seeing(counting, sample);
    for (std::size_t i = 0; i < files.size(); ++i) {
      const double kmers_before = sample.kmers;
      const double share = static_cast<double>(text) * static_cast<double>(sizes[i]) / static_cast<double>(bytes + 1);
      const Whole whole = visit_some(files[i], sizes[i], static_cast<std::uint64_t>(share) + least_of_file,
                                     [&](const Batch& batch) { seeing.see(batch); });
      sample.all_kmers += whole.times * (sample.kmers - kmers_before);
      sample.all_rows += whole.rows;
    }
  };
  if (counting.key_bits() <= 64)
    with_seeing(std::type_identity<std::uint64_t>{});
  else
    with_seeing(std::type_identity<scratch::Key128>{});
  return sample;
}

}  // namespace kmer_frequency
