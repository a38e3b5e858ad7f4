// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Where sessions live.
//
// A place knows one directory, its root, in which sessions stand side by side and can be swept. `Shm` and `TmpDir` give
// every application and user a root of their own; the environment's SCRATCH_DIR moves both elsewhere.
#pragma once

#include <cerrno>
#include <charconv>
#include <concepts>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Answers "where?": `std::filesystem::path root() const`, the directory in which sessions stand.
template <class T>
concept Place = std::copy_constructible<T> && requires(const T& place) {
  { place.root() } -> std::convertible_to<std::filesystem::path>;
};

namespace detail {

/// What the library itself knows of a place.
struct Location {
  std::filesystem::path root{};                             // absolute
  std::string reason = "the application's place names it";  // a clause: "TMPDIR is /data/tmp"
  RootKind kind = RootKind::named;
  SessionGrammar grammar = {};
  std::string app = {};  // of a derived root `<app>-<uid>`; other users have theirs beside it

  RootWanted wanted() const { return {root, kind, reason, sys::geteuid()}; }
};

/// The environment, unless this program runs with somebody else's rights. An empty value is none.
inline std::string environment(const char* name) {
  const char* value = ::secure_getenv(name);
  return value == nullptr ? "" : value;
}

/// Whether the environment says yes (1, true, yes, on) or no (0, false, no, off, nothing).
/// @throws Error EINVAL for any other word: whoever set it meant something
inline bool environment_says_yes(const char* name) {
  const std::string value = environment(name);
  std::string word = value;
  for (char& c : word)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  for (const std::string_view yes : {"1", "true", "yes", "on"})
    if (word == yes) return true;
  for (const std::string_view no : {"", "0", "false", "no", "off"})
    if (word == no) return false;
  throw_error(
      EINVAL, "understand the environment", {},
      std::string(name) + " is \"" + value.substr(0, 64) + "\": 1, true, yes, on and 0, false, no, off are known");
}

inline void check_app(const std::string& app) {
  check_file_name(app, "use the application's name");
  if (app.size() > 100) throw_error(errc::invalid_name, "use the application's name", app, "100 bytes at most");
}

inline Location below(const std::filesystem::path& base, const std::string& app, std::string reason) {
  Location location;
  location.root = base / (app + "-" + std::to_string(sys::geteuid()));
  location.reason = std::move(reason);
  location.kind = RootKind::derived;
  location.app = app;
  return location;
}

// SCRATCH_DIR, then `variable`, then `usual`. A bad candidate is an error and not passed over, since whoever set it
// meant it.
inline Location choose(const std::string& app, const char* variable, const char* usual) {
  check_app(app);
  std::string tried;
  const auto note = [&tried](const std::string& text) { tried += (tried.empty() ? "" : "; ") + text; };
  const auto refuse = [&](int error, const std::filesystem::path& path, const std::string& why) {
    note(why);
    throw_error(error, "choose a place", path, tried);
  };
  const std::string mine = environment("SCRATCH_DIR");
  if (!mine.empty()) {
    if (mine.front() != '/') refuse(EINVAL, mine, "SCRATCH_DIR is relative, an absolute path is needed");
    return below(normal_path(mine), app, "SCRATCH_DIR is " + mine);
  }
  note("SCRATCH_DIR is not set");
  const auto usable = [&](const std::string& base, const std::string& who) {
    if (base.front() != '/') refuse(EINVAL, base, who + " is relative, an absolute path is needed");
    struct stat facts {};
    const Fd there(sys::openat(AT_FDCWD, base.c_str(), O_PATH));
    if (!there) {
      const int error = errno;
      refuse(error, base, who + (error == ENOENT ? " does not exist" : " cannot be opened"));
    }
    facts = facts_of(there.get(), base);
    if (!S_ISDIR(facts.st_mode)) refuse(ENOTDIR, base, who + " is " + kind_of(facts));
    return normal_path(base);
  };
  if (variable != nullptr) {
    const std::string value = environment(variable);
    if (!value.empty())
      return below(usable(value, std::string(variable) + "=" + value.substr(0, 256)), app,
                   std::string(variable) + " is " + value);
    note(std::string(variable) + " is not set");
  }
  return below(usable(usual, usual), app, std::string(usual) + " is the default");
}

/// Absolute, without `.` or a slash at the end, as the current directory stands now.
inline std::filesystem::path normal_root(const std::filesystem::path& path) {
  if (path.empty()) throw_error(errc::invalid_name, "use the root", path, "the path is empty");
  return normal_path(path);
}

}  // namespace detail

/// Memory: `/dev/shm/<app>-<uid>/`, or below SCRATCH_DIR. What is written there takes RAM until it is removed.
class Shm {
 public:
  /// @param app the application's name: a file name of at most 100 bytes
  explicit Shm(std::string app) : app_(std::move(app)) {}

  /// As the environment stands now; that of a session's `place()`, as it stood when the session was made.
  /// @throws Error when SCRATCH_DIR is relative or there is no /dev/shm
  std::filesystem::path root() const { return location().root; }
  /// Why it is this one: "SCRATCH_DIR is /data", "/dev/shm is the default".
  std::string reason() const { return location().reason; }
  /// What the library itself knows of it.
  detail::Location location() const { return found_ ? *found_ : detail::choose(app_, nullptr, "/dev/shm"); }
  /// The same place, which does not ask the environment again.
  Shm resolved() const {
    Shm place(*this);
    place.found_ = location();
    return place;
  }

 private:
  std::string app_;
  std::optional<detail::Location> found_{};
};

