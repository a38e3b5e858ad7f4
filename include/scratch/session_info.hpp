// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What a session looks like from outside.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <scratch/error.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI {

/// How far the work of a session is, as its owner last said.
struct SessionProgress {
  std::uint64_t done = 0;   ///< of `total`
  std::uint64_t total = 0;  ///< 0: nobody knows
  std::string what;         ///< "sorting"
};

/// A session as somebody sees it who only looks. What metadata.json cannot tell is empty.
struct SessionInfo {
  std::string id{};              ///< the directory's name without `session_`
  std::filesystem::path path{};  ///< absolute
  std::string label{};           ///< a part of the name
  std::int64_t pid = 0;          ///< of the owner, where it started; for people
  std::string start_time{};      ///< UTC, ISO 8601
  std::string status{};     ///< in_progress, completed, failed; "unknown" where metadata.json does not tell; "trash"
  bool alive = false;       ///< somebody uses it: a sweep would leave it alone; true where it cannot be known
  bool alive_known = true;  ///< false where locks cannot be believed
  bool kept = false;        ///< a sweep leaves it alone unless told otherwise
  std::uint64_t bytes = 0;  ///< of committed files, those that can be read
  std::uint64_t uncommitted = 0;  ///< bytes that are being written; only where there is a quota is this counted
  uid_t uid = 0;                  ///< whose it is
  bool owner_alive = false;       ///< whoever it belongs to is there, not only others who joined it
  std::uint64_t resumed = 0;      ///< how often it was adopted
  std::optional<SessionProgress> progress = {};      ///< where its owner says it
  std::vector<std::filesystem::path> siblings = {};  ///< the sessions of its set, itself too; empty: it is alone
  std::optional<Error> error = {};  ///< the first thing of it that could not be read; the rest is right
};

/// What is to be listed.
struct ListOptions {
  /// As root: every user's `<app>-<uid>` that is one; in Under and PgsqlTmp the root, whoever it belongs to.
  bool all_users = false;
  /// What is being removed, too, or was when its remover was killed: status "trash", the id is the directory's name.
  bool trash = false;
};

}  // namespace scratch::inline SCRATCH_ABI
