// SPDX-License-Identifier: MIT
#include "rows.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "row_keys.hpp"

namespace kmer_frequency {
namespace {

using support::Refused;

/// A batch is full then; a row has at least as many k-mers as one counts in the cache before it comes in pieces.
constexpr std::size_t enough_bases = 1 << 19;
constexpr std::size_t enough_text = 1 << 19;
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

/// The last letters of a row that goes on behind a text.
std::string tail_of_row(std::string_view text, std::size_t most, std::string_view before) {
  std::string tail;
  while (tail.size() < most) {
    if (text.empty()) {
      tail.insert(0, before.substr(before.size() - std::min(before.size(), most - tail.size())));
      break;
    }
    const std::size_t begin = text.find_last_of('\n') + 1;  // 0: there is none
    const std::string_view line = text.substr(begin);
    if (line.starts_with('>')) break;
    tail.insert(0, line.substr(line.size() - std::min(line.size(), most - tail.size())));
    text.remove_suffix(line.size());
    if (begin > 0) text.remove_suffix(1);
  }
  return tail;
}

}  // namespace

/// One file while it is read.
class RowSource::Reading {
 public:
  Reading(const Piece& piece, support::File file, const std::atomic<bool>* stopped, int alarm)
      : file_(at(piece.begin, std::move(file))),
        source_(piece.file, file_, stopped, alarm, piece.end - piece.begin),
        sequences_(piece.file, source_) {}

  support::Sequences& sequences() { return sequences_; }
  std::uint64_t bytes() const { return source_.bytes_read(); }

 private:
  static support::File at(std::uint64_t offset, support::File file) {
    if (offset > 0) ::lseek(file.get(), static_cast<off_t>(offset), SEEK_SET);
    return file;
  }

