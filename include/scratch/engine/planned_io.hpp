// SPDX-License-Identifier: MIT
// floor 2: engines
//
// For tests, yours too: an engine that records what it is asked for, and fails by plan.
//
//   auto plan = std::make_shared<scratch::IoPlan>();
//   plan->fail({.first = 3, .error = ENOSPC, .after = 4096});      // the fourth transfer stops after 4096 bytes
//   scratch::Workspace here(directory, {.io = scratch::planned(scratch::BestIo::make, plan)});
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <scratch/engine/io.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Transfers that do not go well, counted from 0 over all engines of a plan.
struct IoFault {
  /// As `count`: every one from `first` on.
  static constexpr std::uint64_t for_ever = std::numeric_limits<std::uint64_t>::max();

  std::uint64_t first = 0;                  ///< the number of the first transfer that it meets
  std::uint64_t count = 1;                  ///< how many it meets
  int error = 0;                            ///< errno; 0 with a read: the file seems to end
  std::size_t after = 0;                    ///< bytes that still move; with O_DIRECT whole blocks
  std::optional<Transfer::Kind> kind = {};  ///< count and fail only these
};

/// What shall happen, and what did. Thread-safe.
class IoPlan {
 public:
  /// From now on this goes wrong, too.
  void fail(IoFault fault) {
    const std::lock_guard hold(mutex_);
    faults_.push_back({fault, 0});
  }

  /// Nothing goes wrong from here on. What was recorded stays.
  void clear() {
    const std::lock_guard hold(mutex_);
    faults_.clear();
  }

  /// Every transfer asked for, in order. Their `data` may be gone.
  std::vector<Transfer> transfers() const {
    const std::lock_guard hold(mutex_);
    return transfers_;
  }

  /// How many transfers a fault met.
  std::uint64_t fired() const {
    const std::lock_guard hold(mutex_);
    return fired_;
  }

 private:
  friend class PlannedIo;

  struct Counted {
    IoFault fault;
    std::uint64_t seen;
  };

  std::optional<IoFault> meet(const Transfer& transfer) {
    const std::lock_guard hold(mutex_);
    transfers_.push_back(transfer);
    std::optional<IoFault> met;
    for (Counted& one : faults_) {
      if (one.fault.kind && *one.fault.kind != transfer.kind) continue;
      const std::uint64_t n = one.seen++;
      if (!met && n >= one.fault.first && n - one.fault.first < one.fault.count) met = one.fault;
    }
    fired_ += met ? 1 : 0;
    return met;
  }

  mutable std::mutex mutex_{};
  std::vector<Counted> faults_{};
  std::vector<Transfer> transfers_{};
  std::uint64_t fired_ = 0;
};

/// Another engine, going by a plan.
class PlannedIo final : public Io {
 public:
  /// @pre neither is null
  PlannedIo(std::unique_ptr<Io> engine, std::shared_ptr<IoPlan> plan)
      : engine_(std::move(engine)), plan_(std::move(plan)) {}

  std::string describe() const override { return engine_->describe() + ", by plan"; }
  unsigned depth() const override { return engine_->depth(); }
  bool direct() const override { return engine_->direct(); }
  std::size_t alignment() const override { return engine_->alignment(); }
  MutableBytes buffer(unsigned i) override { return engine_->buffer(i); }
  std::size_t buffer_memory() const override { return engine_->buffer_memory(); }
  void drop_buffers() noexcept override { engine_->drop_buffers(); }
  std::size_t trim_buffers(std::size_t most) noexcept override { return engine_->trim_buffers(most); }
  std::size_t in_flight() const override { return engine_->in_flight() + stopped_.size(); }

  void start(const Transfer& transfer) override {
    const std::optional<IoFault> fault = plan_->meet(transfer);
    if (!fault) return engine_->start(transfer);
    Transfer part = transfer;
    part.size = std::min(transfer.size, fault->after) / alignment() * alignment();
    if (part.size == 0) {
      stopped_.push_back({transfer.tag, 0, fault->error});
    } else {
      engine_->start(part);
      errors_[transfer.tag] = fault->error;
    }
  }

  Completion finish() override {
    if (!stopped_.empty()) {
      const Completion completion = stopped_.back();
      stopped_.pop_back();
      return completion;
    }
    Completion completion = engine_->finish();
    if (const auto planned = errors_.find(completion.tag); planned != errors_.end()) {
      if (completion.error == 0) completion.error = planned->second;
      errors_.erase(planned);
    }
    return completion;
  }

 private:
  std::unique_ptr<Io> engine_;
  std::shared_ptr<IoPlan> plan_;
  std::vector<Completion> stopped_{};
  std::map<std::uint64_t, int> errors_{};  // by tag
};

/// Engines that `make` makes, going by `plan`.
inline IoMaker planned(IoMaker make, std::shared_ptr<IoPlan> plan) {
  return [make = std::move(make), plan = std::move(plan)](const Medium& medium) -> std::unique_ptr<Io> {
    return std::make_unique<PlannedIo>(make(medium), plan);
  };
}

}  // namespace scratch::inline SCRATCH_ABI
