// SPDX-License-Identifier: MIT
#include "input_read.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <scratch/atomic_file.hpp>
#include <scratch/file_reader.hpp>

#include "support/names.hpp"

namespace kmer_frequency {
namespace {

using nlohmann::json;

json encoded(const std::vector<std::string>& lines) {
  json all = json::array();
  for (const std::string& line : lines) all.push_back(support::encoded(line));
  return all;
}

std::vector<std::string> decoded(const json& lines) {
  std::vector<std::string> all;
  for (const json& line : lines) all.push_back(support::decoded(line.get<std::string>()));
  return all;
}

std::string to_text(const InputRead& input) {
  const ReadSoFar& so_far = input.read.so_far;
  return json{{"rows", so_far.rows},
              {"bases", so_far.bases},
              {"bytes", so_far.bytes},
              {"other_letters", input.read.other_letters},
              {"notices", encoded(input.read.notices)},
              {"without_rows", encoded(input.read.without_rows)},
              {"kmers", input.counted.kmers},
              {"skipped", input.counted.skipped}}
      .dump();
}

}  // namespace

void put_on_record(const scratch::Workspace& workspace, const std::string& file, const InputRead& input) {
  scratch::write_file(workspace, file, to_text(input));
}

std::optional<InputRead> input_read(const scratch::Workspace& workspace, const std::string& file) try {
  const std::vector<std::byte> bytes = scratch::read_file(workspace, file);
  const json found = json::parse(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  InputRead input;
  input.read.so_far.rows = found.at("rows").get<std::uint64_t>();
  input.read.so_far.bases = found.at("bases").get<std::uint64_t>();
  input.read.so_far.bytes = found.at("bytes").get<std::uint64_t>();
  found.at("other_letters").get_to(input.read.other_letters);
  input.read.notices = decoded(found.at("notices"));
  input.read.without_rows = decoded(found.at("without_rows"));
  input.counted.kmers = found.at("kmers").get<std::uint64_t>();
  input.counted.skipped = found.at("skipped").get<std::uint64_t>();
  return input;
} catch (const json::exception&) {
  return std::nullopt;
}

}  // namespace kmer_frequency
