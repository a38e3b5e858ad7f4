// SPDX-License-Identifier: MIT
//
// Results: where the user said, as the user's other files are, or everything is as before.
//
// A target is looked at before the work: what is there, whether it may be replaced, whether there is room. What is made
// in the session is delivered when it is whole, each result for itself: one that has no place takes no other with it,
// and stays in the session, which is kept then.
//
//   there is                              and it is
//   nothing, or nothing behind a link     made, as any file that this user makes there
//   a regular file                        replaced whole, at the end of its links; mode, group and ACL stay
//   somebody else's, a mount point, or    written in place
//   one in a directory that is not ours
//   a device, a FIFO, /dev/fd/N           written through
//
// While a job works, `.scratch-result-<sum of the name>` stands beside the target: the file, locked, that will take the
// name. A second job for the same name finds the lock, and is refused.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <scratch/owned_session.hpp>

#include "inputs.hpp"
#include "streams.hpp"

namespace support {

/// Where a name leads, through all links: a directory, and a name in it that is no link.
struct Place {
  File directory;
  std::string path;         ///< of the directory
  std::string name;         ///< in it
  bool descriptor = false;  ///< it stands for an open file: /dev/stdout, /dev/fd/3, /proc/1/fd/3
  std::string whole() const { return path + "/" + name; }
};

/// The one job that makes what will be called `name` there: a file or a directory beside it, locked.
class ResultLock {
 public:
  /// @param stays what is in the directory stays when this goes, and what an earlier job left is still there
  /// @throws Refused when another job has it
  /// @throws std::system_error when nothing can be made there
  ResultLock(const Place& place, bool directory, const std::string& called, bool stays = false);
  ResultLock(const ResultLock&) = delete;
  ResultLock& operator=(const ResultLock&) = delete;
  ~ResultLock();

  int fd() const { return file_.get(); }
  /// Without a link or `..` in it.
  const std::string& path() const { return path_; }
  /// It takes the place's name. 0, or why not; then it is as it was.
  int rename_to_target(unsigned flags = 0);
  /// Or another path's.
  int rename_to(const std::string& path);
  void stays(bool yes) { stays_ = yes; }
  /// Nothing is in the directory afterwards.
  void clear();
  /// What stands there now is to be given the name.
  void holds(File file) { file_ = std::move(file); }

 private:
  bool lock_what_is_there(bool directory, const std::string& called);

  const Place& place_;
  std::string name_, path_;
  File file_;
  bool stays_ = false;
  bool there_ = false;
};

class Target {
 public:
  enum class Kind { standard_output, through, in_place, replaced };

  /// @throws Refused
  Target(std::string name, bool seeks);
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  const std::string& name() const { return name_; }
  Kind kind() const { return kind_; }
  /// Written as it comes, and not when all is there.
  bool is_stream() const { return kind_ == Kind::standard_output || kind_ == Kind::through; }
  const FileId& id() const { return id_; }
  bool exists() const { return exists_; }
  /// Whether both would be the same file.
  bool is(const Target& other) const;
  /// Bytes that may still be written there. No limit for what is written through.
  std::uint64_t room() const;
  /// Where its bytes are, or will be.
  std::string directory() const { return place_.path.empty() ? "." : place_.path; }

  /// Writes what comes next. A file gets its name with `commit()`, and is not there before.
  /// @throws Stopped, ClosedOutput, Refused
  void write(std::string_view bytes);
  void commit();
  /// A file of so many bytes that takes the name with `commit()`: whoever sees it can write to it. `beginning` stands in
  /// it. Empty where it must be written from here, in one go.
  std::string open_to_others(std::uint64_t bytes, std::string_view beginning);
  /// Puts a file of the session in its place. @throws as `write`; the place is as before where it can be
  void take(scratch::OwnedSession& session, const std::string& file);
  /// The same of several files, one after the other, which stay where they are.
  void take(const std::vector<std::filesystem::path>& files);

 private:
  void look(bool seeks);
  void look_at_regular(const struct stat& facts);
  int to();
  void copy(int from, int to);
  void need_room(std::uint64_t bytes) const;
  void open_stream();
  [[noreturn]] void refuse(const std::string& why) const;
  [[noreturn]] void refuse(int error) const { refuse(text_of(error)); }

  std::string name_;
  Kind kind_ = Kind::replaced;
  Place place_;
  bool exists_ = false;
  FileId id_;
  struct stat facts_ {};
  File open_;  // a stream, or what is written in place
  std::unique_ptr<ResultLock> lock_;
};

/// All that is left of a file, into another one. 0, or the error of writing. @throws Stopped, std::system_error
int copy_rest(int from, int to);

/// Gives files of a directory mode, group and ACL of files that are made there.
void look_like_new(const Place& directory, const std::vector<std::string>& names);

class Results {
 public:
  explicit Results(std::vector<Input> inputs) : inputs_(std::move(inputs)) {}

  /// @param what  in a sentence: "the k-mers"
  /// @param seeks it is no stream: only a file can hold it, or nothing at all
  /// @throws Refused for what cannot be a result
  Target& add(const std::string& what, const std::string& name, bool seeks = false);
  /// What is written without a target of its own goes to the standard output.
  void uses_stdout();

  const std::vector<Input>& inputs() const { return inputs_; }
  /// Puts a file of the session in its place; what fails is told at the end, and the others go on.
  /// @throws Stopped before the first one: a job that says it was stopped has put nothing anywhere
  void deliver(scratch::OwnedSession& session, Target& target, const std::string& file);
  /// Does something that may fail likewise. @param file what is kept of the session then
  void attempt(const std::function<void()>& action, const std::string& file);
  /// So far.
  bool all_delivered() const { return missing_.empty(); }
  /// Keeps the session where a result could not be delivered. Call it when all was tried.
  /// @param goes_on it stays until it is completed, so that the job can be gone on with
  /// @throws Told, ClosedOutput
  void finish(scratch::OwnedSession& session, bool goes_on = false);

 private:
  struct Missing {
    std::string why, file;
  };
  void check_against_inputs(const std::string& what, const FileId& id) const;

  std::vector<Input> inputs_;
  struct Named {
    std::string what;
    std::unique_ptr<Target> target;
  };
  std::vector<Named> targets_;
  std::vector<Missing> missing_;
  bool closed_ = false;
  bool begun_ = false;
};

/// Where a name leads. @throws std::system_error
Place resolve(const std::string& name);

/// `.scratch-result-<XXH3-64 of the name>`
std::string result_name(const std::string& name);

}  // namespace support
