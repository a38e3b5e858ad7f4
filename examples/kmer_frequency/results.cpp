// SPDX-License-Identifier: MIT
#include "results.hpp"

#include <algorithm>
#include <optional>
#include <queue>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/count_reader.hpp>

#include "histogram.hpp"
#include "key_type.hpp"
#include "lines.hpp"
#include "spelling.hpp"

namespace kmer_frequency {
namespace {

/// The N most frequent; of equals, the first in k-mer order.
template <class Key>
class MostFrequent {
 public:
  explicit MostFrequent(std::size_t most) : most_(most) {}

  void see(const scratch::Count<Key>& entry) {
    if (least_first_.size() == most_) {
      if (!Better{}(entry, least_first_.top())) return;
      least_first_.pop();
    }
    least_first_.push(entry);
  }

  std::vector<scratch::Count<Key>> sorted() && {
    std::vector<scratch::Count<Key>> all;
    for (; !least_first_.empty(); least_first_.pop()) all.push_back(least_first_.top());
    std::reverse(all.begin(), all.end());
    return all;
  }

 private:
  struct Better {
    bool operator()(const scratch::Count<Key>& a, const scratch::Count<Key>& b) const {
      return a.count != b.count ? a.count > b.count : a.key < b.key;
    }
  };

  std::size_t most_;
  std::priority_queue<scratch::Count<Key>, std::vector<scratch::Count<Key>>, Better> least_first_;
};

/// How many keys there are of each prefix: where a sorted output can be cut.
template <class Key>
class Prefixes {
 public:
  explicit Prefixes(unsigned key_bits)
      : shift_(key_bits > most_bits ? key_bits - most_bits : 0),
        keys_(std::size_t{1} << std::min(key_bits, most_bits)) {}

  void see(Key key) { ++keys_[static_cast<std::size_t>(number_of(key) >> shift_)]; }

  struct Range {
    Key first, last;
    std::uint64_t keys;
  };
  /// Ranges of keys, in order, each of which has at most so many, save where one prefix has more.
  std::vector<Range> cut(std::uint64_t most) const {
    std::vector<Range> ranges;
    std::uint64_t sum = 0;
    std::size_t from = 0;
    for (std::size_t at = 0; at <= keys_.size(); ++at) {
      if (at < keys_.size() && (sum == 0 || sum + keys_[at] <= most)) {
        sum += keys_[at];
        continue;
      }
      if (sum > 0) ranges.push_back({key_of<Key>(first_of(from)), key_of<Key>(first_of(at) - 1), sum});
      if (at == keys_.size()) break;
      from = at;
      sum = keys_[at];
    }
    return ranges;
  }

 private:
  static constexpr unsigned most_bits = 20;
  // Behind the last one: 0, where numbers are as wide as that.
  NumberOf<Key> first_of(std::size_t prefix) const { return static_cast<NumberOf<Key>>(prefix) << shift_; }

  unsigned shift_;
  std::vector<std::uint64_t> keys_;
};

template <class Key>
class Writer {
 public:
  Writer(scratch::OwnedSession& session, const std::string& table, const Options& options, std::uint64_t rows,
         const Targets& targets, support::Results& results, Progress& progress)
      : session_(session),
        table_(table),
        options_(options),
        targets_(targets),
        results_(results),
        progress_(progress),
        reader_(session, table) {
    found_.distinct = reader_.distinct();
    found_.total = reader_.total();
    found_.least_count = options.threshold.least_count(rows);
  }

  Found write() {
    const std::string file_name = options_.output.ends_with(".gz") ? "output.gz" : "output";
    std::optional<Lines> lines;
    if (targets_.output != nullptr) lines.emplace(session_, file_name, *targets_.output);

    results_.attempt(
        [&] {
          first_pass(lines ? &*lines : nullptr);
          if (lines && options_.sorted) write_sorted(*lines);
          if (lines) lines->commit();
          if (lines && !targets_.output->is_stream()) results_.deliver(session_, *targets_.output, file_name);
        },
        table_);
    if (targets_.histogram_svg != nullptr)
      results_.attempt(
          [&] {
            histogram_.draw(session_, "histogram.svg");
            results_.deliver(session_, *targets_.histogram_svg, "histogram.svg");
          },
          table_);
    if (options_.histogram || options_.top > 0) results_.attempt([&] { print(); }, table_);
    return found_;
  }

