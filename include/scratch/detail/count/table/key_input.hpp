// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Taking keys for a count table, for the table itself or for one of its adders.
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <scratch/count_key.hpp>
#include <scratch/detail/count/memory/mixing.hpp>
#include <scratch/detail/count/table/adder_state.hpp>
#include <scratch/detail/count/table/count_store.hpp>
#include <scratch/detail/count/table/small_store.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Why a table counts no more.
enum class Ended : std::uint8_t { not_yet, gone, committed, drained };

/// What a table and its adders share.
template <CountKey Key>
struct CountState {
  template <class... Args>
  explicit CountState(const Directory& directory, std::filesystem::path where, Args... args)
      : path(where), store(directory, std::move(where), args..., key_bits<Key>, mix_keys<Key>) {}

  std::filesystem::path path;
  StoreOf<Key> store;
  MadeHere made_here{};
  std::atomic<Ended> ended{Ended::not_yet};
  std::atomic<bool> exact{false};    ///< all counts together come near 2^64: every key is looked up
  std::atomic<bool> unusual{false};  ///< one of these
  std::mutex large{};                ///< held while much is added

  static constexpr std::uint64_t much = std::uint64_t{1} << 62;
  void look_closely_from(std::uint64_t total) {
    if (total >= much) exact = unusual = true;
  }
  void end(Ended why) {
    if (ended == Ended::not_yet) ended = why;
    unusual = true;
  }
};

/// An integer as a count. @throws Error ERANGE for a number below zero
template <std::integral N>
std::uint64_t count_of(N n) {
  if (!std::in_range<std::uint64_t>(+n))
    throw_error(std::make_error_code(std::errc::result_out_of_range), "use " + std::to_string(+n) + " as a count", {},
                "counts have 64 bits, unsigned");
  return static_cast<std::uint64_t>(n);
}

/// For one thread at a time. Movable.
template <CountKey Key>
class KeyInput {
 public:
  using AdderState = AdderStateOf<MixedOf<Key>>;

  KeyInput() = default;
  KeyInput(std::shared_ptr<CountState<Key>> state, AdderState& here, bool is_table)
      : state_(std::move(state)), here_(&here), is_table_(is_table) {}
  KeyInput(const KeyInput&) = delete;
  KeyInput& operator=(const KeyInput&) = delete;
  KeyInput(KeyInput&& other) noexcept
      : state_(std::move(other.state_)), here_(std::exchange(other.here_, nullptr)), is_table_(other.is_table_) {}
  KeyInput& operator=(KeyInput&& other) noexcept {
    state_ = std::move(other.state_);
    here_ = std::exchange(other.here_, nullptr);
    is_table_ = other.is_table_;
    return *this;
  }

  const std::shared_ptr<CountState<Key>>& state() const { return state_; }
  AdderState& here() const { return *here_; }
  explicit operator bool() const { return here_ != nullptr; }

  void add(Key key) {
    if (here_ == nullptr || here_->waiting == AdderState::most_waiting ||
        state_->unusual.load(std::memory_order_relaxed)) [[unlikely]] {
      const Use use(*this);
      constexpr std::uint64_t once = 1;
      if (state_->exact) return add_exactly(std::span(&key, 1), std::span(&once, 1));
      state_->store.drain(*here_);
    }
    std::memcpy(here_->keys + here_->waiting * sizeof key, &key, sizeof key);
    ++here_->waiting;
  }
  void add(Key key, std::uint64_t n) {
    if (n == 0) return;
    if (n == 1) return add(key);
    const Use use(*this);
    if (here_->entries.size() == most_entries) state_->store.drain(*here_);
    std::unique_lock<std::mutex> held;
    if (!surely_fits(n, held)) return add_exactly(std::span(&key, 1), std::span(&n, 1));
    if (held) return state_->store.add(*here_, &key, &n, std::size_t{1});
    here_->entries.reserve(most_entries);
    MixedOf<Key> mixed;
    mix_keys<Key>(&key, 0, 1, &mixed);
    here_->entries.push_back({mixed, n});
  }
  void add(std::span<const Key> keys) {
    const Use use(*this);
    state_->store.drain(*here_);
    std::unique_lock<std::mutex> held;
    if (!surely_fits(keys.size(), held)) return add_exactly(keys, std::vector<std::uint64_t>(keys.size(), 1));
    state_->store.add(*here_, keys.data(), keys.size());
  }
  void add(std::span<const Key> keys, std::span<const std::uint64_t> counts) {
    const Use use(*this);
    check_sizes(keys.size(), counts.size());
    state_->store.drain(*here_);
    const std::uint64_t total = sum_up(counts.data(), counts.size()).total;
    std::unique_lock<std::mutex> held;
    if (!surely_fits(total, held)) return add_exactly(keys, counts);
    state_->store.add(*here_, keys.data(), counts.data(), keys.size());
  }

