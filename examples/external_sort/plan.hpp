// SPDX-License-Identifier: MIT
//
// How a sort is cut into pieces that fit in memory, and what it takes: computed before anything is written.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>
#include <scratch/scratch.hpp>

#include "inputs.hpp"
#include "memory_sort.hpp"
#include "record.hpp"
#include "support/errors.hpp"
#include "support/names.hpp"

namespace external_sort {

using namespace scratch::literals;

/// The files that this process may write at once, each with two descriptors: its own, and that of the ring which moves its
/// bytes. A few are left for other uses. As many as it may have without asking anybody.
inline std::uint64_t files_to_open() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 4096;
  constexpr rlim_t enough = 32768;
  if (limit.rlim_cur < enough && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = std::min(enough, limit.rlim_max);
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) ::getrlimit(RLIMIT_NOFILE, &limit);
  }
  return (std::clamp<std::uint64_t>(limit.rlim_cur, 64, enough) - 48) / 2;
}

/// What every worker knows. It stands in the session's metadata.json, under `user`, for workers that join.
struct Plan {
  Inputs inputs;
  unsigned workers = 1;
  std::uint64_t partitions = 1;
  unsigned slices = 1;              ///< of each worker's share; each is partitioned for itself
  std::uint64_t worker_memory = 0;  ///< records and their order
  std::uint64_t buffers = 32_MiB;   ///< what the library may use, in each process, for files being read and written
  bool keep_finished = false;

  /// The program itself: code, stacks, names.
  static constexpr std::uint64_t program_memory = 12_MiB;
  /// The blocks in flight of each of many open files.
  static constexpr std::uint64_t file_memory = 768_KiB;
  /// All blocks in flight, and those that the library keeps for the next file.
  static constexpr std::uint64_t most_transfer_memory = 96_MiB;
  static constexpr std::uint64_t least_worker_memory = 2_MiB;
  /// A sampled partition is rarely larger than the mean by more than this.
  static constexpr std::uint64_t slack_percent = 15;

  /// What is done in pieces loses a piece for each worker when it is killed: so many are enough, if none is smaller.
  static constexpr std::uint64_t pieces = 16;
  static constexpr std::uint64_t least_piece = 1_MiB;
  /// Nor the file that a slice has for a partition.
  static constexpr std::uint64_t least_file = 32_KiB;

  /// Records that a worker sorts at a time.
  std::uint64_t capacity() const { return worker_memory / (record_size + MemorySort::bytes_per_record); }

  std::uint64_t first_record(unsigned worker) const { return inputs.records * worker / workers; }
  std::uint64_t first_record(unsigned worker, unsigned slice) const {
    const std::uint64_t first = first_record(worker);
    return first + (first_record(worker + 1) - first) * slice / slices;
  }

  bool owns(unsigned worker, std::uint64_t partition) const { return partition % workers == worker; }

  /// Samples of all the workers together: enough to tell a partition's size to a few percent.
  std::uint64_t sample_positions() const { return std::clamp<std::uint64_t>(partitions * 256, 1024, 65536); }
  static constexpr std::uint64_t records_per_position = 8;

  /// @param resumes it may be killed and gone on with: cut so that little is lost
  /// @throws Refused when there is too little memory for so many workers
  static Plan make(Inputs inputs, std::uint64_t memory, unsigned workers, bool processes, bool resumes = false) {
    const unsigned asked = workers;
    while (workers > 1 && std::uint64_t{workers} * (processes ? 1 : workers) > files_to_open()) --workers;
    if (workers < asked)
      support::notice(std::to_string(workers) + " workers instead of " + std::to_string(asked) +
                      ": more would need more open files than this process may have (ulimit -n)");
    const std::uint64_t programs = program_memory * (processes ? workers : 1);
    const std::uint64_t least = (programs + workers * least_worker_memory) * 3 / 2;
    if (memory < least)
      throw Refused("too little memory: " + scratch::readable_size(memory) + ", and " + std::to_string(workers) +
                    (processes ? " worker processes need " : " workers need ") + scratch::readable_size(least) +
                    " (--memory, --workers)");
    Plan plan;
    plan.inputs = std::move(inputs);
    plan.workers = workers;
    const std::uint64_t transfers = std::min(memory / 3, most_transfer_memory);
    plan.worker_memory = (memory - programs - transfers) / workers;
    plan.buffers = transfers / 3 / (processes ? workers : 1);
    const std::uint64_t full = plan.capacity() * 100 / (100 + slack_percent);
    const std::uint64_t rounds = (plan.inputs.records + full * workers - 1) / (full * workers);
    const std::uint64_t most_files = std::min(
        std::min<std::uint64_t>(files_to_open(), 4048) * (processes ? workers : 1), (memory - programs) / file_memory);
    const std::uint64_t most_rounds = most_files / workers / workers;
    const std::uint64_t bytes = plan.inputs.bytes();
    const std::uint64_t least_rounds = resumes ? std::min(pieces, bytes / workers / least_piece) : 1;
    plan.partitions = std::max<std::uint64_t>(1, std::min(std::max(rounds, least_rounds), most_rounds)) * workers;
    if (resumes)
      plan.slices = static_cast<unsigned>(std::clamp<std::uint64_t>(bytes / plan.partitions / workers / least_file, 1,
                                                                    std::max<std::uint64_t>(1, least_rounds)));
    return plan;
  }

  /// As an earlier run cut the same inputs with the same options.
  void cut_as(const Plan& earlier) {
    workers = earlier.workers;
    partitions = earlier.partitions;
    slices = earlier.slices;
    worker_memory = earlier.worker_memory;
  }

  nlohmann::json to_json() const {
    nlohmann::json files = nlohmann::json::array();
    for (const InputFile& file : inputs.files) files.push_back({support::encoded(file.path.native()), file.records});
    return {{"inputs", files},
            {"records", inputs.records},
            {"workers", workers},
            {"partitions", partitions},
            {"slices", slices},
            {"worker_memory", worker_memory},
            {"keep_finished", keep_finished}};
  }

  static Plan from_json(const nlohmann::json& json) {
    Plan plan;
    for (const nlohmann::json& file : json.at("inputs"))
      plan.inputs.files.push_back(
          {support::decoded(file.at(0).get<std::string>()), file.at(1).get<std::uint64_t>(), {}});
    plan.inputs.records = json.at("records").get<std::uint64_t>();
    plan.workers = json.at("workers").get<unsigned>();
    plan.partitions = json.at("partitions").get<std::uint64_t>();
    plan.slices = json.at("slices").get<unsigned>();
    plan.worker_memory = json.at("worker_memory").get<std::uint64_t>();
    plan.keep_finished = json.at("keep_finished").get<bool>();
    return plan;
  }
};

}  // namespace external_sort
