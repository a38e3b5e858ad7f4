// SPDX-License-Identifier: MIT
#include "share_counter.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <scratch/atomic_file.hpp>
#include <scratch/count_key.hpp>
#include <scratch/merge.hpp>

#include "support/errors.hpp"
#include "support/stop.hpp"

namespace kmer_frequency {

InputRead ShareCounter::count(const OnCommit& committing) {
  if (!by_piece_) return reader_.read(share_, 0, *make_table(where_, table_of_worker(0), 0, counting_), committing);
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
      found = reader_.read({{piece}}, all.read.so_far.bytes, *make_table(where_, table, 0, counting_), committing,
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

}  // namespace kmer_frequency
