// SPDX-License-Identifier: MIT
//
// How a job ends that is not done.
#pragma once

#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <system_error>

namespace support {

/// It cannot be done: one line that says what and why. Exit code 1.
struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What was made before is not as it was made: going on cannot mend that.
struct Damaged : Refused {
  using Refused::Refused;
};

/// The command line is wrong, whatever the machine. Exit code 2.
struct WrongUsage : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// It cannot be done, and what there is to say was said. Exit code 1.
struct Told {};

/// A signal came: exit code 128 + its number, and no word.
struct Stopped {};

/// Nobody reads the standard output any more: exit code 141, and no word.
struct ClosedOutput {};

/// Somebody else in this process failed, and says why.
struct GivenUp {};

/// What lines on stderr begin with; `run_program` says it.
inline std::string& program_name() {
  static std::string name = "program";
  return name;
}

/// Something that the user should know, and that is no failure: said also with --quiet.
inline void notice(const std::string& text) {
  std::fprintf(stderr, "%s: notice: %s\n", program_name().c_str(), text.c_str());
}

inline std::string text_of(int error) { return std::generic_category().message(error); }

/// "1 file", "2 files"
inline std::string plural(std::uint64_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

}  // namespace support
