// SPDX-License-Identifier: MIT
//
// How a sort is cut into pieces that fit in memory, and what it takes: computed before anything is written.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>
#include <scratch/scratch.hpp>

#include "inputs.hpp"
#include "multiset.hpp"
#include "support/errors.hpp"
#include "support/names.hpp"
#include "support/sizes.hpp"

namespace external_sort {

using namespace scratch::literals;

/// What every worker knows. It stands in the session's metadata.json, under `user`, for workers that join.
struct Plan {
  Inputs inputs;
  unsigned workers = 1;
  std::uint64_t partitions = 1;
  unsigned slices = 1;              ///< of each worker's share; each is partitioned for itself
  std::uint64_t worker_memory = 0;  ///< items and their order
  std::uint64_t buffers = 32_MiB;   ///< what the library may use, in each process, for files being read and written
  bool keep_finished = false;
  std::uint64_t longest = 0;  ///< of the items; known when they were partitioned

  /// The program itself: code, stacks, names.
  static constexpr std::uint64_t program_memory = 12_MiB;
  /// The blocks in flight of each of many open files.
  static constexpr std::uint64_t file_memory = 768_KiB;
  /// All blocks in flight, and those that the library keeps for the next file.
  static constexpr std::uint64_t most_transfer_memory = 96_MiB;
  /// Of an item that is sorted, beside itself.
  static constexpr std::uint64_t entry_memory = 16;
  static constexpr std::uint64_t least_worker_memory = 2_MiB;
  /// A sampled partition is rarely larger than the mean by more than this.
  static constexpr std::uint64_t slack_percent = 15;

  /// What is done in pieces loses a piece for each worker when it is killed: so many are enough, if none is smaller.
  static constexpr std::uint64_t pieces = 16;
  static constexpr std::uint64_t least_piece = 1_MiB;
  /// Nor the file that a slice has for a partition.
  static constexpr std::uint64_t least_file = 32_KiB;

  /// More threads than processors, and than a few, are slower where the files between them have less than that.
  static constexpr std::uint64_t least_share = 2_MiB;
  static constexpr unsigned few_workers = 4;

  /// What holds items, and entries that say in which order they are.
  std::uint64_t arena() const { return inputs.format.lines ? std::min(worker_memory, 4_GiB - 1) : worker_memory; }
  /// Bytes of items that a worker sorts at a time, about.
  std::uint64_t capacity() const { return arena() / (inputs.mean + entry_memory) * inputs.mean; }
  /// No item may be longer: two of them are merged, and written, in the memory of a worker.
  std::uint64_t longest_item() const { return worker_memory / 4; }

  std::uint64_t begin_of(unsigned worker) const { return begin_of(worker, 0); }
  std::uint64_t begin_of(unsigned worker, unsigned slice) const {
    const auto part = [](std::uint64_t of, unsigned i, unsigned n) { return of / n * i + of % n * i / n; };
    const std::uint64_t first = part(inputs.size, worker, workers);
    return first + part(part(inputs.size, worker + 1, workers) - first, slice, slices);
  }

  bool owns(unsigned worker, std::uint64_t partition) const { return partition % workers == worker; }

  /// Items that are looked at one after the other, where a sample is taken.
  std::uint64_t items_per_position() const {
    return std::clamp<std::uint64_t>(worker_memory / 8 / sample_size(), 1, 8);
  }
  /// Of the samples of all the workers together: enough to tell a partition's size to a few percent.
  std::uint64_t sample_positions() const {
    const std::uint64_t room = workers * worker_memory / 2 / (items_per_position() * (sample_size() + entry_memory));
    return std::min(std::clamp<std::uint64_t>(partitions * 256, 1024, 65536), room);
  }
  std::uint64_t sample_size() const {
    return inputs.format.lines ? std::min<std::uint64_t>(inputs.mean, 256) : inputs.mean;
  }