/// Disk, usually: `$TMPDIR/<app>-<uid>/`, `/tmp/<app>-<uid>/` without TMPDIR, or below SCRATCH_DIR.
class TmpDir {
 public:
  /// @param app the application's name: a file name of at most 100 bytes
  explicit TmpDir(std::string app) : app_(std::move(app)) {}

  /// As the environment stands now; that of a session's `place()`, as it stood when the session was made.
  /// @throws Error when SCRATCH_DIR or TMPDIR is relative, or TMPDIR is no directory; it names every candidate
  std::filesystem::path root() const { return location().root; }
  /// Why it is this one: "TMPDIR is /data/tmp". @throws Error as `root()`
  std::string reason() const { return location().reason; }
  /// What the library itself knows of it.
  detail::Location location() const { return found_ ? *found_ : detail::choose(app_, "TMPDIR", "/tmp"); }
  /// The same place, which does not ask the environment again.
  TmpDir resolved() const {
    TmpDir place(*this);
    place.found_ = location();
    return place;
  }

 private:
  std::string app_;
  std::optional<detail::Location> found_{};
};

/// Exactly this directory. It must be the user's own and not writable by others; it is made when it is not there.
class Under {
 public:
  /// @throws Error `invalid_name` for an empty path
  explicit Under(const std::filesystem::path& root) : root_(detail::normal_root(root)) {}

  /// Absolute, as the current directory stood when this was made.
  std::filesystem::path root() const { return root_; }
  /// Why it is this one: the application names it.
  std::string reason() const { return location().reason; }
  /// What the library itself knows of it.
  detail::Location location() const { return {root_, "the application names it"}; }

 private:
  std::filesystem::path root_;
};

/// A PostgreSQL directory for temporary files: `base/pgsql_tmp`, or `pg_tblspc/<oid>/PG_<version>/pgsql_tmp`.
///
/// Everything here is called `pgsql_tmp_scratch-<app>-...`: the server removes what begins with `pgsql_tmp` when it
/// starts, and pg_basebackup leaves it out. A server that starts does not look at locks: sessions here are for code
/// that runs inside it, or that can live with `session_gone`. `temp_file_limit` does not count them; a quota does. What
/// is left makes DROP TABLESPACE fail, so close promptly.
///
/// A backend is a process of one thread, and its functions may be called on no other. Threads of the library's get no
/// signals and call nothing of the server's; callbacks (`on_event`, `on_full`, that of a `SpaceWatch`) may run on them
/// and must not either. In a backend `.threads = 1` is advised, for sweeps, tables and merges, and no `SpaceWatch`.
class PgsqlTmp {
 public:
  /// @param app without `-session_` and `-trash_`
  PgsqlTmp(const std::filesystem::path& directory, std::string app)
      : root_(detail::normal_root(directory)), app_(std::move(app)) {}

  /// Absolute, as the current directory stood when this was made.
  std::filesystem::path root() const { return root_; }
  /// Why it is this one: the application names it. @throws Error `invalid_name`
  std::string reason() const { return location().reason; }
  /// @throws Error `invalid_name`
  detail::Location location() const {
    check_app();
    return {root_, "the application names it", detail::RootKind::pgsql_tmp,
            detail::SessionGrammar{"pgsql_tmp_scratch-" + app_ + "-"}};
  }

 private:
  // Applications share this directory, and each must know its own: `<app>-session_` and `<app>-trash_` must have one
  // meaning each.
  void check_app() const {
    detail::check_app(app_);
    for (const std::string_view word : {"-session_", "-trash_"})
      if (("-" + app_).find(word) != std::string::npos)
        detail::throw_error(
            errc::invalid_name, "use the application's name", app_,
            "in a pgsql_tmp \"" + std::string(word.substr(1)) + "\" is where it ends, so it cannot be in it");
  }

  std::filesystem::path root_;
  std::string app_;
};

namespace detail {

/// @throws Error EPERM for all but root, and where users have no roots of their own
inline void check_all_users(const Location& location, const char* doing) {
  if (location.kind != RootKind::derived || sys::geteuid() != 0)
    throw_error(EPERM, doing, location.root, "only root may, and only in Shm or TmpDir, where each user has a root");
}

/// The roots of all users, for root: those beside a derived one. @throws Error
inline std::vector<RootWanted> roots_of_all_users(const Location& location) {
  const auto user_of = [&](std::string_view name) -> std::optional<uid_t> {
    if (!name.starts_with(location.app + "-")) return std::nullopt;
    name.remove_prefix(location.app.size() + 1);
    uid_t user = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), user);
    if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
    return user;
  };
  const std::filesystem::path base = location.root.parent_path();
  const Fd open(sys::openat(AT_FDCWD, base.c_str(), O_RDONLY | O_DIRECTORY));
  if (!open) {
    const int error = errno;
    if (error == ENOENT) return {};
    throw_error(error, "list", base, open_files_hint(error));
  }
  std::vector<RootWanted> roots;
  for_each_entry(open.get(), base, [&](const Entry& entry) {
    if (const auto user = user_of(entry.name))
      roots.push_back({base / entry.name, RootKind::derived, "all users were asked for", *user});
  });
  return roots;
}

/// A place that goes on naming the directory that it names now.
template <Place P>
P resolved(P place) {
  if constexpr (requires {
                  { place.resolved() } -> std::same_as<P>;
                })
    return place.resolved();
  else
    return place;
}

template <Place P>
Location location_of(const P& place) {
  if constexpr (requires {
                  { place.location() } -> std::convertible_to<Location>;
                }) {
    return place.location();
  } else {
    Location location;
    location.root = normal_root(place.root());
    return location;
  }
}

}  // namespace detail

}  // namespace scratch::inline SCRATCH_ABI
