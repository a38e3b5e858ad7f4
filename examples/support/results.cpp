// SPDX-License-Identifier: MIT
#include "results.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <system_error>
#include <utility>

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <scratch/bytes.hpp>
#include <scratch/space.hpp>

namespace support {
namespace {

[[noreturn]] void fail(int error) { throw std::system_error(error, std::generic_category()); }

constexpr const char* acl_name = "system.posix_acl_access";

/// As `like` is: group, mode, and what else an ACL allows.
void make_alike(int file, int like, const struct stat& facts) {
  if (::fchown(file, static_cast<uid_t>(-1), facts.st_gid) != 0 && errno != EPERM) fail(errno);
  if (::fchmod(file, facts.st_mode & 07777) != 0 && errno != EPERM) fail(errno);
  std::array<char, 4096> acl{};
  const ssize_t size = ::fgetxattr(like, acl_name, acl.data(), acl.size());
  if (size > 0) ::fsetxattr(file, acl_name, acl.data(), static_cast<std::size_t>(size), 0);
}

bool has_attribute(int directory, const char* name, std::uint64_t attribute) {
  struct statx facts {};
  return ::statx(directory, name, AT_SYMLINK_NOFOLLOW | (*name == '\0' ? AT_EMPTY_PATH : 0), STATX_BASIC_STATS,
                 &facts) == 0 &&
         (facts.stx_attributes & facts.stx_attributes_mask & attribute) != 0;
}

bool is_null_device(const struct stat& facts) { return S_ISCHR(facts.st_mode) && facts.st_rdev == ::makedev(1, 3); }

bool may(const File& directory, const std::string& name, int how) {
  return ::faccessat(directory.get(), name.c_str(), how, AT_EACCESS) == 0;
}

constexpr const char* busy = "another job is writing it";

/// False: somebody else has it. Where nothing can be locked, everybody has.
bool lock(int fd, const std::string& called) {
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return false;
    if (errno == EINTR) continue;
    notice("\"" + called + "\": its file system has no locks: a second job for it would not be noticed");
    break;
  }
  return true;
}

/// -1: the file system cannot.
ssize_t copy_in_kernel(int from, int to) {
  const ssize_t n = ::copy_file_range(from, nullptr, to, nullptr, std::size_t{64} << 20, 0);
  return n < 0 && errno == EINTR ? copy_in_kernel(from, to) : n;
}

}  // namespace

std::string result_name(const std::string& name) {
  std::array<char, 17> sum{};
  std::snprintf(sum.data(), sum.size(), "%016llx",
                static_cast<unsigned long long>(XXH3_64bits(name.data(), name.size())));
  return std::string(".scratch-result-") + sum.data();
}

