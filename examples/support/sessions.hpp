// SPDX-License-Identifier: MIT
//
// The session of a job, or its sessions, one in each of several places: new ones, or those that the job goes on with.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <scratch/adopt.hpp>
#include <scratch/adopt_set.hpp>
#include <scratch/any_place.hpp>
#include <scratch/error.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_options.hpp>
#include <scratch/session_set.hpp>
#include <scratch/usage.hpp>
#include <scratch/workspace.hpp>

#include "resume.hpp"

namespace support {

/// As a `scratch::SessionSet`, also where it is a session alone.
class Sessions {
 public:
  using One = scratch::SessionDir<scratch::AnyPlace>;
  using Set = scratch::SessionSet<scratch::AnyPlace>;

  /// @param earlier what there is of the job where it can be gone on with: then these stay until they are completed, and
  ///                what else is left of it goes
  /// @throws scratch::Error
  Sessions(const std::vector<scratch::AnyPlace>& places, const std::string& label, scratch::SessionOptions options,
           const std::optional<Earlier>& earlier)
      : sessions_(open(places, label, std::move(options), earlier, goes_on_)) {
    if (earlier) earlier->remove_others((*this)[0].label());
  }

  explicit Sessions(One alone) : sessions_(std::move(alone)) {}

  /// They are those of the earlier run.
  bool goes_on() const { return goes_on_; }
  std::size_t size() const { return is_alone() ? 1 : std::get<Set>(sessions_).size(); }
  One& operator[](std::size_t i) { return is_alone() ? std::get<One>(sessions_) : std::get<Set>(sessions_)[i]; }
  scratch::Workspace of(std::string_view name) {
    if (is_alone()) return std::get<One>(sessions_);
    return std::get<Set>(sessions_).of(name);
  }
  scratch::UsageReport usage_report() const {
    return std::visit([](const auto& all) { return all.usage_report(); }, sessions_);
  }
  scratch::Usage usage() const {
    return std::visit([](const auto& all) { return all.usage(); }, sessions_);
  }
  /// Returns their paths.
  std::vector<std::filesystem::path> keep() {
    if (is_alone()) return {std::get<One>(sessions_).keep()};
    return std::get<Set>(sessions_).keep();
  }
  void complete() {
    std::visit([](auto& all) { all.complete(); }, sessions_);
  }
  void fail(std::string_view reason) {
    std::visit([reason](auto& all) { all.fail(reason); }, sessions_);
  }
  void close() {
    std::visit([](auto& all) { all.close(); }, sessions_);
  }

 private:
  using Any = std::variant<One, Set>;

  static Any open(const std::vector<scratch::AnyPlace>& places, const std::string& label,
                  scratch::SessionOptions options, const std::optional<Earlier>& earlier, bool& goes_on) {
    goes_on = earlier && earlier->unfinished();
    if (earlier) options.cleanup = scratch::Cleanup::unless_completed;
    if (!goes_on) {
      if (places.size() == 1) return One(places.front(), label, std::move(options));
      return Set(places, label, std::move(options));
    }
    const scratch::SessionInfo& left = earlier->unfinished()->info;
    const std::uint64_t need = std::exchange(options.need, options.need - std::min(options.need, left.bytes));
    if (places.size() == 1) return scratch::adopt<scratch::AnyPlace>(places.front(), left.id, std::move(options));
    try {
      return scratch::adopt_set<scratch::AnyPlace>(places, left.id, options);
    } catch (const scratch::Error& error) {
      std::error_code ignored;
      if (error.code() != scratch::errc::session_gone || std::filesystem::exists(left.path, ignored)) throw;
      notice("a new start: the earlier run was about to end, and a part of what it left is gone");
    }
    goes_on = false;
    options.need = need;
    return Set(places, label, std::move(options));
  }

  bool is_alone() const { return std::holds_alternative<One>(sessions_); }

  bool goes_on_ = false;  // declared first: open() says so
  Any sessions_;
};

}  // namespace support
