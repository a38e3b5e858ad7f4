// SPDX-License-Identifier: MIT
#include "share_counter.hpp"

#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <scratch/atomic_file.hpp>
#include <scratch/count_key.hpp>
#include <scratch/merge.hpp>

#include "kmer_frequency/workers.hpp"
#include "support/errors.hpp"
#include "support/stop.hpp"

namespace kmer_frequency {

InputRead ShareCounter::count(const OnCommit& committing) {
  if (!by_piece_) return count_into(table_of_worker(0), share_, 0, committing, {});
  const auto is_there = [&](const std::string& name) { return !where_.list(name).empty(); };
  const bool merging = is_there("merging");
  InputRead all;
  std::vector<std::string> tables;
  for (std::size_t i = 0; i < share_.pieces.size(); ++i) {
    const Piece& piece = share_.pieces[i];
    const std::string table = "piece_" + std::to_string(i), read = table + ".read";
    tables.push_back(table);
    std::optional<InputRead> found;
    if (is_there(read) && (merging || is_there(table))) found = input_read(where_, read);
    if (!found && merging) throw support::Damaged("what was read of \"" + piece.file + "\" is no longer known");
    if (!found) {
      if (is_there(table)) where_.remove(table);
      found = count_into(table, {{piece}}, all.read.so_far.bytes, committing,
                         [&](const InputRead& input) { put_on_record(where_, read, input); });
    }
    all.read += found->read;
    all.counted += found->counted;
  }
  if (!merging) scratch::write_file(where_, "merging", std::string());
  scratch::with_key_type(counting_.key_bits(), [&]<class Key>(std::type_identity<Key>) {
    scratch::merge_all<Key>(where_, table_of_worker(0), tables,
                            {.threads = counting_.workers,
                             .memory = counting_.memory / 2,
                             .progress = committing,
                             .stop = support::Stop::token()});
  });
  return all;
}

InputRead ShareCounter::count_into(const std::string& table, const Share& share, std::uint64_t before,
                                   const OnCommit& committing, const std::function<void(const InputRead&)>& counted) {
  RowSource rows(share, counting_.k, counting_.rows);
  rows.on_progress([&](const ReadSoFar& read) { told_(before + read.bytes); });
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
  };
  try {
    count_in_threads(where_, table, counting_, rows, committing, all_counted);
  } catch (...) {
    reads(nullptr);
    throw;
  }
  reads(nullptr);
  if (rows.is_stopped()) throw support::GivenUp{};
  return input;
}

void ShareCounter::stop() noexcept {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  if (rows_ != nullptr) rows_->stop();
}

}  // namespace kmer_frequency
