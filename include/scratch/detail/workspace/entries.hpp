// SPDX-License-Identifier: MIT
// floor 3: one place
//
// What a workspace does with the files in it: list, move, remove.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/chunk/chunk_guest.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/remove_tree.hpp>
#include <scratch/detail/kernel/rename.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/glob.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/text/natural_order.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/file_removal.hpp>
#include <scratch/detail/workspace/owned_names.hpp>
#include <scratch/detail/workspace/rename.hpp>
#include <scratch/detail/workspace/reservation.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace_options.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A directory that is no session's, as a workspace. @throws Error
inline Directory open_plain_directory(std::filesystem::path path, WorkspaceOptions options) {
  path = absolute_path(path);
  Fd open(sys::openat(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY));
  if (!open) {
    const int error = errno;
    throw_error(error, "open the workspace", path,
                error == ENOENT ? "the directory must exist" : open_files_hint(error));
  }
  struct stat facts {};
  if (!options.read_only && sys::fstatat(open.get(), lock_name.data(), facts) == 0 &&
      sys::fstatat(open.get(), metadata_name.data(), facts) == 0)
    throw_error(EINVAL, "open the workspace", path, "it is a session: use JoinedSession, or SessionView to look only");
  if (!options.read_only) remove_stale_temp_files(open.get(), path);
  return Directory(
      std::make_shared<SharedState>(std::move(open), std::move(path), std::move(options), &make_chunk_guest));
}

inline std::vector<ChunkInfo> chunks_below(const Directory& directory) {
  directory.check();
  std::vector<ChunkInfo> below;
  chunk_log(directory.state()).for_each([&](const ChunkEntry& chunk) {
    if (chunk.info.file.starts_with(directory.prefix())) below.push_back(chunk.info);
  });
  return below;
}

/// Whether a name is none of the application's.
inline bool is_hidden(const Directory& directory, std::string_view name) {
  const bool is_open = is_removed_but_open(name);
  if (is_open) directory.state().lacks().add(Lack::open_unlink);
  return is_open || is_bookkeeping(name);
}

inline std::vector<std::string> list_files(const Directory& directory, std::string_view glob) {
  directory.check();
  const auto is_file = [&](const Entry& entry) {
    if (entry.type != DT_UNKNOWN) return entry.type == DT_REG;
    const auto facts = facts_of(directory.fd(), std::string(entry.name), directory.path());
    return facts && S_ISREG(facts->st_mode);
  };
  std::vector<std::string> names;
  for_each_entry(directory.fd(), directory.path(), [&](const Entry& entry) {
    if (!is_hidden(directory, entry.name) && matches_glob(entry.name, glob) && is_file(entry))
      names.emplace_back(entry.name);
  });
  std::sort(names.begin(), names.end(), natural_less);
  return names;
}

inline std::uint64_t remove_matching(const Directory& directory, std::string_view glob) {
  directory.check();
  const auto ours = directory.state().files_of_ours();
  const auto goes = [&](std::string_view name) {
    return matches_glob(name, glob) && (!ours || ours->contains(directory.relative(name)));
  };
  FileRemoval removal(directory);
  removal.books(NameFilter(goes));
  if (!ours) {
    for (const std::string& name : list_files(directory, glob)) removal.file(name);
    return removal.finish();
  }
  for (const std::string& record : *ours) {
    if (!record.starts_with(directory.prefix())) continue;
    const std::string name = record.substr(directory.prefix().size());
    if (name.find('/') == name.npos && goes(name)) removal.file(name);
  }
  return removal.finish();
}

inline std::uint64_t clear(const Directory& directory) {
  directory.check();
  FileRemoval removal(directory);
  if (const auto ours = directory.state().files_of_ours()) {
    for (const std::string& area : areas_of(*ours))
      if (area.starts_with(directory.prefix())) removal.books_below(area, *ours);
    for (const std::string& name : *ours)
      if (name.starts_with(directory.prefix())) removal.file_below(name);
    return removal.finish();
  }
  removal.books(NameFilter([](std::string_view) { return true; }));
  removal.all();
  std::vector<std::string> names;
  for_each_entry(directory.fd(), directory.path(), [&](const Entry& entry) {
    if (!is_hidden(directory, entry.name)) names.emplace_back(entry.name);
  });
  for (const std::string& name : names) removal.tree(name);
  return removal.finish();
}

/// False: nothing has this name.
inline bool remove_file(const Directory& directory, std::string_view given) {
  check_file_name(given, "remove");
  directory.check();
  const std::string name(given);
  const std::filesystem::path path = directory.path() / name;
  directory.state().check_writable("remove", path);
  struct stat facts {};
  if (sys::fstatat(directory.fd(), name.c_str(), facts) != 0) {
    if (errno == ENOENT) return false;
    throw_error(errno, "remove", path);
  }
  if (!S_ISREG(facts.st_mode))
    throw_error(EINVAL, "remove", path, std::string("only files are removed, this is ") + kind_of(facts));
  if (!directory.state().is_ours(directory.fd(), name, directory.relative(name)))
    throw_error(EPERM, "remove", path, "this library did not write it");
  const Renaming renaming(directory, name, "remove");
  FileRemoval removal(directory);
  removal.remove(directory.fd(), name, directory.relative(name));
  removal.finish();
  return true;
}

/// The same for a chunk at or below `directory`, by where it is on record now.
inline bool remove_chunk(const Directory& directory, std::uint64_t id) {
  directory.check();
  const std::optional<std::string> file = chunk_log(directory.state()).file_of(id);
  if (!file || !file->starts_with(directory.prefix())) return false;
  const std::optional<Directory> area = directory.area_of(*file);
  return area && remove_file(*area, std::string_view(*file).substr(area->prefix().size()));
}

inline void move_file(const Directory& from, std::string_view given, const Directory& to, std::string_view given_new) {
  check_file_name(given, "move");
  check_file_name(given_new, "move to");
  from.check();
  to.check();
  const std::string name(given), new_name(given_new);
  const std::filesystem::path source = from.path() / name, target = to.path() / new_name;
  from.state().check_writable("move", source);
  Renaming renaming(from, name, "move");
  struct stat facts {
  }, taken{};
  if (sys::fstatat(from.fd(), name.c_str(), facts) != 0) throw_error(errno, "move", source);
  if (!S_ISREG(facts.st_mode))
    throw_error(EINVAL, "move", source, std::string("only files are moved, this is ") + kind_of(facts));
  if (sys::fstatat(to.fd(), new_name.c_str(), taken) != 0) renaming.arrives(to, new_name);
  const bool same = &from.state() == &to.state();
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  Reservation reservation = to.reservation();
  if (!same) reservation.extend(size, "move", target);
  const bool ours = from.state().is_ours(from.fd(), name, from.relative(name));
  renaming.departs(same ? to.relative(new_name) : "");
  const auto on_record = ours ? to.arriving(new_name, from.fd(), name) : OwnedNames::OnRecord();
  if (rename_new(from.fd(), name.c_str(), to.fd(), new_name.c_str(), WithoutFlag::link, &to.state().lacks()) != 0) {
    const int error = errno;
    throw Error(error, "move", source,
                error == EXDEV    ? "the two are on different file systems: copy it, or use persist()"
                : error == EEXIST ? "the target exists; nothing was changed"
                                  : "",
                target);
  }
  renaming.moved();
  reservation.commit();
  if (!same) from.state().quota().removed(size);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
