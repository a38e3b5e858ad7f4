// SPDX-License-Identifier: MIT
//
// Files as the file system knows them, whatever they are called.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "errors.hpp"
#include "streams.hpp"

namespace support {

struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const FileId&, const FileId&) = default;
};

inline FileId id_of(const struct stat& facts) { return {facts.st_dev, facts.st_ino}; }

/// An input, and what the user calls it: no result may take its place.
struct Input {
  std::string name;
  FileId id;
};

/// Opens what is to be read, `-` for the standard input, without waiting for anybody who writes to it.
/// @throws Refused
inline File open_input(const std::string& name) {
  File file(name == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                        : ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  const int error = errno;
  if (!file) throw Refused("cannot open \"" + name + "\": " + text_of(error));
  struct stat facts {};
  if (::fstat(file.get(), &facts) == 0 && S_ISDIR(facts.st_mode)) throw Refused("\"" + name + "\" is a directory");
  if (name == "-" && (::fcntl(file.get(), F_GETFL) & O_ACCMODE) == O_WRONLY)
    throw Refused("cannot open \"-\": " + text_of(EBADF));
  return file;
}

inline Input input_of(const std::string& name, const File& file) {
  struct stat facts {};
  ::fstat(file.get(), &facts);
  return {name, id_of(facts)};
}

}  // namespace support
