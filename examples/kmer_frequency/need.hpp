// SPDX-License-Identifier: MIT
//
// What the files of a session will take, reckoned from what the inputs begin with: as if no k-mer came twice, as far as
// there are so many.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>

#include "engine/minima.hpp"
#include "engine/super_kmer.hpp"
#include "engine/wide_super_kmer.hpp"
#include "options.hpp"

namespace kmer_frequency {

class Need {
 public:
  Need(const Options& options, std::uint64_t bases, std::uint64_t rows) {
    const Counting& counting = options.counting;
    const std::uint64_t lost = rows * (counting.k - 1);
    kmers_ = bases > lost ? static_cast<double>(bases - lost) : 0;
    const double possible = std::ldexp(counting.canonical ? 0.5 : 1.0, static_cast<int>(counting.key_bits()));
    // So many of them are there, when all are as likely.
    distinct_ = kmers_ == 0 ? 0 : -possible * std::expm1(-kmers_ / possible);
    const double width = scratch::with_key_type(counting.key_bits(), [&]<class Key>(std::type_identity<Key>) {
      return 8.0 * static_cast<double>(sizeof(Key));
    });
    const auto entry = [&](double n) { return std::max(width - std::log2(std::max(n, 1.0)) + 4, 4.0) / 8; };
    const double memory = static_cast<double>(counting.table_memory()) / (joins(counting) ? 2 : 1);
    const double each = kmers_ / counting.tables();
    const double joined = joins(counting) ? kmers_ * bytes_joined(counting) : 0;
    const double spill_entry = std::max(entry(memory / (width / 8)), 2.5);
    const double in_memory = std::min(1.0, memory / std::max(each * spill_entry * 1.3, 1.0));
    const double tables = distinct_ * entry(distinct_) * counting.tables();
    const double spilled = std::min(distinct_ * 2, kmers_) * spill_entry * (1 - in_memory);
    table_ = tables + (counting.tables() > 1 ? distinct_ * entry(distinct_) : 0);
    // Super-k-mers are read, and gone, before there is a table.
    spilled_ = spilled + (joined / counting.tables() > memory ? std::max(joined - tables, 0.0) : 0.0);
    if (!options.output.empty() && options.output != "-") text_ = bytes_of_text(options);
  }

  std::uint64_t total() const { return static_cast<std::uint64_t>(table_ + std::max(spilled_, text_)); }

  std::string breakdown() const {
    return size(table_ + std::max(spilled_, text_)) + " for " + number(distinct_) + " k-mers that differ: tables " +
           size(table_) +
           (spilled_ > text_ ? " + what memory has no room for " + size(spilled_)
            : text_ > 0      ? " + lines " + size(text_)
                             : "");
  }

 private:
  static bool joins(const Counting& counting) {
    return !counting.rows && counting.k >= SuperKmers::least_k && counting.key_bits() > 16;
  }
  /// Of a k-mer, in super-k-mers.
  static double bytes_joined(const Counting& counting) {
    const double record = counting.key_bits() > 64 ? sizeof(WideSuperKmers::Record) : sizeof(SuperKmers::Record);
    return 2 * record / (Minima::most_kmers(counting.k) + 1);
  }
  double bytes_of_text(const Options& options) const {
    double lines = distinct_;
    if (options.threshold.min_count.value_or(0) > 1)
      lines = std::min(lines, kmers_ / static_cast<double>(*options.threshold.min_count));
    const double line = options.counting.k + 3.0 + (options.counting.occurrence_bits > 0 ? 3 : 0);
    return lines * line / (options.output.ends_with(".gz") ? 3.5 : 1);
  }
  static std::string size(double bytes) { return scratch::readable_size(static_cast<std::uint64_t>(bytes)); }
  static std::string number(double n) { return std::to_string(std::llround(n)); }

  double kmers_ = 0, distinct_ = 0, table_ = 0, spilled_ = 0, text_ = 0;
};

}  // namespace kmer_frequency
