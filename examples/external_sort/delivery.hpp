// SPDX-License-Identifier: MIT
//
// Where the sorted records go: a directory of parts, or one file or stream. It gets all of them, or is left as it was.
//
// Parts are gathered in a directory beside their target, locked, which then takes its name: one rename, and a reader
// sees the whole set. Where the directory is there already they are gathered in it, and get their names one by one; in
// the end `.part_manifest` has a line `name size` for each, so that whoever reads them can tell that the set is whole.
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <scratch/scratch.hpp>

#include "checker.hpp"
#include "layout.hpp"
#include "plan.hpp"
#include "preflight.hpp"
#include "record.hpp"
#include "support/results.hpp"
#include "support/threads.hpp"

namespace external_sort {

namespace fs = std::filesystem;

class Delivery {
 public:
  Delivery() = default;
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;
  virtual ~Delivery() = default;

  /// The file system that gets the records; empty: none.
  virtual fs::path place() const = 0;
  /// Whether delivering takes no room beside what the session has.
  virtual bool renames_from(const fs::path& session) const = 0;
  /// Gathers the parts, so that `parts()` of `workspace()` are what will be delivered.
  virtual void take(scratch::OwnedSession& session) = 0;
  virtual scratch::Workspace gathered(scratch::OwnedSession& session, std::uint64_t buffers) const = 0;
  /// Gives them their name. @throws Refused and all is in the session, or as the error says
  virtual void finish(scratch::OwnedSession& session) = 0;
};

class PartsDirectory : public Delivery {
 public:
  /// @throws Refused where it cannot be made or written, has parts already, or is a directory of inputs
  PartsDirectory(const fs::path& directory, bool replace, const std::vector<fs::path>& inputs) : replace_(replace) {
    called_ = fs::absolute(directory).string();
    while (called_.size() > 1 && called_.ends_with('/')) called_.pop_back();
    try {
      look(inputs);
    } catch (const std::system_error& error) {
      refuse(error.code().message());
    }
  }

  fs::path place() const override { return target_.path; }
  bool renames_from(const fs::path& session) const override { return on_one_file_system(session, lock_->path()); }