  support::File file_;
  support::FileSource source_;
  support::Sequences sequences_;
};

RowSource::RowSource(const std::vector<std::string>& files, unsigned k, bool one_worker)
    : overlap_(k - 1), one_worker_(one_worker), bytes_are_known_(true) {
  for (const std::string& name : files) add({name});
  if (!bytes_are_known_) bytes_there_ = expected_bytes_ = 0;
}

RowSource::RowSource(Share share, unsigned k, bool one_worker)
    : is_share_(true), overlap_(k - 1), one_worker_(one_worker), bytes_are_known_(true) {
  for (const Piece& piece : share.pieces) add(piece);
}

void RowSource::add(const Piece& piece) {
  support::File file = support::open_input(piece.file);
  struct stat facts {};
  ::fstat(file.get(), &facts);
  inputs_.push_back(support::input_of(piece.file, file));
  pieces_.push_back(piece);
  if (!S_ISREG(facts.st_mode)) {
    bytes_are_known_ = false;
    open_.push_back(std::move(file));
    return;
  }
  const std::uint64_t size = std::min(static_cast<std::uint64_t>(facts.st_size), piece.end) - piece.begin;
  bytes_there_ += size;
  expected_bytes_ += piece.file.ends_with(".gz") ? 4 * size : size;
  if (piece.file == "-") {
    open_.push_back(std::move(file));
    return;
  }
  open_.emplace_back();
  if (is_share_) return;
  check_bgzf(piece.file, file.get(), size);
  Reading(piece, std::move(file), nullptr, -1).sequences().next();
}

RowSource::~RowSource() = default;

void RowSource::stop() noexcept {
  stopped_ = true;
  alarm_.ring();
  row_ended_.notify_all();
}

void RowSource::finish_file() {
  const support::Sequences& sequences = reading_->sequences();
  for (const std::string& notice : sequences.notices()) found_.notices.push_back(notice);
  if (const std::string why = sequences.why_none(); !why.empty()) found_.without_rows.push_back(why);
  for (std::size_t c = 0; c < found_.other_letters.size(); ++c) found_.other_letters[c] += sequences.other_letters()[c];
  bytes_of_finished_ += reading_->bytes();
  reading_.reset();
}

bool RowSource::next_row() {
  for (;;) {
    if (!reading_) {
      if (next_file_ == inputs_.size()) return false;
      const support::Input& input = inputs_[next_file_];
      support::File file = std::move(open_[next_file_]);
      if (!file) file = support::open_input(input.name);
      if (support::input_of(input.name, file).id != input.id)
        throw Refused("\"" + input.name + "\" was replaced by another file meanwhile");
      reading_ = std::make_unique<Reading>(pieces_[next_file_++], std::move(file), &stopped_, alarm_.fd());
    }
    if (reading_->sequences().next()) return true;
    finish_file();
  }
}

bool RowSource::take_plain(Batch& batch) {
  if (!reading_) return false;
  if (!batch.text) batch.text = std::make_unique_for_overwrite<char[]>(enough_text);
  const auto plain = reading_->sequences().take_plain(batch.text.get(), enough_text);
  if (!plain) return false;
  batch.text_size = plain->size;
  batch.goes_on = plain->goes_on;
  found_.so_far.rows += plain->rows + (within_ ? 1 : 0) - (plain->goes_on ? 1 : 0);
  found_.so_far.bases += plain->letters;
  within_ = plain->goes_on;
  if (within_) carried_ = tail_of_row({batch.text.get(), batch.text_size}, overlap_, batch.bases);
  return true;
}

void RowSource::read_rows(Batch& batch) {
  const std::size_t again = batch.bases.size();
  while (batch.bases.size() < enough_bases && batch.ends.size() < at_once_ && (within_ || next_row())) {
    within_ = reading_->sequences().read(batch.bases, whole_row);
    batch.ends.push_back(batch.bases.size());
    if (within_) break;
    ++found_.so_far.rows;
  }
  found_.so_far.bases += batch.bases.size() - again;
  batch.goes_on = within_;
  if (!within_) return;
  const std::size_t from = batch.ends.size() > 1 ? batch.ends[batch.ends.size() - 2] : 0;
  carried_ =
      batch.bases.substr(std::max<std::size_t>(from, batch.bases.size() - std::min(overlap_, batch.bases.size())));
}

bool RowSource::fill(Batch& batch) {
  batch.begins_within = within_;
  batch.bases = std::exchange(carried_, {});
  if (take_plain(batch)) {
    at_once_ = 1;
  } else {
    read_rows(batch);
    at_once_ = std::min(at_once_ * 2, enough_rows);
  }
  owner_ = within_ && one_worker_ ? std::this_thread::get_id() : std::thread::id();
  found_.so_far.bytes = bytes_of_finished_ + (reading_ ? reading_->bytes() : 0);
  return batch.text_size > 0 || !batch.ends.empty();
}

// The rows of a plain text.
void RowSource::take_rows(Batch& batch) {
  const std::string_view text(batch.text.get(), std::exchange(batch.text_size, 0));
  const std::size_t again = batch.bases.size();
  const auto line_end = [text](std::size_t from) {
    const void* const end = std::memchr(text.data() + from, '\n', text.size() - from);
    return end == nullptr ? text.size() : static_cast<std::size_t>(static_cast<const char*>(end) - text.data());
  };
  bool is_open = batch.begins_within;
  const bool is_fastq = text.starts_with('@');
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = line_end(at);
    if (is_fastq || text[at] == '>') {
      if (is_open) batch.ends.push_back(batch.bases.size());
      is_open = true;
      at = end + 1;
      if (!is_fastq) continue;
      const std::size_t row_end = line_end(at);
      batch.bases.append(text, at, row_end - at);
      at = line_end(row_end + 1) + 1 + (row_end - at) + 1;
    } else {
      batch.bases.append(text, at, end - at);
      at = end + 1;
    }
  }
  if (is_open) batch.ends.push_back(batch.bases.size());
  std::array<std::uint64_t, 256> others{};
  if (!support::count_no_bases(std::string_view(batch.bases).substr(again), others)) return;
  const std::lock_guard lock(mutex_);
  for (std::size_t c = 0; c < others.size(); ++c) found_.other_letters[c] += others[c];
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
  if (told_) told_(found_.so_far);
  lock.unlock();
  if (batch.text_size > 0) take_rows(batch);
  return any && !stopped_;
}

FilesRead RowSource::found() const {
  const std::lock_guard lock(mutex_);
  return found_;
}

FilesRead& FilesRead::operator+=(const FilesRead& other) {
  so_far.rows += other.so_far.rows;
  so_far.bases += other.so_far.bases;
  so_far.bytes += other.so_far.bytes;
  for (std::size_t c = 0; c < other_letters.size(); ++c) other_letters[c] += other.other_letters[c];
  notices.insert(notices.end(), other.notices.begin(), other.notices.end());
  without_rows.insert(without_rows.end(), other.without_rows.begin(), other.without_rows.end());
  return *this;
}

std::vector<std::string> FilesRead::words() const {
  if (so_far.rows == 0 && !without_rows.empty()) throw Refused(without_rows.front());
  std::vector<std::string> all = notices;
  all.insert(all.end(), without_rows.begin(), without_rows.end());
  return all;
}

std::string FilesRead::letters() const {
  std::string text;
  for (std::size_t c = 'A'; c <= 'Z'; ++c) {
    const std::uint64_t n = other_letters[c] + other_letters[c + 32];
    if (n > 0) text += (text.empty() ? "" : ", ") + std::string(1, static_cast<char>(c)) + " " + std::to_string(n);
  }
  return text;
}

}  // namespace kmer_frequency
