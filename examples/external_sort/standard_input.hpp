// SPDX-License-Identifier: MIT
//
// What comes through the standard input, as a file that any part of can be read: in a session of its own, for as long as
// it is needed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <scratch/scratch.hpp>

#include "support/errors.hpp"
#include "support/inputs.hpp"
#include "support/streams.hpp"
#include "support/sweeping.hpp"

namespace external_sort {

class StandardInput {
 public:
  /// Reads it to its end. @param quota 0: none @throws support::Refused, support::Stopped, scratch::Error
  StandardInput(const scratch::AnyPlace& place, std::uint64_t quota)
      : session_(swept(place), "external_sort_input", {.quota = quota}) {
    const support::File from = support::open_input("-");
    scratch::AtomicFile file(session_, name);
    std::vector<char> block(std::size_t{1} << 20);
    for (;;) {
      const ssize_t n = support::read_some(from.get(), block.data(), block.size());
      if (n < 0) throw support::Refused("cannot read the standard input: " + support::text_of(errno));
      if (n == 0) break;
      file.append(std::string_view(block.data(), static_cast<std::size_t>(n)));
    }
    file.commit();
  }

  std::filesystem::path file() const { return session_.path() / name; }

 private:
  static const scratch::AnyPlace& swept(const scratch::AnyPlace& place) {
    support::sweep_at_start(place);
    return place;
  }

  static constexpr const char* name = "stdin";
  scratch::SessionDir<scratch::AnyPlace> session_;
};

}  // namespace external_sort
