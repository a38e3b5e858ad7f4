// SPDX-License-Identifier: MIT
//
// The output, open to all ranks that see it: on a file system of all nodes each puts its own parts there, and nothing is
// sent. Of one file each part's place is known, a directory gets them as files.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <scratch/workspace.hpp>

#include "external_sort/delivery.hpp"
#include "external_sort/layout.hpp"
#include "external_sort/stage.hpp"
#include "mpi/ranks.hpp"
#include "support/names.hpp"

namespace external_sort {

class OpenOutput {
 public:
  /// @param sorted the parts of this node
  OpenOutput(ranks::Ranks& ranks, const Plan& plan, const scratch::Workspace& sorted)
      : ranks_(ranks), plan_(plan), sorted_(sorted), puts_(ranks.size()) {}

  /// With all others.
  /// @param open of the first rank: `Delivery::open_to_others(all bytes, token)`
  template <class Open>
  void open(Open open) {
    std::string mine;
    for (const Placed& part : sorted_.list(parts()))
      if (plan_.owns(ranks_.rank(), part.index))
        mine += std::to_string(part.index) + ' ' + std::to_string(part.bytes) + '\n';
    const std::vector<std::string> all = ranks_.at_first(mine);
    nlohmann::json opened;
    ranks_.together([&] {
      if (!ranks_.is_first()) return;
      std::map<std::uint64_t, std::uint64_t> parts;
      for (const std::string& text : all) {
        std::istringstream lines(text);
        for (std::uint64_t index, bytes; lines >> index >> bytes;) parts[index] = bytes;
      }
      std::uint64_t end = 0;
      for (auto& [index, bytes] : parts) end += std::exchange(bytes, end);  // and now where each begins
      const std::string token = random_token();
      opened = {{"path", support::encoded(open(end, token).native())}, {"token", token}, {"begins", parts}};
    });
    opened = nlohmann::json::parse(ranks_.from_first(opened.dump()));
    path_ = support::decoded(opened.at("path").get<std::string>());
    if (!is_open()) return;
    begins_ = opened.at("begins").get<std::map<std::uint64_t, std::uint64_t>>();
    std::error_code ignored;
    const bool is_directory = std::filesystem::is_directory(path_, ignored);
    is_file_ = ranks_.sum(ranks_.is_first() && !is_directory ? 1 : 0) > 0;
    const bool sees = ranks_.is_first() || token_here(is_directory) == opened.at("token").get<std::string>();
    // Into a directory parts of the first one's session are renamed.
    const std::vector<std::uint64_t> nodes = ranks_.all(ranks_.node());
    puts_ = ranks_.all(sees && (is_file_ || nodes[ranks_.rank()] != nodes[0]) ? 1 : 0);
  }

  bool is_open() const { return !path_.empty(); }
  bool is_file() const { return is_file_; }
  /// Whether that rank does so itself.
  bool puts(unsigned rank) const { return puts_[rank] != 0; }

  /// With all others: each puts what is its own, and the first one what it has of those who do not see the output.
  /// @param called   what the user calls the output
  /// @param on_error told where one fails
  /// @returns everywhere what the first of them who failed says; empty where nobody did
  template <class OnError>
  std::string put(Work& work, const std::string& called, OnError on_error) {
    std::string why;
    try {
      if (is_file_)
        ranks_.in_turn([&] { put_parts(work); });
      else
        put_parts(work);
    } catch (const support::Stopped&) {
      throw;
    } catch (const std::exception& error) {
      on_error(error);
      const auto* const system = dynamic_cast<const std::system_error*>(&error);
      why = system == nullptr ? error.what()
                              : "cannot write \"" + called + "\": " + support::text_of(system->code().value());
    }
    for (const std::string& one : ranks_.at_first(why))
      if (why.empty()) why = one;
    return ranks_.from_first(why);
  }

 private:
  static std::string random_token() {
    std::random_device random;
    std::array<char, 33> text{};
    std::snprintf(text.data(), text.size(), "%08x%08x%08x%08x", random(), random(), random(), random());
    return text.data();
  }

  std::string token_here(bool is_directory) const {
    std::ifstream in(is_directory ? path_ / token_name : path_, std::ios::binary);
    std::string text(random_token().size(), '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    return text;
  }

  void put_parts(Work& work) const {
    for (const Placed& part : sorted_.list(parts())) {
      const auto owner = static_cast<unsigned>(part.index % plan_.workers);
      const bool is_mine = owner == ranks_.rank() ? puts(owner) : ranks_.is_first() && is_file_ && !puts(owner);
      if (!is_mine) continue;
      const std::filesystem::path from = part.here.path() / part.name;
      if (is_file_)
        put_into_file(from, begins_.at(part.index));
      else if (const std::filesystem::path to = path_ / part.name; !std::filesystem::exists(to))
        copy_whole(from, to);
      work.bytes_read += part.bytes;
      work.bytes_written += part.bytes;
    }
  }

  void put_into_file(const std::filesystem::path& from, std::uint64_t begin) const {
    const support::File source(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    support::File target(::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    const auto check = [](int error) {
      if (error != 0) throw std::system_error(error, std::generic_category());
    };
    check(!source || !target || ::lseek(target.get(), static_cast<off_t>(begin), SEEK_SET) < 0 ? errno : 0);
    check(support::copy_rest(source.get(), target.get()));
    check(target.close());
  }

  ranks::Ranks& ranks_;
  const Plan& plan_;
  Area sorted_;
  std::filesystem::path path_;
  bool is_file_ = false;
  std::map<std::uint64_t, std::uint64_t> begins_;  // of each part, in the file
  std::vector<std::uint64_t> puts_;                // of each rank: 1 or 0
};

}  // namespace external_sort
