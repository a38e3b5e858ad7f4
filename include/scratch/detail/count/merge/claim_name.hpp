// SPDX-License-Identifier: MIT
// floor 0: words
//
// What count table B is called while it is being merged into A: `.scratch-claim.<nonce>.<length of A>.<A>.<B>`
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Says that table `from` is being merged into table `into`.
struct Claim {
  std::uint64_t nonce = 0;
  std::string into, from;

  std::string name() const {
    return std::string(claim_prefix) + hex16(nonce) + "." + std::to_string(into.size()) + "." + into + "." + from;
  }

  static std::optional<Claim> parse(std::string_view name) {
    constexpr std::size_t hex = 16;
    if (!name.starts_with(claim_prefix)) return std::nullopt;
    name.remove_prefix(claim_prefix.size());
    if (name.size() < hex + 1 || name[hex] != '.') return std::nullopt;
    const auto nonce = parse_hex16(name.substr(0, hex));
    name.remove_prefix(hex + 1);
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), length);
    name.remove_prefix(static_cast<std::size_t>(end - name.data()));
    if (!nonce || error != std::errc() || !name.starts_with('.')) return std::nullopt;
    name.remove_prefix(1);
    if (length == 0 || name.size() < length + 2 || name[length] != '.') return std::nullopt;
    return Claim{*nonce, std::string(name.substr(0, length)), std::string(name.substr(length + 1))};
  }
};

}  // namespace scratch::inline SCRATCH_ABI::detail
