// SPDX-License-Identifier: MIT
//
// What the files of a session will take, reckoned from a sample of the input.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include <scratch/bytes.hpp>

#include "engine/super_kmer.hpp"
#include "engine/wide_super_kmer.hpp"
#include "options.hpp"
#include "row_keys.hpp"
#include "sample.hpp"

namespace kmer_frequency {

class Need {
 public:
  Need(const Options& options, const Sample& sample) {
    const Counting& counting = options.counting;
    if (sample.kmers == 0) return;
    key_bits_ = counting.key_bits();
    const double possible = std::ldexp(counting.canonical ? 0.5 : 1.0, static_cast<int>(key_bits_)) + 1;
    const double n = counting.tables(), times = sample.times();
    distinct_ = sample.keys.distinct(times, possible);
    least_ = table_of(sample.keys.seen(), 1) * 0.9;
    table_ = table_of(distinct_, sample.all_kmers);
    each_table_ = table_of(sample.keys.distinct(times / n, possible), sample.all_kmers / n);
    tables_ = counting.tables();
    if (counting.joins()) {
      const double size = wide() ? sizeof(WideSuperKmers::Record) : sizeof(SuperKmers::Record);
      joined_ = beyond(sample.supers * times * size / counting.workers, memory(counting) / counting.threads()) *
                counting.workers;
    }
    double added = sample.all_kmers / n;
    if (counting.joins()) added *= sample.equal_supers.distinct(times / n, added) / (sample.supers * times / n);
    spilled_ = n * spilled_of_table(added, sample.keys.distinct(times / n, possible), memory(counting));
    long_row_ = of_long_row(counting, sample, possible);
    if (!options.output.empty() && options.output != "-") text_ = text_of(options, sample);
  }

  /// At any time, at most.
  std::uint64_t total() const {
    const double merging = tables_ > 1 ? tables_ * each_table_ + table_ : 0;
    return static_cast<std::uint64_t>(
        std::max({long_row_, joined_ + spilled_, spilled_ + tables_ * each_table_, merging, table_ + text_}));
  }
  /// What was seen will take so much, whatever else there is.
  std::uint64_t at_least() const { return static_cast<std::uint64_t>(least_); }

  std::string breakdown() const {
    std::string all = size(static_cast<double>(total())) + " for " + std::to_string(std::llround(distinct_)) +
                      " k-mers that differ: a table of " + size(table_);
    if (const double beyond = std::max(joined_ + spilled_, long_row_); beyond > 0)
      all += ", what memory has no room for " + size(beyond);
    if (text_ > 0) all += ", lines " + size(text_);
    return all;
  }

 private:
  static std::string size(double bytes) { return scratch::readable_size(static_cast<std::uint64_t>(bytes)); }
  bool wide() const { return key_bits_ > 64; }
  /// Of a table while rows are read, and of what its keys are gathered in before.
  static double memory(const Counting& counting) {
    return static_cast<double>(counting.table_memory()) / (counting.joins() ? 2 : 1);
  }
  /// What goes to files, where all of it goes that was gathered whenever memory is full.
  static double beyond(double bytes, double memory) { return std::floor(bytes / memory) * memory; }

  /// Elias and Fano's: the low bits of each, and two or three for the others; and of its count.
  double table_of(double keys, double kmers) const {
    if (key_bits_ <= 16) return 524368;
    const double width = wide() ? 128 : key_bits_ > 32 ? 64 : 32;
    return keys * (width - std::log2(std::max(keys, 1.0)) + 3 + std::log2(std::max(kmers / std::max(keys, 1.0), 1.0))) /
           8;
  }
  /// So many were added, of which so many differ.
  double spilled_of_table(double added, double keys, double memory) const {
    if (key_bits_ <= 16) return 0;
    const double word = wide() ? 16 : 8, pool = memory * 15 / 16;
    if (keys * word < pool / 3) return 0;  // counted where they are
    const double bytes = added * (wide() ? 15 : key_bits_ > 32 ? 7 : 3);
    const double most = 2 * memory + 4 * (word + 1) * keys;
    return std::min(keys / 256 > 163840 && bytes > pool ? bytes : std::max(bytes - pool, 0.0), most);
  }
  /// A long row is counted in a table of its own, and then in that of all.
  double of_long_row(const Counting& counting, const Sample& sample, double possible) const {
    const double kmers = sample.all_kmers / std::max(sample.all_rows, 1.0), times = kmers / sample.kmers;
    if (!counting.rows || kmers < SeenInRow<std::uint64_t>::most_kmers) return 0;
    const double keys = times < 1 ? sample.keys.seen() * times : sample.keys.distinct(times, possible);
    const double beyond = spilled_of_table(kmers, keys, static_cast<double>(counting.row_memory()));
    return table_of(keys, kmers) + std::max(beyond, spilled_);
  }
  double text_of(const Options& options, const Sample& sample) const {
    const auto least = static_cast<double>(options.threshold.least_count(static_cast<std::uint64_t>(sample.all_rows)));
    double lines = distinct_;
    if (least > 1) lines = std::min(lines - sample.keys.singles(sample.times()), sample.all_kmers / least);
    const double line = options.counting.k + 3.0 + (options.counting.occurrence_bits > 0 ? 3 : 0);
    return lines * line / (options.output.ends_with(".gz") ? 3.5 : 1);
  }

  unsigned key_bits_ = 0, tables_ = 1;
  double distinct_ = 0, least_ = 0, table_ = 0, each_table_ = 0, joined_ = 0, spilled_ = 0, text_ = 0, long_row_ = 0;
};

}  // namespace kmer_frequency