  void take(scratch::OwnedSession& session) override {
    scratch::Workspace output = session.area("output");
    const bool renames = renames_from(session.path());
    for (const scratch::Numbered& part : parts().list(output)) {
      scratch::check_records(output, part.name, record_size);
      const fs::path to = fs::path(lock_->path()) / part.name;
      if (renames) {
        output.move(part.name, session, part.name);
        session.persist(part.name, to);
      } else {
        copy(output.path() / part.name, to);
      }
      names_.push_back(part.name);
    }
    support::Place here;
    here.path = lock_->path();
    here.directory = support::File(::open(here.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    support::look_like_new(here, names_);
  }

  scratch::Workspace gathered(scratch::OwnedSession&, std::uint64_t buffers) const override {
    return scratch::Workspace(lock_->path(), {.buffers = buffers});
  }

  void finish(scratch::OwnedSession&) override {
    for (const auto& entry : fs::directory_iterator(lock_->path()))  // what the library needed while it read them
      if (!parts().parse(entry.path().filename().string())) fs::remove(entry.path());
    if (!into_) {
      int error = lock_->rename_to_target(RENAME_NOREPLACE);
      if (error == EINVAL) error = lock_->rename_to_target();
      if (error != 0) keep(error);
      return;
    }
    const int from = lock_->fd(), to = into_.directory.get();
    std::string manifest;
    if (replace_) {
      ::unlinkat(to, manifest_name, 0);
      for (const std::string& old : parts_there()) ::unlinkat(to, old.c_str(), 0);
    }
    for (const std::string& name : names_) {
      struct stat facts {};
      ::fstatat(from, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW);
      if (::renameat2(from, name.c_str(), to, name.c_str(), RENAME_NOREPLACE) != 0 &&
          (errno != EINVAL || ::renameat(from, name.c_str(), to, name.c_str()) != 0))
        keep(errno);
      manifest += name + " " + std::to_string(facts.st_size) + "\n";
    }
    support::Target list(into_.path + "/" + manifest_name, false);
    list.write(manifest);
    list.commit();
  }

  static constexpr const char* manifest_name = ".part_manifest";

 private:
  struct Into : support::Place {
    explicit operator bool() const { return static_cast<bool>(directory); }
  };

  [[noreturn]] void refuse(const std::string& why) const {
    throw Refused("cannot make the output directory " + called_ + ": " + why);
  }

  void look(const std::vector<fs::path>& inputs) {
    target_ = support::resolve(called_);
    struct stat facts {};
    if (::fstatat(target_.directory.get(), target_.name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0) {
      if (!S_ISDIR(facts.st_mode)) refuse("something else has the name");
      into_.path = target_.whole();
      into_.name = "parts";
      into_.directory = support::File(::open(into_.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!into_.directory || ::access(into_.path.c_str(), W_OK | X_OK) != 0)
        throw Refused("cannot write to the output directory " + called_ + ": " + support::text_of(errno));
      for (const fs::path& input : inputs) {
        struct stat of_input {};
        if (::stat(input.c_str(), &of_input) == 0 && support::id_of(of_input) == support::id_of(facts))
          throw Refused("the output directory " + called_ + " is an input, too");
      }
      lock_ = std::make_unique<support::ResultLock>(into_, true, called_);
      check_is_free();
    } else {
      if (errno != ENOENT) throw std::system_error(errno, std::generic_category());
      lock_ = std::make_unique<support::ResultLock>(target_, true, called_);
      // It may have come while nobody had the lock.
      if (::fstatat(target_.directory.get(), target_.name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0)
        throw Refused("the output directory " + called_ + " was just made by another job");
    }
  }

  std::vector<std::string> parts_there() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(into_.path))
      if (parts().parse(entry.path().filename().string())) names.push_back(entry.path().filename().string());
    return names;
  }

  void check_is_free() const {
    const std::vector<std::string> there = parts_there();
    if (!there.empty() && !replace_)
      throw Refused("the output directory " + called_ + " has parts in it already: " + there.front() +
                    " (--replace puts these in their place)");
  }

  static void copy(const fs::path& from, const fs::path& to) {
    const support::File source(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    support::File target(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    int error = !source || !target ? errno : support::copy_rest(source.get(), target.get());
    if (error == 0) error = target.close();
    if (error != 0) throw Refused("cannot write " + to.string() + ": " + support::text_of(error));
  }

  /// The parts are whole, and have no place: they stay there under another name.
  [[noreturn]] void keep(int error) {
    const std::string kept = called_ + ".not-delivered-" + std::to_string(::getpid());
    const std::string what = "cannot give the sorted parts the name " + called_ + ": " + support::text_of(error);
    if (const int failed = lock_->rename_to(kept); failed != 0) throw Refused(what);
    throw Refused(what + "; they are kept as " + kept);
  }

  std::string called_;
  bool replace_;
  support::Place target_;
  Into into_;  // where the directory is there already
  std::unique_ptr<support::ResultLock> lock_;
  std::vector<std::string> names_;
};

/// All parts, one after the other, as one file or stream.
class OneFile : public Delivery {
 public:
  explicit OneFile(support::Target& target) : target_(target) {}

  fs::path place() const override { return target_.is_stream() ? fs::path() : fs::path(target_.directory()); }
  bool renames_from(const fs::path&) const override { return target_.is_stream(); }
  void take(scratch::OwnedSession&) override {}
  scratch::Workspace gathered(scratch::OwnedSession& session, std::uint64_t) const override {
    return session.area("output");
  }
  void finish(scratch::OwnedSession& session) override {
    const scratch::Workspace output = session.area("output");
    std::vector<fs::path> files;
    for (const scratch::Numbered& part : parts().list(output)) files.push_back(output.path() / part.name);
    target_.take(files);
  }

 private:
  support::Target& target_;
};

/// Reads everything back, as it will be delivered.
inline Check check_parts(const scratch::Workspace& here, unsigned threads) {
  const std::vector<scratch::Numbered> all_parts = parts().list(here);
  std::vector<Check> seen(all_parts.size());
  const auto check_part = [&here](const std::string& name, Check& check) {
    scratch::FileReader file(here, name);
    std::vector<Record> records(std::size_t{1} << 13);
    while (const std::size_t n = file.read(std::as_writable_bytes(std::span(records)))) {
      support::check_stop();
      check.add(std::span(records).first(n / record_size));
    }
  };
  support::in_threads(threads, [&](unsigned t) {
    for (std::size_t i = t; i < all_parts.size(); i += threads) check_part(all_parts[i].name, seen[i]);
  });
  Check all;
  for (const Check& part : seen) all += part;
  return all;
}

}  // namespace external_sort
