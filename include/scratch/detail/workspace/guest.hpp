// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Whoever keeps books about files of a workspace: the record of chunks, the interrupted merges of tables. A workspace
// knows its guests by this alone.
//
// The record of chunks is always there. Tables register a maker before `main` in every program that uses one, and every
// workspace of it has such a guest. A program that uses no table knows no interrupted merge: the files of one are left
// as they are by whatever it removes, and a table that it moves away takes no claim along.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

class Directory;
class FileRemoval;
class SharedState;

/// Something begun about a name, given up when this dies.
class Hold {
 public:
  Hold() = default;
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  virtual ~Hold() = default;

  /// The file has its new name.
  virtual void moved() noexcept {}
};

/// Asks a function object about names. Looks on only: the object must live as long as it is asked.
class NameFilter {
 public:
  template <class F>
  explicit NameFilter(const F& f)
      : given_(&f),
        ask_([](const void* given, std::string_view name) { return (*static_cast<const F*>(given))(name); }) {}

  bool operator()(std::string_view name) const { return ask_(given_, name); }

 private:
  const void* given_;
  bool (*ask_)(const void*, std::string_view);
};

using NameSet = std::set<std::string>;

class Guest {
 public:
  /// @param kind tells the guests of a workspace apart: `static constexpr std::string_view kind` of the type
  explicit Guest(std::string_view kind) : kind_(kind) {}
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;
  virtual ~Guest() = default;

  std::string_view kind() const noexcept { return kind_; }

  /// Before a name is taken away or given to another file: nothing half done concerns it afterwards, and nobody begins
  /// anything with it while what is returned lives. @throws Error `busy`
  virtual std::unique_ptr<Hold> hold(const Directory&, const std::string& /*name*/, const char* /*doing*/) {
    return nullptr;
  }

  /// Before a name is given to a file of which this guest knows nothing. @throws Error EEXIST where it is on record
  virtual void check_free(const Directory&, const std::string& /*name*/, const char* /*doing*/) {}

  /// Before a file is renamed, or removed. Something is returned where this guest has it on record.
  /// @param file as it stands in records
  /// @param to   the same; empty: it leaves this workspace, or goes
  /// @throws Error and then the file must stay where it is
  virtual std::unique_ptr<Hold> departs(const std::string& /*file*/, std::string /*to*/) { return nullptr; }

  /// The same before all files go whose names in records begin with `prefix`; then `removed` says which did.
  virtual void all_depart(const std::string& /*prefix*/) {}

  /// Before the files of a directory are removed whose names pass `goes`: removes what this guest keeps about them
  /// under names of its own. @param prefix of the directory, as it stands in records
  virtual void before_removal(FileRemoval&, const Directory&, const std::string& /*prefix*/,
                              const NameFilter& /*goes*/) {}

  /// Files were removed, or should have been: these, and all that was at or below one of `trees`, as they stand in
  /// records. @throws Error
  virtual void removed(const NameSet& /*files*/, const NameSet& /*trees*/) {}

  /// Who wrote here has died: what it left half done in this directory is finished or undone afterwards, save what
  /// somebody alive is at. Again: no harm. @throws Error
  virtual void repair(const Directory&) {}

  /// Nothing more is done here: its files are let go of. A directory whose files are open cannot be removed everywhere.
  virtual void close() noexcept {}

  /// Adds the names in records of all files that this guest knows to be the library's. @throws Error
  virtual void add_names(NameSet&) {}

  /// What it keeps of the files `ours` under names of its own: counts towards the quota. @throws Error
  virtual std::uint64_t bytes_kept(const NameSet& /*ours*/) { return 0; }

 private:
  std::string_view kind_;
};

using GuestMaker = std::unique_ptr<Guest> (*)(SharedState&);

/// The makers registered in this program, by what is instantiated in it: a header that is only included costs nothing.
inline PlainVector<GuestMaker>& guest_makers() {
  static PlainVector<GuestMaker> makers;
  return makers;
}

/// Registers a maker, before `main`.
inline bool register_guest(GuestMaker make) {
  guest_makers().push_back(make);
  return true;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
