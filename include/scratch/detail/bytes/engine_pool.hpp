// SPDX-License-Identifier: MIT
// floor 2: engines
//
// The engines of one workspace: made when needed, leased to one writer or reader at a time, and kept for the next one,
// so that thousands of small chunks do not each open a ring. Those leased share a budget of buffer memory, and those
// kept do not keep more than that either.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/engine/io.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Thread-safe. A forked child abandons its parent's engines and never touches their rings.
class EnginePool {
 public:
  /// Told the description of the first engine, and again (`replaced`) when one gave way to another.
  using Notice = std::function<void(const std::string& description, bool replaced)>;

  static constexpr std::size_t usual_budget = 32_MiB;

  /// @param directory an open directory of the file system in question; stays open as long as the pool
  /// @param lacks     takes what the file system has not; may be null
  EnginePool(IoMaker make, int directory, Notice notice = {}, std::size_t budget = usual_budget, Lacks* lacks = nullptr)
      : make_(std::move(make)), directory_(directory), notice_(std::move(notice)), budget_(budget), lacks_(lacks) {}
  EnginePool(const EnginePool&) = delete;
  EnginePool& operator=(const EnginePool&) = delete;
  ~EnginePool() {
    if (made_here_.is_true()) return;
    for (Idle& idle : idle_) static_cast<void>(idle.engine.release());
  }

  /// An engine for one thread's use; goes back to the pool at the end.
  class Lease {
   public:
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Lease(Lease&& other) noexcept
        : owner_(std::move(other.owner_)),
          pool_(std::exchange(other.pool_, nullptr)),
          engine_(std::move(other.engine_)),
          for_one_use_(other.for_one_use_) {}
    Lease& operator=(Lease&& other) noexcept {
      if (this != &other) {
        give_back();
        pool_ = std::exchange(other.pool_, nullptr);
        engine_ = std::move(other.engine_);
        for_one_use_ = other.for_one_use_;
        owner_ = std::move(other.owner_);
      }
      return *this;
    }
    ~Lease() { give_back(); }

    Io& operator*() const { return *engine_; }
    Io* operator->() const { return engine_.get(); }

    /// The part of the budget that is this engine's while others are leased too: at least 512 KiB.
    std::size_t fair_share() const {
      const unsigned sharing = std::max(1U, pool_->leased_.load(std::memory_order_relaxed));
      return std::max<std::size_t>(512_KiB, pool_->budget_ / sharing);
    }

   private:
    friend class EnginePool;
    Lease(EnginePool* pool, std::unique_ptr<Io> engine, std::shared_ptr<const void> owner, bool for_one_use = false)
        : owner_(std::move(owner)), pool_(pool), engine_(std::move(engine)), for_one_use_(for_one_use) {
      ++pool_->leased_;
    }
    void give_back() noexcept {
      if (pool_ == nullptr || !engine_) return;
      if (!made_here_.is_true()) {
        static_cast<void>(engine_.release());
      } else {
        --pool_->leased_;
        pool_->take_back(std::move(engine_), for_one_use_);
      }
    }

    std::shared_ptr<const void> owner_;
    EnginePool* pool_;
    std::unique_ptr<Io> engine_;
    bool for_one_use_ = false;
    MadeHere made_here_{};
  };

  /// @param owner of the pool: the lease holds a share of it. Without one the pool must live longer.
  /// @throws Error `forked_object`; what the maker throws; ENOMEM
  Lease lease(std::shared_ptr<const void> owner = nullptr) {
    check_process();
    std::unique_lock lock(mutex_);
    if (idle_count_ > 0) {
      std::size_t most = 0;  // has the most memory
      for (std::size_t i = 1; i < idle_count_; ++i)
        if (idle_[i].kept > idle_[most].kept) most = i;
      std::unique_ptr<Io> engine = std::move(idle_[most].engine);
      --idle_count_;
      idle_[most] = std::move(idle_[idle_count_]);
      return {this, std::move(engine), std::move(owner)};
    }
    if (medium_.name.empty()) medium_ = Medium::of(directory_);
    if (medium_.direct_is_known && medium_.direct_alignment == 0 && !medium_.memory_backed)
      add_to(lacks_, Lack::direct);
    std::unique_ptr<Io> engine = make_(medium_);
    in_use_.store(true, std::memory_order_relaxed);
    const bool for_one_use = !medium_.direct_is_known;
    if (for_one_use) medium_ = Medium();
    note(engine->describe(), lock);
    return {this, std::move(engine), std::move(owner), for_one_use};
  }

  /// An engine was made before: one more is cheap.
  bool is_in_use() const noexcept { return in_use_.load(std::memory_order_relaxed); }

  /// The engine now in use, and why: "posix: tmpfs".
  std::string describe() {
    check_process();
    {
      const std::lock_guard lock(mutex_);
      if (!description_.empty() && !medium_.name.empty()) return description_;
    }
    const Lease one = lease();
    return one->describe();
  }

 private:
  static constexpr std::size_t most_idle = 8;

  struct Idle {
    std::unique_ptr<Io> engine{};
    std::size_t kept = 0;  // bytes of its buffers
  };

  // Before the mutex, which another thread of the parent may have held.
  void check_process() const {
    if (!made_here_.is_true()) throw_error(errc::forked_object, "use an engine", {});
  }

  void note(const std::string& description, std::unique_lock<std::mutex>& lock) {
    if (description == description_) return;
    const bool replaced = !description_.empty();
    description_ = description;
    lock.unlock();
    if (notice_) notice_(description, replaced);
  }

  // An engine that comes back with transfers in flight (its user was stopped by an exception) is finished first.
  void take_back(std::unique_ptr<Io> engine, bool for_one_use) noexcept {
    try {
      while (engine->in_flight() > 0) engine->finish();
      if (for_one_use) return;
      std::unique_lock lock(mutex_);
      const std::string now = engine->describe();
      std::size_t left = budget_;
      for (std::size_t i = 0; i < idle_count_; ++i) left -= std::min(left, idle_[i].kept);
      if (idle_count_ < most_idle) {
        const std::size_t kept = engine->trim_buffers(std::min(left, budget_ / (leased_ + 1)));
        idle_[idle_count_++] = {std::move(engine), kept};
      }
      note(now, lock);
    } catch (...) {
      // an engine that cannot be finished just ends
    }
  }

  IoMaker make_;
  int directory_;
  Notice notice_;
  std::size_t budget_;
  Lacks* lacks_;
  MadeHere made_here_{};
  std::mutex mutex_{};
  std::atomic<unsigned> leased_{0};
  std::atomic<bool> in_use_{false};
  Medium medium_{};  // without a name: not yet asked for, or to be asked for again
  std::string description_{};
  std::array<Idle, most_idle> idle_{};
  std::size_t idle_count_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
