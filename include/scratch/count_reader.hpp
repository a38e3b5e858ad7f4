// SPDX-License-Identifier: MIT
// floor 5: wings
//
// Reading a count table.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/postfix.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/file/table_view.hpp>
#include <scratch/detail/count/merge/claim.hpp>
#include <scratch/detail/count/merge/table_guest.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// How many bits the keys of a committed table have, for `with_key_type`: 16, 32, 64 or 128. O(1).
/// @throws Error as `CountReader`, save for `wrong_key_type`
inline unsigned count_key_bits(const Workspace& workspace, std::string_view name) {
  detail::check_file_name(name, "read the count table");
  return detail::TableFile(detail::directory_of(workspace), std::string(name), 0).header().key_bits;
}

/// Counts of a table, or those of them that are wanted: an input range of `Count<Key>`. Shares the table with its
/// reader, and may outlive it.
template <CountKey Key>
class CountRange {
 public:
  class iterator : public detail::Postfix<iterator> {
   public:
    using value_type = Count<Key>;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator() = default;
    Count<Key> operator*() const { return cursor_.here(); }
    iterator& operator++() {
      cursor_.next();
      return *this;
    }
    using detail::Postfix<iterator>::operator++;
    friend bool operator==(const iterator& at, std::default_sentinel_t) { return at.cursor_.at_end(); }

   private:
    friend class CountRange;
    using Cursor = detail::WalkCursor<Key>;

    explicit iterator(Cursor cursor) : cursor_(std::move(cursor)) {}

    Cursor cursor_{};
  };

  /// A pass from the beginning. Passes are independent of each other.
  /// @throws Error `checksum_mismatch`, `corrupt`; so does every step
  iterator begin() const {
    using Cursor = typename iterator::Cursor;
    return iterator(Cursor(std::make_shared<typename Cursor::Walk>(table_, wanted_)));
  }
  std::default_sentinel_t end() const { return {}; }

 private:
  template <CountKey>
  friend class CountReader;
  CountRange(std::shared_ptr<const detail::TableView<Key>> table, const detail::Wanted<Key>& wanted)
      : table_(std::move(table)), wanted_(wanted) {}

  std::shared_ptr<const detail::TableView<Key>> table_;
  detail::Wanted<Key> wanted_;
};

template <CountKey Key>
class JoinedCounts;

/// A committed count table: look up keys, or go through all of them once, in the order of their hashes (16-bit tables:
/// of the keys). What it gives is what was committed, or an exception: every block is checked before it is believed.
///
/// It reads the table that had the name when it was opened, also after another took its place. Thread-safe; copies
/// share what is in memory. Memory: a pass through the counts, or `verify`, takes some 100 KiB, however large the
/// table; the first `get` loads the index, 24 bytes for some 400 keys. A reader of 16-bit keys has all counts in memory.
template <CountKey Key>
class CountReader {
 public:
  /// A single pass.
  using iterator = typename CountRange<Key>::iterator;

  /// @throws Error ENOENT; `wrong_key_type`; `corrupt`, `checksum_mismatch`, `unsupported_version`
  CountReader(const Workspace& workspace, std::string_view name) : path_(workspace.path() / name) {
    detail::check_file_name(name, "read the count table");
    try {
      table_ = std::make_shared<const detail::TableView<Key>>(
          detail::TableFileFor<Key>(detail::table_directory(workspace), std::string(name), detail::key_bits<Key>));
    } catch (const Error& error) {
      if (error.code() != std::errc::no_such_file_or_directory) throw;
      explain_absence(detail::table_directory(workspace), name, error);
    }
  }

  /// A table wherever it is, by whomever it was made.
  /// @throws Error as above
  explicit CountReader(const std::filesystem::path& file)
      : path_(file),
        table_(std::make_shared<const detail::TableView<Key>>(detail::TableFileFor<Key>(file, detail::key_bits<Key>))) {
  }

  /// 0 when the key is not there. O(1): one read of some 2 KiB; the first one reads the index, O(file / 100).
  /// @throws Error ERANGE for a number that is no key; `checksum_mismatch`, `corrupt`
  template <detail::KeyLike<Key> I = Key>
  std::uint64_t get(I key) const {
    return table_->get(detail::key_of<Key>(key));
  }

  /// Whether it was counted, and not left out. As `get`.
  template <detail::KeyLike<Key> I = Key>
  bool contains(I key) const {
    return get(key) > 0;
  }

