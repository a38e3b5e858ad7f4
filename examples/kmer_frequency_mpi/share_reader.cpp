// SPDX-License-Identifier: MIT
#include "share_reader.hpp"

#include <vector>

#include "kmer_frequency/workers.hpp"
#include "support/errors.hpp"

namespace kmer_frequency {

InputRead ShareReader::read(const Share& pieces, std::uint64_t before, Table& table, const OnCommit& committing,
                            const std::function<void(const InputRead&)>& counted) {
  RowSource rows(pieces, counting_.k, counting_.rows);
  rows.on_progress([&](const ReadSoFar& read) {
    if (told_) told_(before + read.bytes);
  });
  const auto reads = [&](RowSource* source) {
    const std::lock_guard lock(mutex_);
    rows_ = source;
    if (source != nullptr && stopped_) source->stop();
  };
  reads(&rows);
  InputRead input;
  const auto all_counted = [&](const std::vector<Counted>& workers) {
    input.read = rows.found();
    for (const Counted& worker : workers) input.counted += worker;
    if (counted) counted(input);
    return std::uint64_t{1};
  };
  try {
    count_in_threads(table, counting_, rows, committing, all_counted);
  } catch (...) {
    reads(nullptr);
    throw;
  }
  reads(nullptr);
  if (rows.is_stopped()) throw support::GivenUp{};
  return input;
}

void ShareReader::stop() noexcept {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  if (rows_ != nullptr) rows_->stop();
}

}  // namespace kmer_frequency
