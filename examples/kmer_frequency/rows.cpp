// SPDX-License-Identifier: MIT
#include "rows.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "row_keys.hpp"

namespace kmer_frequency {
namespace {

using support::Refused;

/// A batch is full then; a row has at least as many k-mers as one counts in the cache before it comes in pieces.
constexpr std::size_t enough_bases = 1 << 19;
constexpr std::size_t enough_rows = 1 << 16;
constexpr std::size_t whole_row = SeenInRow<std::uint64_t>::most_kmers + 64;

/// What every file of BGZF ends with.
constexpr std::string_view bgzf_end("\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0\x1b\0\x03\0\0\0\0\0\0\0\0\0", 28);

/// A file that was cut between two blocks is known before the rest is read.
void check_bgzf(const std::string& name, int fd, std::uint64_t size) {
  std::string bytes(bgzf_end.size(), '\0');
  if (::pread(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return;
  if (!bytes.starts_with("\x1f\x8b") || (bytes[3] & 4) == 0 || bytes.substr(12, 2) != "BC") return;
  if (::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(size - bytes.size())) > 0 && bytes != bgzf_end)
    throw Refused("\"" + name + "\" is truncated: the empty block that ends BGZF is missing");
}

}  // namespace

/// One file while it is read.
class RowSource::Reading {
 public:
  Reading(const std::string& name, support::File file, const std::atomic<bool>* stopped, int alarm)
      : file_(std::move(file)), source_(name, file_, stopped, alarm), sequences_(name, source_) {}

  support::Sequences& sequences() { return sequences_; }
  std::uint64_t bytes() const { return source_.bytes_read(); }

 private:
  support::File file_;
  support::FileSource source_;
  support::Sequences sequences_;
};

RowSource::RowSource(std::vector<std::string> files, unsigned k) : overlap_(k - 1) {
  bool known = true;
  for (const std::string& name : files) {
    support::File file = support::open_input(name);
    struct stat facts {};
    ::fstat(file.get(), &facts);
    inputs_.push_back(support::input_of(name, file));
    if (!S_ISREG(facts.st_mode)) {
      known = false;
      open_.push_back(std::move(file));
      continue;
    }
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    bytes_there_ += size;
    expected_bytes_ += name.ends_with(".gz") ? 4 * size : size;
    if (name == "-") {
      open_.push_back(std::move(file));
      continue;
    }
    open_.emplace_back();
    check_bgzf(name, file.get(), size);
    Reading(name, std::move(file), nullptr, -1).sequences().next();
  }
  if (!known) bytes_there_ = expected_bytes_ = 0;
  so_far_.bytes_there = bytes_there_;
}

RowSource::~RowSource() = default;

void RowSource::stop() noexcept {
  stopped_ = true;
  alarm_.ring();
  row_ended_.notify_all();
}

void RowSource::finish_file() {
  const support::Sequences& sequences = reading_->sequences();
  for (const std::string& notice : sequences.notices()) notices_.push_back(notice);
  if (const std::string why = sequences.why_none(); !why.empty()) why_none_.push_back(why);
  for (std::size_t c = 0; c < other_letters_.size(); ++c) other_letters_[c] += sequences.other_letters()[c];
  bytes_of_finished_ += reading_->bytes();
  reading_.reset();
}

bool RowSource::next_row() {
  for (;;) {
    if (!reading_) {
      if (next_file_ == inputs_.size()) {
        if (so_far_.rows == 0 && !why_none_.empty()) throw Refused(why_none_.front());
        for (std::string& why : why_none_) notices_.push_back(std::move(why));
        why_none_.clear();
        return false;
      }
      const support::Input& input = inputs_[next_file_];
      support::File file = std::move(open_[next_file_]);
      if (!file) file = support::open_input(input.name);
      if (support::input_of(input.name, file).id != input.id)
        throw Refused("\"" + input.name + "\" was replaced by another file meanwhile");
      ++next_file_;
      reading_ = std::make_unique<Reading>(input.name, std::move(file), &stopped_, alarm_.fd());
    }
    if (reading_->sequences().next()) return true;
    finish_file();
  }
}

bool RowSource::fill(Batch& batch) {
  bool within = owner_ == std::this_thread::get_id();
  batch.begins_within = within;
  batch.bases = std::exchange(carried_, {});
  const std::size_t again = batch.bases.size();
  while (batch.bases.size() < enough_bases && batch.ends.size() < enough_rows && (within || next_row())) {
    within = reading_->sequences().read(batch.bases, whole_row);
    batch.ends.push_back(batch.bases.size());
    if (within) break;
    ++so_far_.rows;
  }
  owner_ = {};
  if (within) {
    batch.goes_on = true;
    owner_ = std::this_thread::get_id();
    const std::uint64_t from = batch.ends.size() > 1 ? batch.ends[batch.ends.size() - 2] : 0;
    carried_ =
        batch.bases.substr(std::max<std::size_t>(from, batch.bases.size() - std::min(overlap_, batch.bases.size())));
  }
  so_far_.bases += batch.bases.size() - again;
  so_far_.bytes = bytes_of_finished_ + (reading_ ? reading_->bytes() : 0);
  return !batch.ends.empty();
}

bool RowSource::next(Batch& batch) {
  batch.clear();
  std::unique_lock lock(mutex_);
  row_ended_.wait(lock,
                  [this] { return stopped_ || owner_ == std::thread::id() || owner_ == std::this_thread::get_id(); });
  if (stopped_) return false;
  bool any = false;
  try {
    support::check_stop();
    any = fill(batch);
  } catch (const support::GivenUp&) {
    return false;
  } catch (...) {
    stop();  // one worker says what is wrong: what the others would find behind it means nothing
    throw;
  }
  if (owner_ == std::thread::id()) row_ended_.notify_all();
  if (told_) told_(so_far_);
  return any && !stopped_;
}

ReadSoFar RowSource::so_far() const {
  const std::lock_guard lock(mutex_);
  return so_far_;
}

std::string RowSource::other_letters() const {
  std::string text;
  for (std::size_t c = 'A'; c <= 'Z'; ++c) {
    const std::uint64_t n = other_letters_[c] + other_letters_[c + 32];
    if (n > 0) text += (text.empty() ? "" : ", ") + std::string(1, static_cast<char>(c)) + " " + std::to_string(n);
  }
  return text;
}

}  // namespace kmer_frequency
