// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Who adds to a table: the table itself and its adders, each with a lane of its own as long as there is memory for
// them; the others share the table's.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/detail/count/memory/appender.hpp>
#include <scratch/detail/count/memory/memory_plan.hpp>
#include <scratch/detail/count/table/adder_state.hpp>
#include <scratch/detail/count/table/level.hpp>
#include <scratch/detail/text/little_endian.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Thread-safe where nothing else is said. States of adders that are gone stay, for the next ones.
template <class Mixed>
class AddersOf {
 public:
  using CountEntry = EntryOf<Mixed>;
  using AdderState = AdderStateOf<Mixed>;
  using Lane = LaneOf<Mixed>;

  AddersOf(Level& level, const MemoryPlan& plan) : level_(&level), plan_(&plan) {
    lanes_.reserve(plan.most_lanes + 1);
    add_lane();
    own_ = add_state(lanes_.front().get());
    idle_.pop_back();
  }
  AddersOf(const AddersOf&) = delete;
  AddersOf& operator=(const AddersOf&) = delete;

  /// The table's.
  AdderState& own() { return *own_; }

  AdderState& acquire() {
    const auto lock = level_->lock();
    if (idle_.empty()) {
      const bool has_room = lanes_.size() <= plan_->most_lanes;
      if (has_room) add_lane();
      add_state(has_room ? lanes_.back().get() : lanes_.front().get());
    }
    AdderState* const state = idle_.back();
    idle_.pop_back();
    ++living_;
    return *state;
  }
  void release(AdderState& state) noexcept {
    end_streaming();
    const auto lock = level_->lock();
    idle_.push_back(&state);  // has room for all
    --living_;
  }
  /// @pre locked
  std::size_t living() const { return living_; }

  /// Held while a state's lane is used.
  std::unique_lock<std::mutex> share(AdderState& state) {
    if (state.lane == lanes_.front().get()) return std::unique_lock(state.lane->mutex);
    return {};
  }

  /// All that was added, save for what living adders have in hand; saturating.
  std::uint64_t total() {
    const auto lock = level_->lock();
    std::uint64_t sum = own_->total();
    for (const std::unique_ptr<Lane>& lane : lanes_)
      sum = saturating_add(sum, lane->total.load(std::memory_order_relaxed));
    for (const AdderState* state : idle_) sum = saturating_add(sum, state->total());
    return sum;
  }

  // ---- while no adder lives

  /// The first is the table's.
  const std::vector<std::unique_ptr<Lane>>& lanes() const { return lanes_; }
  /// Of adders that are gone.
  const std::vector<AdderState*>& idle() const { return idle_; }

  /// Of all lanes, sorted.
  PlainVector<CountEntry> hot_keys() const {
    PlainVector<CountEntry> hot;
    for (const std::unique_ptr<Lane>& lane : lanes_)
      lane->hot.for_each([&](const CountEntry& entry) { hot.push_back(entry); });
    std::sort(hot.begin(), hot.end(), by_mixed);
    return hot;
  }

  std::vector<Appender*> appenders() const {
    std::vector<Appender*> all;
    for (const std::unique_ptr<Lane>& lane : lanes_) all.push_back(&lane->appender);
    return all;
  }

 private:
  void add_lane() {
    lanes_.push_back(
        std::make_unique<Lane>(level_->pool(), plan_->records, plan_->hot_slots(lanes_.size() + 1), lanes_.size()));
  }
  AdderState* add_state(Lane* lane) {
    states_.reserve(states_.size() + 1);
    idle_.reserve(states_.size() + 1);
    states_.push_back(std::make_unique<AdderState>(lane));
    idle_.push_back(states_.back().get());
    return states_.back().get();
  }

  Level* level_;
  const MemoryPlan* plan_;
  std::vector<std::unique_ptr<Lane>> lanes_{};
  std::vector<std::unique_ptr<AdderState>> states_{};
  std::vector<AdderState*> idle_{};
  AdderState* own_ = nullptr;
  std::size_t living_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