  /// `counts[i]` is the count of `keys[i]`. Reads blocks in the order of the table, each once for as many keys as it
  /// has, up to 1,048,576 keys at a time: several times as fast as one by one where keys are a thousandth of the table's
  /// or more. O(n log n) for n keys; 16 bytes of memory for each of those at a time.
  /// @throws Error EINVAL unless both have one size; else as above
  void get(std::span<const Key> keys, std::span<std::uint64_t> counts) const {
    if (keys.size() != counts.size())
      detail::throw_error(std::make_error_code(std::errc::invalid_argument), "look up keys in", path_,
                          std::to_string(keys.size()) + " keys, room for " + std::to_string(counts.size()) + " counts");
    table_->get(keys, counts);
  }

  /// All keys, once each. @throws Error as `CountRange::begin`
  iterator begin() const { return at_least(0).begin(); }
  std::default_sentinel_t end() const { return {}; }

  /// The keys counted `threshold` times or more. Blocks of which the index says that all counts are lower are not read,
  /// nor checked.
  CountRange<Key> at_least(std::uint64_t threshold) const { return {table_, {.least = threshold}}; }

  /// The i-th of n equal ranges of the table's order, for n threads or processes: all together have each key once.
  /// O(index + file / n).
  /// @throws Error EINVAL unless i < n
  CountRange<Key> part(unsigned i, unsigned n) const {
    if (i >= n)
      detail::throw_error(std::make_error_code(std::errc::invalid_argument), "read the count table", path_,
                          "there is no part " + std::to_string(i) + " of " + std::to_string(n));
    using Mixed = detail::MixedOf<Key>;
    constexpr unsigned tail = detail::key_bits < Key >> 64 ? 64 : 0;  // bits of the quotient that come in a second step
    const auto start = [&](unsigned k) {
      const detail::UInt128 all = (detail::UInt128{1} << (detail::key_bits<Key> - tail)) * k;
      return (all / n << tail) + (all % n << tail) / n;  // of 128 bits, 2^128 is 0
    };
    if (tail == 0 && start(i) == start(i + 1)) return {table_, {.first = 1, .last = 0}};
    return {table_, {static_cast<Mixed>(start(i)), static_cast<Mixed>(start(i + 1) - 1), 0}};
  }

  /// The n keys with the highest counts, the highest first, and of equal ones the lowest key. O(file), less where blocks
  /// have low counts only, and O(n) memory.
  std::vector<Count<Key>> top(std::size_t n) const {
    const auto higher = [](const Count<Key>& a, const Count<Key>& b) {
      return a.count != b.count ? a.count > b.count : a.key < b.key;
    };
    std::vector<Count<Key>> highest;  // a heap with the least of them in front
    if (n == 0) return highest;
    Walk walk(table_, {});
    for (Entries entries = walk.next(); !entries.empty(); entries = walk.next()) {
      for (const auto& entry : entries) {
        if (highest.size() == n && entry.count < highest.front().count) continue;
        const Count<Key> one{detail::entry_key<Key>(entry), entry.count};
        if (highest.size() == n) {
          if (!higher(one, highest.front())) continue;
          std::pop_heap(highest.begin(), highest.end(), higher);
          highest.pop_back();
        }
        highest.push_back(one);
        std::push_heap(highest.begin(), highest.end(), higher);
      }
      if (highest.size() == n) walk.raise(highest.front().count);
    }
    std::sort_heap(highest.begin(), highest.end(), higher);
    return highest;
  }

  /// How many keys have each count that there is. O(file); memory for each different count.
  std::map<std::uint64_t, std::uint64_t> histogram() const {
    std::array<std::uint64_t, 1024> low{};
    std::map<std::uint64_t, std::uint64_t> keys;
    for_each_entry([&](const auto& entry) {
      ++(entry.count < low.size() ? low[static_cast<std::size_t>(entry.count)] : keys[entry.count]);
    });
    for (std::size_t count = 0; count < low.size(); ++count)
      if (low[count] > 0) keys[count] = low[count];
    return keys;
  }

