// SPDX-License-Identifier: MIT
#include "identity.hpp"

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "support/names.hpp"

namespace kmer_frequency {

support::Job job_of(const Options& options) {
  const Counting& counting = options.counting;
  const Threshold& threshold = options.threshold;
  nlohmann::json inputs = nlohmann::json::array();
  for (const std::string& file : options.files) inputs.push_back(support::facts_of_input(file));
  std::vector<std::string> places;
  for (const std::string& place : options.places) places.push_back(support::encoded(place));
  std::sort(places.begin(), places.end());
  const auto place_of = [](const std::string& name) {
    return name.empty() || name == "-" ? name : support::encoded(std::filesystem::absolute(name).native());
  };
  const auto number = [](const auto& optional) { return optional ? nlohmann::json(*optional) : nlohmann::json(); };
  return {"kmer_frequency",
          std::move(inputs),
          {{"k", counting.k},
           {"canonical", counting.canonical},
           {"occurrence_bits", counting.occurrence_bits},
           {"rows", counting.rows},
           {"min_count", number(threshold.min_count)},
           {"max_appearance_rate", threshold.max_appearance_rate ? threshold.max_appearance_rate->text() : ""},
           {"max_appearance_nrow", number(threshold.max_appearance_nrow)},
           {"output", place_of(options.output)},
           {"sorted", options.sorted},
           {"table", place_of(options.table)},
           {"top", options.top},
           {"histogram", options.histogram},
           {"histogram_svg", place_of(options.histogram_svg)},
           {"places", places}}};
}

}  // namespace kmer_frequency
