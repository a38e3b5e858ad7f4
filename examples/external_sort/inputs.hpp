// SPDX-License-Identifier: MIT
//
// What is to be sorted: files, and directories read recursively, as one sequence of records, any part of which can be
// read. These are the user's own files, on any file system and of any owner, read through the page cache that they
// may already be in; nothing is written beside them.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "record.hpp"
#include "support/errors.hpp"
#include "support/inputs.hpp"
#include "support/stop.hpp"

namespace external_sort {

using support::Refused;

struct InputFile {
  std::filesystem::path path;
  std::uint64_t records = 0;
  support::FileId id = {};
};

struct Inputs {
  std::vector<InputFile> files;
  std::uint64_t records = 0;

  /// @throws Refused for what is missing, is not a file or a directory, or does not hold whole records, and when there
  ///         is nothing to sort
  static Inputs find(const std::vector<std::filesystem::path>& places) {
    Inputs inputs;
    for (const std::filesystem::path& place : places) inputs.take(place);
    if (inputs.records == 0) throw Refused("nothing to sort: the input has no records");
    return inputs;
  }

  std::uint64_t bytes() const { return records * record_size; }

 private:
  void take(const std::filesystem::path& place) {
    namespace fs = std::filesystem;
    std::error_code error;
    const fs::file_status status = fs::status(place, error);
    if (!fs::exists(status)) throw Refused("cannot read " + place.string() + ": " + why(error));
    if (fs::is_regular_file(status)) return take_file(place);
    if (!fs::is_directory(status)) throw Refused("cannot sort " + place.string() + ": not a file or a directory");
    std::vector<fs::path> found;
    fs::recursive_directory_iterator entries(place, error);
    for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error))
      if (entries->is_regular_file() && !is_ours(entries->path().filename().string())) found.push_back(entries->path());
    if (error) throw Refused("cannot read the directory " + place.string() + ": " + error.message());
    std::sort(found.begin(), found.end());
    check_manifest(place);
    for (const fs::path& file : found) take_file(file);
  }

  /// What stands beside parts.
  static bool is_ours(const std::string& name) {
    return name == ".part_manifest" || name.starts_with(".scratch-result-");
  }

  /// A set of parts that says what belongs to it has all of that.
  static void check_manifest(const std::filesystem::path& place) {
    std::ifstream manifest(place / ".part_manifest");
    std::string name;
    for (std::uint64_t size = 0; manifest >> name >> size;) {
      std::error_code error;
      if (std::filesystem::file_size(place / name, error) != size || error)
        throw Refused("the parts in " + place.string() + " are no whole set: " + name + " is not as it was delivered");
    }
  }

  void take_file(const std::filesystem::path& path) {
    std::error_code error;
    const std::uint64_t size = std::filesystem::file_size(path, error);
    if (error) throw Refused("cannot read " + path.string() + ": " + error.message());
    if (size % record_size != 0)
      throw Refused(path.string() + " does not hold whole records of " + std::to_string(record_size) +
                    " bytes: " + std::to_string(size) + " bytes are " + std::to_string(size / record_size) +
                    " records and " + std::to_string(size % record_size) + " bytes");
    const support::File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!file) throw Refused("cannot read " + path.string() + ": " + std::generic_category().message(errno));
    files.push_back({std::filesystem::absolute(path), size / record_size, support::input_of(path.string(), file).id});
    records += size / record_size;
  }

  static std::string why(const std::error_code& error) {
    return error ? error.message() : std::generic_category().message(ENOENT);
  }
};

/// Reads the records `[first, last)` of the inputs, in order.
class InputReader {
 public:
  InputReader(const Inputs& inputs, std::uint64_t first, std::uint64_t last) : inputs_(inputs), left_(last - first) {
    while (left_ > 0 && first >= inputs_.files[file_].records) first -= inputs_.files[file_++].records;
    at_ = first;
  }
  InputReader(const InputReader&) = delete;
  InputReader& operator=(const InputReader&) = delete;
  ~InputReader() { close(); }

  /// Fills `to` from its start. Fewer records than fit come only at the end.
  /// @throws Refused when a file cannot be read, or shrank since it was found
  std::size_t read(std::span<Record> to) {
    support::check_stop();
    std::size_t done = 0;
    while (done < to.size() && left_ > 0) {
      const InputFile& file = inputs_.files[file_];
      if (at_ == file.records) {
        close();
        ++file_;
        at_ = 0;
        continue;
      }
      const auto n =
          static_cast<std::size_t>(std::min({static_cast<std::uint64_t>(to.size() - done), file.records - at_, left_}));
      read_at(file, to.subspan(done, n));
      done += n;
      at_ += n;
      left_ -= n;
    }
    return done;
  }

 private:
  void read_at(const InputFile& file, std::span<Record> to) {
    if (fd_ < 0) fd_ = ::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd_ < 0) fail(file);
    char* data = reinterpret_cast<char*>(to.data());
    std::size_t left = to.size_bytes();
    auto offset = static_cast<off_t>(at_ * record_size);
    while (left > 0) {
      const ssize_t n = ::pread(fd_, data, left, offset);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail(file);
      if (n == 0) throw Refused(file.path.string() + " became shorter while it was read");
      data += n;
      offset += n;
      left -= static_cast<std::size_t>(n);
    }
  }

  [[noreturn]] static void fail(const InputFile& file) {
    throw Refused("cannot read " + file.path.string() + ": " + std::generic_category().message(errno));
  }

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  const Inputs& inputs_;
  std::uint64_t left_;
  std::size_t file_ = 0;
  std::uint64_t at_ = 0;
  int fd_ = -1;
};

}  // namespace external_sort