 private:
  // All counts where the histogram or the top asks for them; else those over the threshold.
  void first_pass(Lines* lines) {
    const bool all = options_.histogram || !options_.histogram_svg.empty() || options_.top > 0;
    const bool in_order_of_table = lines != nullptr && !options_.sorted;
    if (!all && lines == nullptr && found_.least_count <= 1) {
      found_.over_threshold = found_.distinct;
      return;
    }
    if (options_.sorted && lines != nullptr) prefixes_.emplace(options_.counting.key_bits());
    std::uint64_t seen = 0;
    for (const auto& entry : reader_.at_least(all ? 1 : found_.least_count)) {
      if (++seen % 65536 == 0) {
        support::check_stop();
        progress_.step("reading", seen, found_.distinct);
      }
      if (all) histogram_.see(entry.count);
      if (entry.count < found_.least_count) continue;
      ++found_.over_threshold;
      if (options_.top > 0) top_.see(entry);
      if (in_order_of_table) write_line(*lines, entry);
      if (prefixes_) prefixes_->see(entry.key);
    }
  }

  // What is over the threshold need not fit in memory: range after range is gathered from the table and sorted. A pass
  // over the table costs less than sorting what it gives.
  void write_sorted(Lines& lines) {
    const std::uint64_t most = std::max<std::uint64_t>(options_.counting.memory / 2 / sizeof(scratch::Count<Key>), 1);
    const auto ranges = prefixes_->cut(most);
    prefixes_.reset();
    std::vector<scratch::Count<Key>> entries;
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      const auto& range = ranges[i];
      entries.clear();
      entries.reserve(static_cast<std::size_t>(range.keys));
      support::check_stop();
      for (const auto& entry : reader_.at_least(found_.least_count))
        if (entry.key >= range.first && entry.key <= range.last) entries.push_back(entry);
      support::check_stop();
      std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
      for (std::size_t n = 0; n < entries.size(); ++n) {
        if (n % 65536 == 0) support::check_stop();
        write_line(lines, entries[n]);
      }
      progress_.step("sorting", i + 1, ranges.size());
    }
  }

  void write_line(Lines& lines, const scratch::Count<Key>& entry) const {
    lines.advance(spell_line(entry.key, entry.count, options_.counting, lines.prepare(longest_line)));
  }

  void print() {
    progress_.clear();
    Lines out;
    for (const auto& entry : std::move(top_).sorted()) write_line(out, entry);
    if (options_.histogram) histogram_.print(out);
    out.commit();
  }

  scratch::OwnedSession& session_;
  std::string table_;
  const Options& options_;
  const Targets& targets_;
  support::Results& results_;
  Progress& progress_;
  scratch::CountReader<Key> reader_;
  Found found_;
  Histogram histogram_;
  MostFrequent<Key> top_{options_.top};
  std::optional<Prefixes<Key>> prefixes_;
};

}  // namespace

Found write_results(scratch::OwnedSession& session, const std::string& table, const Options& options,
                    std::uint64_t rows, const Targets& targets, support::Results& results, Progress& progress) {
  return scratch::with_key_type(options.counting.key_bits(), [&]<class Key>(std::type_identity<Key>) {
    const Found found = Writer<Key>(session, table, options, rows, targets, results, progress).write();
    if (targets.table == nullptr) return found;
    if (options.resume)  // whoever goes on needs it until all is done
      results.attempt([&] { targets.table->take({session.path() / table}); }, table);
    else
      results.deliver(session, *targets.table, table);
    return found;
  });
}

}  // namespace kmer_frequency