  void drain() {
    const Use use(*this);
    state_->store.drain(*here_);
  }

  /// Something can be counted. @throws Error
  AdderState* check() const {
    const auto refuse = [&](std::string_view why) {
      throw_error(std::make_error_code(std::errc::invalid_argument), "count in",
                  state_ ? state_->path : std::filesystem::path(), why);
    };
    if (here_ == nullptr) refuse("it was moved to another object");
    switch (state_->ended) {
      case Ended::not_yet:
        break;
      case Ended::gone:
        refuse("its table is gone");
        break;
      case Ended::committed:
        refuse(is_table_ ? "it was committed" : "its table was committed");
        break;
      case Ended::drained:
        refuse(is_table_ ? "it was drained" : "its table was drained");
        break;
    }
    if (!state_->made_here.is_true()) throw_error(errc::forked_object, "count in", state_->path);
    return here_;
  }

  void check_sizes(std::size_t keys, std::size_t counts) const {
    if (keys != counts)
      throw_error(std::make_error_code(std::errc::invalid_argument), "take keys and counts for", state_->path,
                  std::to_string(keys) + " keys, " + std::to_string(counts) + " counts");
  }

  /// A thread is in here, and nobody else.
  class Use {
   public:
    explicit Use(const KeyInput& input) : here_(input.check()) {
      if (here_->in_use.exchange(true, std::memory_order_acquire))
        throw_error(errc::busy, "count in", input.state_->path,
                    std::string("two threads are in ") + (input.is_table_ ? "the table" : "an adder") +
                        " at the same time: each needs an adder of its own");
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use() { here_->in_use.store(false, std::memory_order_release); }

   private:
    AdderState* here_;
  };

 private:
  static constexpr std::size_t most_entries = 512;

  // Whether so much more can be added without a key's count passing 2^64 - 1, whichever keys these are. Every lane may
  // have a little that nobody asks for; who adds much does so one after the other.
  bool surely_fits(std::uint64_t more, std::unique_lock<std::mutex>& held) {
    constexpr std::uint64_t little = std::uint64_t{1} << 32;
    if (state_->exact) return false;
    if (more < little && !state_->store.has_much(*here_)) return true;
    held = std::unique_lock(state_->large);
    state_->look_closely_from(saturating_add(state_->store.total(), more));
    if (state_->exact) held = {};
    return !state_->exact;
  }

  // All counts together come near 2^64: that of one key could pass it.
  void add_exactly(std::span<const Key> keys, std::span<const std::uint64_t> counts) {
    StoreOf<Key>& store = state_->store;
    if (!is_table_ || store.adders() > 0)
      throw_error(errc::count_overflow, "count in", state_->path,
                  "all counts together come near 2^64, and no key can be looked up while there are adders: drop them, "
                  "and add to the table");
    store.drain(*here_);
    std::map<Key, std::uint64_t> sums;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto at = sums.try_emplace(keys[i], 0).first;
      MixedOf<Key> mixed;
      mix_keys<Key>(&keys[i], 0, 1, &mixed);
      const std::uint64_t before = at->second == 0 ? store.get(mixed) : at->second;
      if (std::numeric_limits<std::uint64_t>::max() - before < counts[i])
        throw_error(errc::count_overflow, "count key " + key_text(keys[i]) + " in", state_->path,
                    "it was counted " + std::to_string(before) + " times, and " + std::to_string(counts[i]) +
                        " more are too many; nothing was changed");
      at->second = before + counts[i];
    }
    store.add(*here_, keys.data(), counts.data(), keys.size());
  }

  std::shared_ptr<CountState<Key>> state_{};
  AdderState* here_ = nullptr;
  bool is_table_ = false;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
