// SPDX-License-Identifier: MIT
#include "super_share.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <type_traits>

#include <scratch/count_key.hpp>

#include "kmer_frequency/super_table.hpp"
#include "support/stop.hpp"
#include "support/threads.hpp"

namespace kmer_frequency {
namespace {

/// What workers put into partitions, a file for each of them.
template <class Supers>
class Kept final : public Table {
 public:
  Kept(const scratch::Workspace& where, const std::string& name, const Counting& counting, std::size_t partitions,
       const Away* away)
      : name_(name),
        counting_(counting),
        partitions_(where, name,
                    {.memory = counting.table_memory() - (away == nullptr ? 0 : SuperShare::memory_away(counting)),
                     .lanes = counting.threads(),
                     .count = partitions,
                     .keeps = true,
                     .away = away}) {}

  std::unique_ptr<Worker> make_worker(unsigned number) override {
    return std::make_unique<SuperWorker<Supers>>(counting_, partitions_.lane(number));
  }

  void commit(Counted& counted, std::uint64_t, OnCommit) override {
    const auto began = std::chrono::steady_clock::now();
    std::atomic<unsigned> next = 0;
    std::atomic<bool> given_up = false;
    const auto commit_some = [&](unsigned) {
      for (unsigned lane; !given_up && (lane = next++) < partitions_.lanes();) {
        support::check_stop();
        partitions_.lane(lane).commit(name_ + ".lane_" + std::to_string(lane));
        partitions_.drop(lane);
      }
    };
    support::in_threads(expanding_threads(counting_), commit_some, given_up);
    counted.committing = seconds_since(began);
  }

 private:
  std::string name_;
  Counting counting_;
  Partitions<typename Supers::Record> partitions_;
};

std::unique_ptr<Table> make_kept(const scratch::Workspace& where, const std::string& name, const Counting& counting,
                                 std::size_t partitions, const Away* away) {
  if (counting.key_bits() > 64) return std::make_unique<Kept<WideSuperKmers>>(where, name, counting, partitions, away);
  return std::make_unique<Kept<SuperKmers>>(where, name, counting, partitions, away);
}

}  // namespace

InputRead SuperShare::read() {
  InputRead all;
  const std::size_t n = by_piece_ ? share_.pieces.size() : 1;
  for (std::size_t i = 0; i < n; ++i) {
    const std::string name = "piece_" + std::to_string(i), on_record = name + ".read";
    std::optional<InputRead> found;
    if (!where_.list(on_record).empty()) found = input_read(where_, on_record);
    if (!found) {
      where_.remove_matching(name + ".*");
      found = reader_.read(by_piece_ ? Share{{share_.pieces[i]}} : share_, all.read.so_far.bytes,
                           *make_kept(where_, name, counting_, partitions_, away_), {});
      put_on_record(where_, on_record, *found);
    }
    all.read += found->read;
    all.counted += found->counted;
  }
  return all;
}

}  // namespace kmer_frequency
