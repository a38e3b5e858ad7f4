// SPDX-License-Identifier: MIT
// floor 5: wings
//
// What metadata.json says of a session as nlohmann::json, for programs that work with it.
//
// The sessions themselves take and give JSON text. `nlohmann::json user = session.user()` would make a JSON *string* of
// that: call `user_json(session)`.
#pragma once

#include <cerrno>
#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include <scratch/detail/session/json.hpp>
#include <scratch/error.hpp>
#include <scratch/owned_session.hpp>

namespace scratch::inline SCRATCH_ABI {

namespace detail {

/// @pre it is JSON
/// @throws Error `corrupt` for a number beyond a double
inline nlohmann::json parse_json(const std::string& text, const std::filesystem::path& file) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw_error(errc::corrupt, "read", file, error.what());
  }
}

/// @throws Error as `parse_head`, and `parse_json`
inline nlohmann::json parse_metadata(const std::string& text, const std::filesystem::path& file) {
  static_cast<void>(parse_head(text, file));
  return parse_json(text, file);
}

}  // namespace detail

/// What metadata.json says, the latest chunks included: of an `OwnedSession`, a `JoinedSession`, a `SessionView`.
/// O(chunks).
/// @throws Error `corrupt`, `unsupported_version`; as `session.metadata()`
template <class Session>
nlohmann::json metadata_json(const Session& session) {
  return detail::parse_metadata(session.metadata(), session.path() / detail::metadata_name);
}

/// The application's own object in metadata.json. Of an `OwnedSession` O(its size), else O(chunks).
/// @throws Error as `metadata_json`
template <class Session>
nlohmann::json user_json(const Session& session) {
  if constexpr (requires { session.user(); }) {
    return detail::parse_json(session.user(), session.path() / detail::metadata_name);
  } else {
    const nlohmann::json metadata = metadata_json(session);
    const auto found = metadata.find("user");
    return found == metadata.end() ? nlohmann::json::object() : *found;
  }
}

/// Sets the application's own object in metadata.json; written at once.
/// @throws Error EINVAL for what is no object or not UTF-8; as `session.user(text)`. The old one stays.
inline void user(OwnedSession& session, const nlohmann::json& json) {
  std::string text = "null";  // which is refused, as all that is no object
  try {
    if (json.is_object()) text = json.dump();
  } catch (const nlohmann::json::exception& error) {
    detail::throw_error(EINVAL, "write the application's object to", session.path() / detail::metadata_name,
                        error.what());
  }
  session.user(text);
}

}  // namespace scratch::inline SCRATCH_ABI
