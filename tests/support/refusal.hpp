// SPDX-License-Identifier: MIT
//
// What an error says.
#pragma once

#include <scratch/error.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace scratch::test {

/// The `Error` that `work` ends with; nothing when it ends well.
template <class Work>
std::optional<Error> refusal(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

inline bool says(const std::optional<Error>& error, std::string_view words) {
  return error && std::string_view(error->what()).find(words) != std::string_view::npos;
}

/// What it says; "" of none.
inline std::string words_of(const std::optional<Error>& error) { return error ? error->what() : ""; }

/// Whether `work` ends with this code.
template <class Work, class Code>
bool refuses_with(Code code, Work work) {
  const std::optional<Error> error = refusal(work);
  return error && error->code() == code;
}

}  // namespace scratch::test
