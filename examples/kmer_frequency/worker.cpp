// SPDX-License-Identifier: MIT
#include "worker.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include <scratch/count_key.hpp>
#include <scratch/count_table.hpp>

#include "direct_worker.hpp"
#include "row_worker.hpp"
#include "super_table.hpp"
#include "support/stop.hpp"

namespace kmer_frequency {
namespace {

/// Workers add to it as they read.
template <scratch::CountKey Key>
class DirectTable final : public Table {
 public:
  DirectTable(const scratch::Workspace& workspace, const std::string& name, const Counting& counting)
      : workspace_(workspace),
        counting_(counting),
        table_(workspace, name, {.memory = counting.table_memory(), .threads = counting.threads()}) {}

  std::unique_ptr<Worker> make_worker(unsigned number) override {
    if (counting_.rows) return std::make_unique<RowWorker<Key>>(workspace_, number, counting_, table_.adder());
    return std::make_unique<DirectWorker<Key>>(counting_, table_.adder());
  }

  void commit(Counted& counted, std::uint64_t at_least, OnCommit progress) override {
    const auto began = std::chrono::steady_clock::now();
    table_.commit({.at_least = at_least, .progress = std::move(progress), .stop = support::Stop::token()});
    counted.distinct = table_.distinct() + table_.left_out();
    counted.committing = seconds_since(began);
  }

 private:
  scratch::Workspace workspace_;
  Counting counting_;
  scratch::CountTable<Key> table_;
};

}  // namespace

std::unique_ptr<Table> make_table(const scratch::Workspace& workspace, const std::string& name, unsigned number,
                                  const Counting& counting) {
  return scratch::with_key_type(counting.key_bits(), [&]<class Key>(std::type_identity<Key>) -> std::unique_ptr<Table> {
    if constexpr (sizeof(Key) >= 4) {
      static_assert(Counting::shortest_joined_k == SuperKmers::least_k);
      if (counting.joins()) return std::make_unique<SuperTable<Key>>(workspace, name, number, counting);
    }
    return std::make_unique<DirectTable<Key>>(workspace, name, counting);
  });
}

}  // namespace kmer_frequency
