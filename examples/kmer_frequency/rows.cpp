// SPDX-License-Identifier: MIT
#include "rows.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <utility>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <htslib/kseq.h>

namespace kmer_frequency {
namespace {

/// A gzip stream, or plain bytes, for kseq.
struct Stream {
  gzFile gz = nullptr;
  const std::string* name = nullptr;
  bool seen_any = false;
  bool is_fastq = false;
  std::uint64_t longest_row = 0;
  const kstring_t* row = nullptr;  // that is being read

  int read(void* into, int size) {
    if (row != nullptr && row->l > longest_row)
      throw std::runtime_error("\"" + *name + "\": a row has more than " + std::to_string(longest_row) +
                               " bases, more than --memory allows");
    const int n = gzread(gz, into, static_cast<unsigned>(size));
    if (n <= 0) check();
    if (n > 0 && !seen_any) check_begins_like_sequences(static_cast<const char*>(into), n);
    return n;
  }

  void check() const {
    int code = Z_OK;
    const char* message = gzerror(gz, &code);
    if (code == Z_OK || code == Z_STREAM_END) return;
    if (code == Z_BUF_ERROR) throw std::runtime_error("\"" + *name + "\" is truncated: its gzip stream has no end");
    throw std::runtime_error("cannot read \"" + *name + "\": " + (code == Z_ERRNO ? std::strerror(errno) : message));
  }

  void check_begins_like_sequences(const char* text, int size) {
    seen_any = true;
    int at = 0;
    while (at < size && (text[at] == '\n' || text[at] == '\r')) ++at;
    is_fastq = at < size && text[at] == '@';
    if (at < size && text[at] != '>' && text[at] != '@')
      throw std::runtime_error("\"" + *name + "\" is neither FASTA nor FASTQ: it does not begin with '>' or '@'");
  }
};

int read_stream(Stream* stream, void* into, int size) { return stream->read(into, size); }

KSTREAM_INIT2(static, Stream*, read_stream, (1 << 18))
__KSEQ_TYPE(Stream*)
__KSEQ_BASIC(static, Stream*)
__KSEQ_READ(static)

}  // namespace
}  // namespace kmer_frequency
#pragma GCC diagnostic pop

namespace kmer_frequency {

class RowSource::File {
 public:
  File(std::string name, std::uint64_t longest_row) : name_(std::move(name)) {
    const int fd = name_ == "-" ? ::dup(0) : ::open(name_.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) throw std::runtime_error("cannot open \"" + name_ + "\": " + std::strerror(errno));
    stream_.gz = gzdopen(fd, "rb");
    if (stream_.gz == nullptr) {
      ::close(fd);
      throw std::bad_alloc();
    }
    gzbuffer(stream_.gz, 1 << 17);
    stream_.name = &name_;
    stream_.longest_row = longest_row;
    sequence_ = kseq_init(&stream_);
  }
  ~File() {
    kseq_destroy(sequence_);
    gzclose_r(stream_.gz);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool next(std::string_view& row) {
    stream_.row = &sequence_->seq;
    const int length = kseq_read(sequence_);
    // A FASTQ record cut off before its '+' looks like one of FASTA.
    const bool cut_off = length >= 0 && stream_.is_fastq && sequence_->qual.l != sequence_->seq.l;
    if (length == -2 || cut_off)
      throw std::runtime_error("\"" + name_ + "\" is truncated: the qualities of \"" + sequence_->name.s +
                               "\" are not as many as its bases");
    if (length < 0) {
      if (!stream_.seen_any) throw std::runtime_error("\"" + name_ + "\" is empty");
      if (!any_) throw std::runtime_error("\"" + name_ + "\" is neither FASTA nor FASTQ: it has no sequences");
      return false;
    }
    any_ = true;
    row = std::string_view(sequence_->seq.s, static_cast<std::size_t>(length));
    return true;
  }

  std::uint64_t offset() const {
    const auto at = gzoffset(stream_.gz);
    return at < 0 ? 0 : static_cast<std::uint64_t>(at);
  }

 private:
  std::string name_;
  Stream stream_;
  kseq_t* sequence_ = nullptr;
  bool any_ = false;
};

RowSource::RowSource(std::vector<std::string> files, std::uint64_t longest_row)
    : files_(std::move(files)), longest_row_(longest_row) {
  bool known = true;
  for (const std::string& file : files_) {
    struct stat facts {};
    if (file == "-" ? ::fstat(0, &facts) != 0 : ::stat(file.c_str(), &facts) != 0)
      throw std::runtime_error("cannot open \"" + file + "\": " + std::strerror(errno));
    if (file != "-" && ::access(file.c_str(), R_OK) != 0)
      throw std::runtime_error("cannot open \"" + file + "\": " + std::strerror(errno));
    if (S_ISDIR(facts.st_mode)) throw std::runtime_error("\"" + file + "\" is a directory");
    if (!S_ISREG(facts.st_mode)) {
      known = false;
      continue;
    }
    if (facts.st_size == 0) throw std::runtime_error("\"" + file + "\" is empty");
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    bytes_there_ += size;
    expected_bytes_ += file.ends_with(".gz") ? 4 * size : size;
  }
  if (!known) bytes_there_ = expected_bytes_ = 0;
  so_far_.bytes_there = bytes_there_;
}

RowSource::~RowSource() = default;

bool RowSource::read_row(std::string_view& row) {
  for (;;) {
    if (!file_) {
      if (next_file_ == files_.size()) return false;
      file_ = std::make_unique<File>(files_[next_file_++], longest_row_);
    }
    if (file_->next(row)) return true;
    bytes_of_finished_ += file_->offset();
    file_.reset();
  }
}

bool RowSource::next(Batch& batch) {
  constexpr std::size_t enough_bases = 1 << 19;
  constexpr std::size_t enough_rows = 1 << 16;
  batch.clear();
  const std::lock_guard lock(mutex_);
  std::string_view row;
  try {
    while (!stopped_ && batch.bases.size() < enough_bases && batch.ends.size() < enough_rows && read_row(row))
      batch.push(row);
  } catch (...) {
    stopped_ = true;  // one worker says what is wrong: what the others would find behind it means nothing
    throw;
  }
  so_far_.rows += batch.ends.size();
  so_far_.bases += batch.bases.size();
  so_far_.bytes = bytes_of_finished_ + (file_ ? file_->offset() : 0);
  if (told_) told_(so_far_);
  return !stopped_ && !batch.ends.empty();
}

ReadSoFar RowSource::so_far() const {
  const std::lock_guard lock(mutex_);
  return so_far_;
}

}  // namespace kmer_frequency
