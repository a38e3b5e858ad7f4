// SPDX-License-Identifier: MIT
//
// What each phase took, as a table for programs.
#pragma once

#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>

#include "stage.hpp"

namespace external_sort {

/// A line for each worker in each phase, and one for the phase as a whole: its bytes are those of the workers
/// together, its seconds those that passed.
class Metrics {
 public:
  Metrics() { csv_ << "phase,worker,seconds,records,bytes_read,bytes_written\n"; }

  void add(std::string_view phase, std::string_view worker, double seconds, const Work& work) {
    csv_ << phase << ',' << worker << ',' << seconds << ',' << work.set.items << ',' << work.bytes_read << ','
         << work.bytes_written << '\n';
  }

  std::string csv() const { return csv_.str(); }

 private:
  std::ostringstream csv_;
};

}  // namespace external_sort