  /// @param resumes it may be killed and gone on with: cut so that little is lost
  /// @param places  that share what there is to write
  /// @param asked   for so many workers: fewer are a notice
  /// @throws Refused when there is too little memory for one worker
  static Plan make(Inputs inputs, std::uint64_t memory, unsigned workers, bool processes, bool resumes = false,
                   std::size_t places = 1, bool asked = true) {
    const unsigned wanted = workers;
    while (workers > 1 && std::uint64_t{workers} * (processes ? 1 : workers) > support::files_to_open()) --workers;
    const char* short_of = "open files than this process may have (ulimit -n)";
    const auto programs = [&] { return program_memory * (processes ? workers : 1); };
    const auto least = [&] { return (programs() + workers * least_worker_memory) * 3 / 2; };
    // Threads have a file of each partition open at once, each.
    const auto files = [&] { return processes ? 0 : std::uint64_t{workers} * workers * file_memory / 3 * 4; };
    while (workers > 1 && (memory < least() || memory - programs() < files())) {
      --workers;
      short_of = "memory than there is (--memory)";
    }
    if (memory < least())
      throw Refused("too little memory: " + scratch::readable_size(memory) + ", and a worker needs " +
                    scratch::readable_size(least()) + " (--memory)");
    Plan plan;
    plan.inputs = std::move(inputs);
    const std::uint64_t bytes = plan.inputs.bytes(), transfers = std::min(memory / 3, most_transfer_memory);
    const auto rounds = [&] {
      plan.worker_memory = (memory - programs() - transfers) / workers;
      const std::uint64_t full = std::max<std::uint64_t>(1, plan.capacity() / (100 + slack_percent) * 100);
      return std::max<std::uint64_t>(1, (bytes + full * workers - 1) / (full * workers));
    };
    const auto most_rounds = [&] {
      const std::uint64_t most_files =
          std::min(std::min<std::uint64_t>(support::files_to_open(), 4048) * (processes ? workers : 1),
                   (memory - programs()) / file_memory);
      return most_files / workers / workers;
    };
    const unsigned processors = support::usual_workers();
    while (!processes && workers > processors && rounds() > most_rounds()) {
      --workers;
      short_of = "memory than there is (--memory)";
    }
    while (!processes && workers > std::max(few_workers, processors) &&
           bytes / workers / workers / rounds() < least_share) {
      --workers;
      short_of = "input than there is";
    }
    if (workers < wanted && asked)
      support::notice(support::plural(workers, "worker") + " instead of " + std::to_string(wanted) +
                      ": more would need more " + short_of);
    plan.workers = workers;
    plan.buffers = transfers / 3 / (processes ? workers : 1);
    const std::uint64_t needed_rounds = rounds();
    if (!plan.inputs.format.lines && plan.inputs.format.record > plan.longest_item())
      throw Refused("too little memory: a worker has " + scratch::readable_size(plan.worker_memory) +
                    ", and needs that of four records, " + scratch::readable_size(4 * plan.inputs.format.record) +
                    " (--memory, --workers)");
    const std::uint64_t least_rounds = resumes || places > 1 ? std::min(pieces, bytes / workers / least_piece) : 1;
    plan.partitions =
        std::max<std::uint64_t>(1, std::min(std::max(needed_rounds, least_rounds), most_rounds())) * workers;
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
    longest = earlier.longest;
  }

  nlohmann::json to_json() const {
    nlohmann::json files = nlohmann::json::array();
    for (const InputFile& file : inputs.files)
      files.push_back({support::encoded(file.path.native()), file.size, file.has_end});
    return {{"inputs", files},
            {"format", inputs.format.to_json()},
            {"mean", inputs.mean},
            {"workers", workers},
            {"partitions", partitions},
            {"slices", slices},
            {"worker_memory", worker_memory},
            {"keep_finished", keep_finished}};
  }

  static Plan from_json(const nlohmann::json& json) {
    Plan plan;
    for (const nlohmann::json& file : json.at("inputs")) {
      plan.inputs.files.push_back({support::decoded(file.at(0).get<std::string>()),
                                   file.at(1).get<std::uint64_t>(),
                                   file.at(2).get<bool>(),
                                   {}});
      plan.inputs.size += plan.inputs.files.back().size;
      plan.inputs.ends_lacked += plan.inputs.files.back().has_end ? 0 : 1;
    }
    plan.inputs.format = Format::from_json(json.at("format"));
    plan.inputs.mean = json.at("mean").get<std::uint64_t>();
    plan.workers = json.at("workers").get<unsigned>();
    plan.partitions = json.at("partitions").get<std::uint64_t>();
    plan.slices = json.at("slices").get<unsigned>();
    plan.worker_memory = json.at("worker_memory").get<std::uint64_t>();
    plan.keep_finished = json.at("keep_finished").get<bool>();
    if (json.contains("input")) plan.longest = Multiset::from_json(json.at("input")).longest;
    return plan;
  }
};

}  // namespace external_sort
