// SPDX-License-Identifier: MIT
//
// What the command line says of items.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "item.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

namespace external_sort {

/// What --record, --key, --lines and their kin say.
class FormatOptions {
 public:
  /// @param ordered also how lines are ordered
  FormatOptions(CLI::App& command, bool ordered) {
    record_ = command.add_option("--record", format_.record, "Bytes of a record, 100 when not given")
                  ->type_name("N")
                  ->transform(support::count(1, std::uint64_t{1} << 30));
    key_ = command
               .add_option("--key", key_text_, "Where in a record its key is: from the first byte to before the second")
               ->type_name("A:B");
    lines_ = command.add_flag("--lines", format_.lines, "Lines, in the order of LC_ALL=C sort, and not records");
    lines_->excludes(record_)->excludes(key_);
    if (!ordered) return;
    command.add_flag("-r,--reverse", format_.reverse, "The last line comes first")->needs(lines_);
    command.add_flag("-u,--unique", format_.unique, "Of equal lines one")->needs(lines_);
  }
  FormatOptions(const FormatOptions&) = delete;
  FormatOptions& operator=(const FormatOptions&) = delete;

  /// @throws support::WrongUsage
  Format format() const {
    Format format = format_;
    if (key_->count() > 0) {
      const std::size_t colon = key_text_.find(':');
      const auto begin = support::detail::number_of(std::string_view(key_text_).substr(0, colon));
      const auto end = colon == key_text_.npos
                           ? std::nullopt
                           : support::detail::number_of(std::string_view(key_text_).substr(colon + 1));
      if (!begin || !end || *begin >= *end)
        throw support::WrongUsage("--key: " + key_text_ +
                                  " is no place: A:B, as in 0:10, is from byte A to before byte B");
      format.key_begin = *begin;
      format.key_end = *end;
    } else {
      format.key_end = std::min(format.key_end, format.record);
    }
    if (format.key_end > format.record)
      throw support::WrongUsage("--key: the key ends at byte " + std::to_string(format.key_end) +
                                ", and a record has " + std::to_string(format.record) + " (--record)");
    return format;
  }

 private:
  Format format_;
  std::string key_text_;
  CLI::Option* record_;
  CLI::Option* key_;
  CLI::Option* lines_;
};

}  // namespace external_sort
