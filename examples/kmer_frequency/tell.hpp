// SPDX-License-Identifier: MIT
//
// The session's life as lines on the standard error.
#pragma once

#include <cstdio>
#include <string>

#include <scratch/bytes.hpp>
#include <scratch/event.hpp>

namespace kmer_frequency {

/// One write a line: threads and processes tell at the same time.
inline void tell(const scratch::Event& event) {
  std::string text = std::string("  ") + to_string(event.kind);
  text.resize(20, ' ');
  text += event.path.filename().native();
  if (event.kind == scratch::EventKind::session_closed && event.message.empty()) text += "  gone, and what it held";
  if (event.bytes > 0) text += "  " + scratch::readable_size(event.bytes);
  if (!event.message.empty()) text += "  " + event.message;
  std::fputs((text + "\n").c_str(), stderr);
}

}  // namespace kmer_frequency