Place resolve(const std::string& name) {
  std::string path = name;
  for (int links = 0; links < 40; ++links) {
    const std::size_t slash = path.rfind('/');
    Place place;
    place.path = slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    place.name = path.substr(slash + 1);
    if (place.name.empty() || place.name == "." || place.name == "..") fail(EISDIR);
    place.directory = File(::open(place.path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!place.directory) fail(errno);
    std::array<char, 4097> target{};
    const ssize_t size = ::readlinkat(place.directory.get(), place.name.c_str(), target.data(), target.size() - 1);
    if (size < 0) {
      if (errno != EINVAL && errno != ENOENT) fail(errno);
      return place;
    }
    struct statfs system {};
    if (::fstatfs(place.directory.get(), &system) == 0 && system.f_type == PROC_SUPER_MAGIC) {
      place.descriptor = true;
      return place;
    }
    path = target[0] == '/' ? target.data() : place.path + "/" + target.data();
  }
  fail(ELOOP);
}

// ---- ResultLock

ResultLock::ResultLock(const Place& place, bool directory, const std::string& called, bool stays)
    : place_(place),
      name_(result_name(place.name)),
      path_((std::filesystem::canonical(place.path) / name_).native()),
      stays_(stays) {
  for (int i = 0; i < 1000; ++i)
    if (lock_what_is_there(directory, called)) return;
  throw Refused("cannot write \"" + called + "\": " + busy);
}

bool ResultLock::lock_what_is_there(bool directory, const std::string& called) {
  const int dir = place_.directory.get();
  if (directory && ::mkdirat(dir, name_.c_str(), 0777) != 0 && errno != EEXIST) fail(errno);
  const int flags = O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  File file(directory ? ::openat(dir, name_.c_str(), flags | O_RDONLY | O_DIRECTORY)
                      : ::openat(dir, name_.c_str(), flags | O_RDWR | O_CREAT, 0666));
  if (!file && errno == ENOENT && directory) return false;
  if (!file) fail(errno);
  if (!lock(file.get(), called)) throw Refused("cannot write \"" + called + "\": " + busy);
  struct stat facts {
  }, there{};
  if (::fstat(file.get(), &facts) != 0) fail(errno);
  if (::fstatat(dir, name_.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0 || id_of(there) != id_of(facts)) return false;
  if (facts.st_uid != ::geteuid()) {  // what another user's job left
    if (::unlinkat(dir, name_.c_str(), directory ? AT_REMOVEDIR : 0) != 0) fail(errno);
    return false;
  }
  // What a job left that was killed.
  if (directory && !stays_)
    clear();
  else if (!directory && facts.st_size > 0 && ::ftruncate(file.get(), 0) != 0)
    fail(errno);
  file_ = std::move(file);
  there_ = true;
  return true;
}

ResultLock::~ResultLock() {
  if (!there_) return;
  std::error_code ignored;
  if (stays_)
    std::filesystem::remove(path(), ignored);  // where it is empty
  else
    std::filesystem::remove_all(path(), ignored);
}

void ResultLock::clear() {
  for (const auto& entry : std::filesystem::directory_iterator(path())) std::filesystem::remove_all(entry.path());
}

int ResultLock::rename_to_target(unsigned flags) {
  const int dir = place_.directory.get();
  if (::renameat2(dir, name_.c_str(), dir, place_.name.c_str(), flags) != 0) return errno;
  there_ = false;
  return 0;
}

int ResultLock::rename_to(const std::string& path) {
  if (::renameat(place_.directory.get(), name_.c_str(), AT_FDCWD, path.c_str()) != 0) return errno;
  there_ = false;
  return 0;
}

// ---- Target

Target::Target(std::string name, bool seeks) : name_(std::move(name)) {
  try {
    look(seeks);
  } catch (const std::system_error& error) {
    refuse(error.code().value());
  }
}

void Target::refuse(const std::string& why) const {
  throw Refused(
      (kind_ == Kind::standard_output ? "cannot write to the standard output: " : "cannot write \"" + name_ + "\": ") +
      why);
}

void Target::look(bool seeks) {
  int descriptor = -1;
  if (name_ == "-") {
    descriptor = STDOUT_FILENO;
  } else {
    place_ = resolve(name_);
    struct stat here {
    }, ours{};
    if (place_.descriptor && ::stat(place_.path.c_str(), &here) == 0 && ::stat("/proc/self/fd", &ours) == 0 &&
        id_of(here) == id_of(ours))
      descriptor = std::atoi(place_.name.c_str());
  }
  if (descriptor >= 0) {
    kind_ = descriptor == STDOUT_FILENO ? Kind::standard_output : Kind::through;
    const int flags = ::fcntl(descriptor, F_GETFL);
    if (flags < 0) refuse(errno);
    if ((flags & O_ACCMODE) == O_RDONLY) refuse(EBADF);
    open_ = File(::fcntl(descriptor, F_DUPFD_CLOEXEC, 3));
    if (!open_ || ::fstat(open_.get(), &facts_) != 0) refuse(errno);
    exists_ = true;
  } else if (place_.descriptor) {
    if (::stat(name_.c_str(), &facts_) != 0) refuse(errno);
    kind_ = Kind::through;
    exists_ = true;
    open_stream();
  } else if (::fstatat(place_.directory.get(), place_.name.c_str(), &facts_, AT_SYMLINK_NOFOLLOW) == 0) {
    exists_ = true;
    if (S_ISDIR(facts_.st_mode)) refuse(EISDIR);
    if (S_ISSOCK(facts_.st_mode)) refuse("it is a socket");
    if (S_ISREG(facts_.st_mode)) {
      look_at_regular(facts_);
    } else {
      kind_ = Kind::through;
      if (!may(place_.directory, place_.name, W_OK)) refuse(errno);
      if (!S_ISFIFO(facts_.st_mode)) open_stream();  // a FIFO may have no reader yet
    }
  } else if (errno != ENOENT) {
    refuse(errno);
  } else {
    lock_ = std::make_unique<ResultLock>(place_, false, name_);
  }
  if (exists_) id_ = id_of(facts_);
  if (seeks && is_stream() && !S_ISREG(facts_.st_mode) && !is_null_device(facts_))
    refuse("a table needs a file, whose bytes have places");
  constexpr std::uint64_t least = 4096;
  if (lock_ && room() < least)
    refuse(text_of(ENOSPC) + " (" + scratch::readable_size(least) + " or more needed, " +
           scratch::readable_size(room()) + " free)");
}

void Target::look_at_regular(const struct stat& facts) {
  const int dir = place_.directory.get();
  if (!may(place_.directory, place_.name, W_OK)) refuse(errno);
  if (has_attribute(dir, place_.name.c_str(), STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND))
    refuse("the file is immutable, or may only grow (chattr)");
  struct stat directory {};
  if (::fstat(dir, &directory) != 0) refuse(errno);
  const uid_t me = ::geteuid();
  const bool theirs = facts.st_uid != me;
  if (theirs && me != 0 && (directory.st_mode & S_ISVTX) != 0 && directory.st_uid != me)
    refuse("it belongs to somebody else, in a sticky directory");
  if (!theirs && !has_attribute(dir, place_.name.c_str(), STATX_ATTR_MOUNT_ROOT)) {
    try {
      lock_ = std::make_unique<ResultLock>(place_, false, name_);
      return;
    } catch (const std::system_error& error) {
      const int why = error.code().value();
      if (why != EACCES && why != EPERM && why != EROFS) throw;
    }
  }
  kind_ = Kind::in_place;
  open_ = File(::openat(dir, place_.name.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!open_) refuse(errno);
  if (!lock(open_.get(), name_)) refuse(busy);
}

bool Target::is(const Target& other) const {
  if (exists_ != other.exists_) return false;
  if (exists_) return id_ == other.id_ && !S_ISCHR(facts_.st_mode);
  struct stat here {
  }, there{};
  return ::fstat(place_.directory.get(), &here) == 0 && ::fstat(other.place_.directory.get(), &there) == 0 &&
         id_of(here) == id_of(there) && place_.name == other.place_.name;
}

std::uint64_t Target::room() const {
  if (is_stream()) return std::numeric_limits<std::uint64_t>::max();
  return scratch::space(place_.path).bytes;
}

void Target::open_stream() {
  while (!open_) {
    const std::string path = place_.whole();
    open_ = File(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (open_) break;
    if (errno != ENXIO || !S_ISFIFO(facts_.st_mode)) refuse(errno);
    pause_for(20);  // nobody reads it yet
  }
}

int copy_rest(int from, int to) {
  bool in_kernel = is_regular(from) && is_regular(to), any = false;
  std::string block;
  for (;;) {
    check_stop();
    if (in_kernel) {
      const ssize_t n = copy_in_kernel(from, to);
      any = any || n > 0;
      if (n > 0) continue;
      if (n == 0 && any) return 0;
      if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) return errno;
      in_kernel = false;  // both are where it came to
    }
    block.resize(std::size_t{1} << 20);
    const ssize_t n = ::read(from, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(errno);
    if (n == 0) return 0;
    if (const int error = write_some(to, {block.data(), static_cast<std::size_t>(n)}); error != 0) return error;
  }
}

void look_like_new(const Place& directory, const std::vector<std::string>& names) {
  const std::string probe = ".scratch-new-" + std::to_string(::getpid());
  const int dir = directory.directory.get();
  const File like(::openat(dir, probe.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  struct stat facts {};
  if (!like || ::fstat(like.get(), &facts) != 0) fail(errno);
  ::unlinkat(dir, probe.c_str(), 0);
  for (const std::string& name : names) {
    const File file(::openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!file) fail(errno);
    make_alike(file.get(), like.get(), facts);
  }
}

int Target::to() {
  if (kind_ == Kind::replaced) return lock_->fd();
  open_stream();
  return open_.get();
}

void Target::write(std::string_view bytes) {
  const int error = write_some(to(), bytes);
  if (error == EPIPE && kind_ == Kind::standard_output) throw ClosedOutput{};
  if (error != 0) refuse(error);
}

void Target::copy(int from, int to) {
  const int error = copy_rest(from, to);
  if (error == EPIPE && kind_ == Kind::standard_output) throw ClosedOutput{};
  if (error != 0) refuse(error);
}

void Target::need_room(std::uint64_t bytes) const {
  if (is_stream()) return;
  const std::uint64_t there = kind_ == Kind::in_place ? static_cast<std::uint64_t>(facts_.st_size) : 0;
  if (bytes > there && bytes - there > room())
    refuse(text_of(ENOSPC) + " (" + scratch::readable_size(bytes - there) + " needed, " +
           scratch::readable_size(room()) + " free)");
}

void Target::commit() {
  if (is_stream()) return;
  if (kind_ == Kind::in_place) {
    if (::ftruncate(open_.get(), ::lseek(open_.get(), 0, SEEK_CUR)) != 0) refuse(errno);
    return;
  }
  if (exists_) {
    const File before(::openat(place_.directory.get(), place_.name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    make_alike(lock_->fd(), before.get(), facts_);
    if (facts_.st_nlink > 1)
      notice("\"" + name_ + "\" has another name, which keeps what it was: only this one was replaced");
  }
  const int error = lock_->rename_to_target();
  if (error == 0) return;
  // What cannot be renamed to may yet be written.
  const File target(::openat(place_.directory.get(), place_.name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!target) refuse(error);
  ::lseek(lock_->fd(), 0, SEEK_SET);
  copy(lock_->fd(), target.get());
  if (::ftruncate(target.get(), ::lseek(target.get(), 0, SEEK_CUR)) != 0) refuse(errno);
}

std::string Target::open_to_others(std::uint64_t bytes, std::string_view beginning) {
  if (kind_ != Kind::replaced || bytes < beginning.size() || bytes > room()) return {};
  const int file = lock_->fd();
  if (write_some(file, beginning) == 0 && ::ftruncate(file, static_cast<off_t>(bytes)) == 0) return lock_->path();
  ::lseek(file, 0, SEEK_SET);
  return {};
}

void Target::take(scratch::OwnedSession& session, const std::string& file) try {
  const std::filesystem::path path = session.path() / file;
  File made(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat facts {
  }, beside{};
  if (!made || ::fstat(made.get(), &facts) != 0) fail(errno);
  if (kind_ == Kind::replaced && ::fstat(lock_->fd(), &beside) != 0) fail(errno);
  if (kind_ != Kind::replaced || facts.st_dev != beside.st_dev) return take({path});
  lock(made.get(), name_);
  const File like(::fcntl(lock_->fd(), F_DUPFD_CLOEXEC, 3));
  session.persist(file, lock_->path());
  File there(::open(lock_->path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat renamed {};
  if (!there || ::fstat(there.get(), &renamed) != 0) fail(errno);
  if (id_of(renamed) != id_of(facts)) {  // it was copied
    lock(there.get(), name_);
    made = std::move(there);
  }
  make_alike(made.get(), like.get(), beside);
  lock_->holds(std::move(made));
  commit();
} catch (const std::system_error& error) {
  refuse(dynamic_cast<const scratch::Error*>(&error) != nullptr ? error.code().message()
                                                                : text_of(error.code().value()));
}

void Target::take(const std::vector<std::filesystem::path>& files) try {
  std::uint64_t bytes = 0;
  for (const auto& file : files) bytes += std::filesystem::file_size(file);
  need_room(bytes);
  for (const auto& file : files) {
    const File from(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!from) fail(errno);
    copy(from.get(), to());
  }
  commit();
} catch (const std::system_error& error) {
  refuse(error.code().value());
}

// ---- Results

void Results::check_against_inputs(const std::string& what, const FileId& id) const {
  for (const Input& input : inputs_)
    if (input.id == id)
      throw Refused("cannot write " + what + ": it is the input " +
                    (input.name == "-" ? std::string("-, the standard input") : "\"" + input.name + "\""));
}

Target& Results::add(const std::string& what, const std::string& name, bool seeks) {
  auto target = std::make_unique<Target>(name, seeks);
  const std::string called = name == "-" ? "to the standard output" : "\"" + name + "\"";
  struct stat facts {};
  const bool device =
      target->exists() && ::stat(name == "-" ? "/dev/stdout" : name.c_str(), &facts) == 0 && S_ISCHR(facts.st_mode);
  if (target->exists() && !device) check_against_inputs(called, target->id());
  for (const Named& other : targets_)
    if (other.target->is(*target))
      throw Refused("cannot write " + called + ": " + what + " and " + other.what + " would be one file");
  targets_.push_back({what, std::move(target)});
  return *targets_.back().target;
}

void Results::uses_stdout() {
  struct stat facts {};
  if (::fstat(STDOUT_FILENO, &facts) == 0 && S_ISREG(facts.st_mode))
    check_against_inputs("to the standard output", id_of(facts));
}

void Results::attempt(const std::function<void()>& action, const std::string& file) {
  try {
    action();
  } catch (const ClosedOutput&) {
    closed_ = true;
  } catch (const std::exception& error) {
    missing_.push_back({error.what(), file});
  }
}

void Results::deliver(scratch::OwnedSession& session, Target& target, const std::string& file) {
  if (!std::exchange(begun_, true)) check_stop();
  attempt([&] { target.take(session, file); }, file);
}

void Results::finish(scratch::OwnedSession& session, bool goes_on) {
  if (missing_.empty()) {
    if (closed_) throw ClosedOutput{};
    return;
  }
  const std::filesystem::path kept = goes_on ? session.path() : session.keep();
  for (const Missing& missing : missing_)
    std::fprintf(stderr, "%s: %s; it is kept as %s\n", program_name().c_str(), missing.why.c_str(),
                 (kept / missing.file).c_str());
  if (!goes_on) session.complete();
  throw Told{};
}

}  // namespace support
