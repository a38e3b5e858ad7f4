// SPDX-License-Identifier: MIT
//
// How --help looks: `-o, --output FILE   What it does`, so that people, help2man and cmake/tools/ read it alike. Which
// others an option needs, or does not go with, stands behind what it does.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace support {

class Help : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    std::string line = "  " + make_option_name(option, is_positional) + make_option_opts(option);
    const std::string what = make_option_desc(option);
    if (!what.empty() && line.size() + 2 > column) line += "\n" + std::string(column, ' ');
    if (!what.empty() && line.size() < column) line.resize(column, ' ');
    return line + what + "\n";
  }

  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    if (is_positional) return option->get_name(true, false);
    std::string names;
    for (const std::string& name : option->get_snames()) names += (names.empty() ? "-" : ", -") + name;
    for (const std::string& name : option->get_lnames()) names += (names.empty() ? "--" : ", --") + name;
    return names;
  }

  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_size() == 0) return "";
    std::string text = " " + option->get_type_name();
    if (!option->get_default_str().empty()) text += "=" + option->get_default_str();
    if (option->get_expected_max() == CLI::detail::expected_max_vector_size) text += " ...";
    if (option->get_required()) text += " REQUIRED";
    return text;
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    return option->get_description() + names_of("; needs ", option->get_needs()) +
           names_of("; not with ", option->get_excludes());
  }

 private:
  static constexpr std::size_t column = 30;

  static std::string names_of(const std::string& words, const std::set<CLI::Option*>& options) {
    std::vector<std::string> names;
    for (const CLI::Option* option : options) names.push_back(option->get_name());
    std::ranges::sort(names);
    return names.empty() ? "" : words + CLI::detail::join(names, ", ");
  }
};

}  // namespace support