  /// How many keys are there. O(1).
  std::uint64_t distinct() const { return table_->header().entries; }
  /// The sum of all counts, of keys that were left out, too; 2^64 - 1 also stands for whatever is more.
  std::uint64_t total() const { return table_->header().total; }
  /// The same of the keys that are there.
  std::uint64_t kept_total() const { return table_->header().kept_total; }
  /// Keys that were counted less often were left out when the table was committed; 1: none.
  std::uint64_t kept_at_least() const { return table_->header().at_least; }
  /// Equal for equal contents, however they came about. O(1), save for 16-bit keys.
  std::uint64_t content_checksum() const { return table_->content_checksum(); }

  /// Reads and checks everything. O(file).
  /// @throws Error `checksum_mismatch`, `corrupt`
  void verify() const {
    std::uint64_t sum = 0;
    for_each_entry([&](const auto& entry) { sum = detail::saturating_add(sum, entry.count); });
    if (sum != kept_total())
      detail::throw_error(errc::corrupt, "verify the count table", path_,
                          "the counts do not add up to the total on record");
  }

 private:
  friend class JoinedCounts<Key>;
  using Walk = typename detail::TableView<Key>::Walk;
  using Entries = std::span<const detail::EntryOf<detail::MixedOf<Key>>>;

  template <class Visit>
  void for_each_entry(Visit visit) const {
    Walk walk(table_, {});
    for (Entries entries = walk.next(); !entries.empty(); entries = walk.next())
      for (const auto& entry : entries) visit(entry);
  }

  static void explain_absence(const detail::Directory& directory, std::string_view name, const Error& error) {
    for (const detail::Claim& claim : detail::claims_in(directory))
      if (claim.from == name)
        detail::throw_error(error.code(), error.doing(), error.path(),
                            "it is being merged into \"" + claim.into +
                                "\", or was when its process died: merge again to finish or undo that");
    throw error;
  }

  std::filesystem::path path_;
  std::shared_ptr<const detail::TableView<Key>> table_{};
};

/// A key of two tables, and its count in each; 0 where it is not there.
template <CountKey Key>
struct JoinedCount {
  Key key{};            ///< in one of the tables, or in both
  std::uint64_t a = 0;  ///< its count in the first table
  std::uint64_t b = 0;  ///< its count in the second

  friend bool operator==(const JoinedCount&, const JoinedCount&) = default;
};

/// What `joined` returns: an input range of `JoinedCount<Key>`. Shares both tables with their readers.
template <CountKey Key>
class JoinedCounts {
 public:
  class iterator : public detail::Postfix<iterator> {
   public:
    using value_type = JoinedCount<Key>;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator() = default;
    JoinedCount<Key> operator*() const {
      JoinedCount<Key> both{in_a() ? a_.here().key : b_.here().key};
      if (in_a()) both.a = a_.count();
      if (in_b()) both.b = b_.count();
      return both;
    }
    iterator& operator++() {
      const bool a = in_a(), b = in_b();
      if (a) a_.next();
      if (b) b_.next();
      return *this;
    }
    using detail::Postfix<iterator>::operator++;
    friend bool operator==(const iterator& at, std::default_sentinel_t) { return at.a_.at_end() && at.b_.at_end(); }

   private:
    friend class JoinedCounts;
    using Cursor = detail::WalkCursor<Key>;

    iterator(Cursor a, Cursor b) : a_(std::move(a)), b_(std::move(b)) {}

    // Whether the table has the key that comes next.
    bool in_a() const { return !a_.at_end() && (b_.at_end() || a_.place() <= b_.place()); }
    bool in_b() const { return !b_.at_end() && (a_.at_end() || b_.place() <= a_.place()); }

    Cursor a_{}, b_{};
  };

  /// A pass from the beginning.
  /// @throws Error as `CountRange::begin`
  iterator begin() const {
    using Walk = typename iterator::Cursor::Walk;
    const detail::Wanted<Key> all;
    return {typename iterator::Cursor(std::make_shared<Walk>(a_, all)),
            typename iterator::Cursor(std::make_shared<Walk>(b_, all))};
  }
  std::default_sentinel_t end() const { return {}; }

  /// What `joined(a, b)` makes.
  JoinedCounts(const CountReader<Key>& a, const CountReader<Key>& b) : a_(a.table_), b_(b.table_) {}

 private:
  std::shared_ptr<const detail::TableView<Key>> a_, b_;
};

/// The keys of both tables in their one order, each once. O(both files), some 200 KiB of memory.
template <CountKey Key>
JoinedCounts<Key> joined(const CountReader<Key>& a, const CountReader<Key>& b) {
  return {a, b};
}

}  // namespace scratch::inline SCRATCH_ABI
