// SPDX-License-Identifier: MIT
//
// Where the sorted items go: a directory of parts, or one file or stream. It gets all of them, or is left as it was.
//
// Parts are gathered in a directory beside their target, locked, which then takes its name: one rename, and a reader
// sees the whole set. Where the directory is there already they are gathered in it, and get their names one by one; in
// the end `.part_manifest` has a line `name size` for each, so that whoever reads them can tell that the set is whole.
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <nlohmann/json.hpp>
#include <scratch/scratch.hpp>

#include "area.hpp"
#include "checker.hpp"
#include "layout.hpp"
#include "plan.hpp"
#include "preflight.hpp"
#include "stage.hpp"
#include "support/deflating.hpp"
#include "support/results.hpp"
#include "support/sessions.hpp"
#include "support/threads.hpp"

namespace external_sort {

namespace fs = std::filesystem;

/// In a directory that others put parts in.
inline constexpr const char* token_name = ".token";

class Delivery {
 public:
  Delivery() = default;
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;
  virtual ~Delivery() = default;

  /// The file system that gets the items; empty: none.
  virtual fs::path place() const = 0;
  /// Whether delivering takes no room beside what the session has.
  virtual bool renames_from(const Area& session) const = 0;
  /// A new job, or one that goes on; what was said before holds no longer. @throws Refused
  virtual void begin(const nlohmann::json& /* left by `delivering()` of the one before */, bool /* goes_on */) {}
  /// Whether an earlier run had gathered and checked all, and was about to give the names.
  virtual bool was_delivering() const { return false; }
  /// Lets others than whoever delivers put there what they have, if they see it: a file as long as all of it, into which
  /// each part goes at its place, or a directory for files that are called as parts are. `token` can be read at the
  /// file's beginning, or in `token_name` there. Empty: nobody else can.
  virtual fs::path open_to_others(std::uint64_t /* bytes */, std::string_view /* token */) { return {}; }
  /// Gathers the parts, so that `parts()` of `workspace()` are what will be delivered.
  virtual void take(support::Sessions& sessions, const Format& format) = 0;
  virtual Area gathered(support::Sessions& sessions, std::uint64_t buffers) const = 0;
  /// What is to be replaced goes, where it does not go with the names' being given.
  virtual void make_way() {}
  /// What a later run must know to give the names that this one did not.
  virtual nlohmann::json delivering() const { return {}; }
  /// Gives them their name. @throws Refused and all is in the session, or as the error says
  virtual void finish(support::Sessions& sessions) = 0;
};

/// It has its name when it is whole. @throws Refused, support::Stopped
inline void copy_whole(const fs::path& from, const fs::path& to) {
  const fs::path beside = to.parent_path() / ("." + to.filename().string() + ".copying");
  ::unlink(beside.c_str());  // what a killed one left
  const support::File source(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  support::File target(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  int error = !source || !target ? errno : support::copy_rest(source.get(), target.get());
  if (error == 0) error = target.close();
  if (error == 0 && ::rename(beside.c_str(), to.c_str()) != 0) error = errno;
  if (error != 0) throw Refused("cannot write " + to.string() + ": " + support::text_of(error));
}

class PartsDirectory : public Delivery {
 public:
  /// @param resumes it may go on where an earlier one was killed: what that had gathered is still there
  /// @throws Refused where it cannot be made or written, is a directory of inputs, or has parts already, unless they may
  ///         be those of the earlier one
  PartsDirectory(const fs::path& directory, bool replace, bool resumes, const std::vector<fs::path>& inputs)
      : replace_(replace), resumes_(resumes) {
    called_ = fs::absolute(directory).string();
    while (called_.size() > 1 && called_.ends_with('/')) called_.pop_back();
    try {
      look(inputs);
    } catch (const std::system_error& error) {
      refuse(error.code().message());
    }
  }

  fs::path place() const override { return target_.path; }
  bool renames_from(const Area& session) const override {
    for (std::size_t i = 0; i < session.places(); ++i)
      if (!on_one_file_system(session.in(i).path(), lock_->path())) return false;
    return true;
  }

  void begin(const nlohmann::json& earlier, bool goes_on) override {
    if (!goes_on) lock_->clear();
    was_delivering_ = earlier.is_object();
    parts_.clear();
    if (was_delivering_) {
      was_there_ = earlier.at("was_there").get<bool>();
      for (const nlohmann::json& part : earlier.at("parts"))
        parts_.push_back({0, {}, part.at(0).get<std::string>(), part.at(1).get<std::uint64_t>()});
    } else {
      if (into_) check_is_free();
      was_there_ = static_cast<bool>(into_);
    }
  }
  bool was_delivering() const override { return was_delivering_; }

  fs::path open_to_others(std::uint64_t, std::string_view token) override {
    std::ofstream out(fs::path(lock_->path()) / token_name);
    return out << token << std::flush ? fs::path(lock_->path()) : fs::path();
  }

  void take(support::Sessions& sessions, const Format& format) override {
    for (std::size_t i = 0; i < sessions.size(); ++i) {
      scratch::OwnedSession& session = sessions[i];
      scratch::Workspace output = session.area("output");
      const bool renames = on_one_file_system(session.path(), lock_->path());
      for (const scratch::Numbered& part : parts().list(output)) {
        check_whole(output, part.name, format);
        if (renames)
          output.move(part.name, session, part.name);
        else if (const fs::path to = fs::path(lock_->path()) / part.name; !fs::exists(to))
          copy_whole(output.path() / part.name, to);
      }
      for (const scratch::Numbered& part : parts().list(session))
        session.persist(part.name, fs::path(lock_->path()) / part.name);
    }
    std::vector<std::string> names;
    parts_.clear();
    for (const auto& entry : fs::directory_iterator(lock_->path()))
      if (auto part = parts().parse(entry.path().filename().string())) {
        part->bytes = entry.file_size();
        names.push_back(part->name);
        parts_.push_back(*std::move(part));
      }
    std::sort(parts_.begin(), parts_.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
    support::Place here;
    here.path = lock_->path();
    here.directory = support::File(::open(here.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    support::look_like_new(here, names);
  }

  Area gathered(support::Sessions&, std::uint64_t buffers) const override {
    return Area(scratch::Workspace(lock_->path(), {.buffers = buffers}));
  }

  void make_way() override {
    if (!into_ || !replace_ || was_delivering_) return;
    ::unlinkat(into_.directory.get(), manifest_name, 0);
    for (const std::string& old : parts_there()) ::unlinkat(into_.directory.get(), old.c_str(), 0);
  }

  nlohmann::json delivering() const override {
    nlohmann::json list = nlohmann::json::array();
    for (const scratch::Numbered& part : parts_) list.push_back({part.name, part.bytes});
    return {{"was_there", was_there_}, {"parts", list}};
  }

  void finish(support::Sessions&) override {
    for (const auto& entry : fs::directory_iterator(lock_->path()))  // what the library needed while it read them
      if (!parts().parse(entry.path().filename().string())) fs::remove(entry.path());
    if (!into_) {
      for (const scratch::Numbered& part : parts_)
        if (std::error_code gone; fs::file_size(fs::path(lock_->path()) / part.name, gone) != part.bytes)
          throw Refused("the sorted part " + part.name + " is no longer in " + lock_->path());
      int error = lock_->rename_to_target(RENAME_NOREPLACE);
      if (error == EINVAL) error = lock_->rename_to_target();
      if (error != 0) keep(error);
      return;
    }
    const int from = lock_->fd(), to = into_.directory.get();
    std::string manifest;
    for (const scratch::Numbered& part : parts_) {
      const char* name = part.name.c_str();
      struct stat facts {};
      const bool there = was_delivering_ && ::fstatat(to, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
                         static_cast<std::uint64_t>(facts.st_size) == part.bytes;
      if (!there && ::renameat2(from, name, to, name, RENAME_NOREPLACE) != 0 &&
          (errno != EINVAL || ::renameat(from, name, to, name) != 0))
        keep(errno);
      manifest += part.name + " " + std::to_string(part.bytes) + "\n";
    }
    lock_->stays(false);
    if (!was_there_) return;  // the earlier run had given the directory its name
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
      if (!S_ISDIR(facts.st_mode)) refuse("something else has the name (one file: --to-file)");
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
      lock_ = std::make_unique<support::ResultLock>(into_, true, called_, resumes_);
      if (!resumes_) check_is_free();
    } else {
      if (errno != ENOENT) throw std::system_error(errno, std::generic_category());
      lock_ = std::make_unique<support::ResultLock>(target_, true, called_, resumes_);
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

  /// The parts are whole, and have no place: they stay there under another name.
  [[noreturn]] void keep(int error) {
    const std::string kept = called_ + ".not-delivered-" + std::to_string(::getpid());
    const std::string what = "cannot give the sorted parts the name " + called_ + ": " + support::text_of(error);
    if (const int failed = lock_->rename_to(kept); failed != 0) throw Refused(what);
    throw Refused(what + "; they are kept as " + kept);
  }

  std::string called_;
  bool replace_, resumes_;
  bool was_delivering_ = false;
  bool was_there_ = false;  // the directory, before the first run
  support::Place target_;
  Into into_;  // where the directory is there already
  std::unique_ptr<support::ResultLock> lock_;
  std::vector<scratch::Numbered> parts_;
};

/// All parts, one after the other, as one file or stream. With a name that ends with .gz they are compressed.
class OneFile : public Delivery {
 public:
  explicit OneFile(support::Target& target) : target_(target) {}

  fs::path place() const override { return target_.is_stream() ? fs::path() : fs::path(target_.directory()); }
  bool renames_from(const Area&) const override { return target_.is_stream(); }
  fs::path open_to_others(std::uint64_t bytes, std::string_view token) override {
    if (target_.name().ends_with(".gz")) return {};
    const fs::path path = target_.open_to_others(bytes, token);
    is_open_ = !path.empty();
    return path;
  }
  void take(support::Sessions&, const Format&) override {}
  Area gathered(support::Sessions& sessions, std::uint64_t) const override { return as_area(sessions).area("output"); }
  void finish(support::Sessions& sessions) override {
    if (is_open_) {  // and all of it is there
      target_.commit();
      return;
    }
    const std::vector<Placed> all_parts = as_area(sessions).area("output").list(parts());
    if (target_.name().ends_with(".gz")) {
      compress(all_parts);
      return;
    }
    std::vector<fs::path> files;
    for (const Placed& part : all_parts) files.push_back(part.here.path() / part.name);
    target_.take(files);
  }

 private:
  void compress(const std::vector<Placed>& all_parts) {
    support::Deflating member;
    const auto put = [&](std::span<const char> text, bool last) {
      member.put(text, last, [&](std::string_view bytes) { target_.write(bytes); });
    };
    std::vector<std::byte> block(1_MiB);
    for (const Placed& part : all_parts) {
      scratch::FileReader file(part.here, part.name);
      while (const std::size_t n = file.read(block)) put({reinterpret_cast<const char*>(block.data()), n}, false);
    }
    put({}, true);
    target_.commit();
  }

  support::Target& target_;
  bool is_open_ = false;  // to others
};

/// Reads parts back.
template <class Kind>
class PartChecker {
 public:
  /// @param seen_before where it is written down what was seen of a part, and read; null: nowhere
  PartChecker(const Kind& kind, std::uint64_t longest, const scratch::Workspace* seen_before)
      : kind_(kind), longest_(longest), seen_before_(seen_before) {
    if (seen_before == nullptr) return;
    for (const scratch::Numbered& part : parts().list(*seen_before)) known_.insert(part.name);
  }

  /// @param go_on called now and then
  template <class GoOn>
  Check check(const Placed& part, GoOn go_on) const {
    if (known_.contains(part.name))
      if (std::optional<Check> before = Check::from_bytes(scratch::read_file(*seen_before_, part.name)))
        return *std::move(before);
    Check seen;
    scratch::FileReader file(part.here, part.name);
    std::vector<std::byte> block(std::max<std::size_t>(1_MiB, static_cast<std::size_t>(longest_)));
    std::size_t filled = 0;
    while (const std::size_t n = file.read(std::span(block).subspan(filled))) {
      go_on();
      filled += n;
      const std::size_t whole = kind_.whole(std::span(block).first(filled));
      seen.add(kind_, std::span(block).first(whole));
      std::copy(block.begin() + static_cast<std::ptrdiff_t>(whole), block.begin() + static_cast<std::ptrdiff_t>(filled),
                block.begin());
      filled -= whole;
    }
    if (filled > 0) throw Refused("the sorted part " + part.name + " is damaged at its end");
    if (seen_before_ != nullptr) scratch::write_file(*seen_before_, part.name, seen.to_bytes());
    return seen;
  }

 private:
  const Kind& kind_;
  std::uint64_t longest_;
  const scratch::Workspace* seen_before_;
  std::set<std::string> known_;
};

/// Reads everything back, as it will be delivered.
/// @param seen_before as that of a `PartChecker`
template <class Kind>
Check check_parts(const Area& here, const Kind& kind, std::uint64_t longest, unsigned threads,
                  const scratch::Workspace* seen_before) {
  const std::vector<Placed> all_parts = here.list(parts());
  std::vector<Check> seen(all_parts.size());
  const PartChecker checker(kind, longest, seen_before);
  support::in_threads(threads, [&](unsigned t) {
    for (std::size_t i = t; i < all_parts.size(); i += threads)
      seen[i] = checker.check(all_parts[i], support::check_stop);
  });
  Check all;
  for (const Check& part : seen) all.add(kind, part);
  return all;
}

}  // namespace external_sort
