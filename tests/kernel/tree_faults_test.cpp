// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Each system call of removing, measuring and sharing a quota fails, once and for ever. Careless ways to do the same go
// through the same faults, and are found out.
#include <scratch/detail/kernel/remove_tree.hpp>
#include <scratch/detail/kernel/rename.hpp>
#include <scratch/detail/workspace/quota.hpp>
#include <scratch/space.hpp>
#include <scratch/usage.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
namespace detail = scratch::detail;
namespace sys = scratch::sys;
using scratch::Error;
using scratch::test::names_in;
using scratch::test::plan;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::TempDir;

namespace {

constexpr std::array errors{EIO,    ENOSPC, EDQUOT, EINTR,  EAGAIN, EACCES, EPERM, EROFS,  EMFILE,
                            ENFILE, ENOMEM, ELOOP,  ENOENT, ESTALE, EXDEV,  EBUSY, ENOTDIR};

struct Task {
  std::function<void()> prepare;
  std::function<void()> work;  ///< under the fault; throws Error
  /// What is wrong afterwards, "" when nothing is. `failed`: the work said so; `error`: what was injected.
  std::function<std::string(bool failed, int error)> check;
  bool may_vanish = true;  ///< whether ENOENT is one of the faults
};

struct Faults {
  int fired = 0;
  std::vector<std::string> wrong;
};

/// Runs the work with its n-th call failing, for each n and each errno. EINTR for ever would be repeated for ever.
Faults with_each_fault(const Task& task) {
  Faults faults;
  for (const bool for_ever : {false, true})
    for (const int error : errors) {
      if ((for_ever && error == EINTR) || (!task.may_vanish && error == ENOENT)) continue;
      for (long n = 0;; ++n) {
        task.prepare();
        const std::size_t descriptors = scratch::test::open_descriptors();
        for_ever ? plan.fail_from(n, error) : plan.fail_once(n, error);
        const auto thrown = refusal([&] { task.work(); });
        const bool fired = plan.fired > 0;
        plan.clear();
        const bool leaked = scratch::test::open_descriptors() != descriptors;
        std::string wrong = task.check(thrown.has_value(), fired ? error : 0);
        if (leaked) wrong = "a descriptor leaked";
        if (thrown && (thrown->doing().empty() || !fired)) wrong = "an error out of nothing";
        if (!wrong.empty())
          faults.wrong.push_back("call " + std::to_string(n) + (for_ever ? " and all later ones" : "") +
                                 " fails with " + std::generic_category().message(error) + ": " + wrong);
        if (leaked) return faults;
        if (!fired) break;
        ++faults.fired;
      }
    }
  return faults;
}

std::string text(const Faults& faults) {
  std::string lines = std::to_string(faults.wrong.size()) + " failures of " + std::to_string(faults.fired) + "\n";
  for (std::size_t i = 0; i < faults.wrong.size() && i < 10; ++i) lines += faults.wrong[i] + "\n";
  return lines;
}

// ---- removing

Faults faults_of_removal(const std::function<void(int directory, const fs::path& path)>& remove) {
  const TempDir dir;
  const auto prepare = [&] {
    fs::create_directories(dir / "outside");
    put(dir / "outside/canary", "x");
    fs::create_directories(dir / "tree/a/b");
    fs::create_directories(dir / "tree/c");
    put(dir / "tree/a/b/file", "12345");
    put(dir / "tree/metadata.json");
    fs::create_symlink(dir / "outside", dir / "tree/link");
    fs::permissions(dir / "tree/c", fs::perms::owner_read);
  };
  const auto check = [&](bool failed, int error) -> std::string {
    const bool touched = !fs::exists(dir / "outside/canary");
    const bool there = names_in(dir.path()).contains("tree");
    const bool in_order = !there || names_in(dir / "tree").empty() || fs::exists(dir / "tree/metadata.json");
    const bool repeated = detail::remove_tree(dir.fd(), "tree").error == 0;
    if (touched) return "something outside was touched";
    if (!in_order) return "metadata.json went before the rest";
    if (there && !failed && error != ENOENT) return "it is still there, and there was no error";
    if (!repeated || names_in(dir.path()).size() != 1) return "it cannot be removed again";
    return "";
  };
  return with_each_fault({prepare, [&] { remove(dir.fd(), dir.path()); }, check});
}

enum class Mistake { none, follows, forgets_the_order, overlooks, leaks };

void remove_badly(int directory, const std::string& name, const fs::path& path, Mistake mistake) {
  const int flags = O_RDONLY | O_DIRECTORY | (mistake == Mistake::follows ? 0 : O_NOFOLLOW);
  const int fd = sys::openat(directory, name.c_str(), flags);
  const detail::Fd closed(mistake == Mistake::leaks ? -1 : fd);
  if (fd >= 0) {
    sys::fchmod(fd, 0700);  // `c` may not be entered by its owner
    std::vector<std::string> names;
    detail::for_each_entry(fd, path, [&](const detail::Entry& entry) { names.emplace_back(entry.name); });
    const bool last = mistake != Mistake::forgets_the_order;
    std::sort(names.begin(), names.end(),
              [&](const auto& a, const auto& b) { return ((a == "metadata.json") < (b == "metadata.json")) == last; });
    for (const std::string& each : names) remove_badly(fd, each, path / name, mistake);
  }
  const bool gone = sys::unlinkat(directory, name.c_str(), fd >= 0 ? AT_REMOVEDIR : 0) == 0;
  if (!gone && mistake != Mistake::overlooks) throw Error(errno, "remove", path / name);
  if (mistake == Mistake::leaks && fd >= 0) sys::close(fd);
}

// ---- measuring

Faults faults_of_measuring(const std::function<std::uint64_t(int directory, const fs::path& path)>& measure) {
  const TempDir dir;
  fs::create_directories(dir / "a/b");
  put(dir / "a/b/file", "12345");
  put(dir / "a/file", "12345");
  std::uint64_t bytes = 0;
  return with_each_fault({[] {}, [&] { bytes = measure(dir.fd(), dir.path()); },
                          [&](bool failed, int error) -> std::string {
                            // what vanishes meanwhile, or lies on another file system, is not counted
                            const bool may_be_less = error == ENOENT || error == EXDEV;
                            if (failed || bytes == 10 || (bytes < 10 && may_be_less)) return "";
                            return std::to_string(bytes) + " bytes instead of 10";
                          }});
}

// ---- a quota

using Take = std::function<bool(std::uint64_t)>;

/// `share` calls its argument with what reserves of a limit of 1000 bytes, and what releases.
Faults faults_of_a_quota(
    const std::function<void(int directory, const fs::path& path, const std::function<void(Take, Take)>&)>& share) {
  const TempDir dir;
  std::string wrong;
  const auto prepare = [&] {
    wrong.clear();
    detail::remove_below(dir.fd());
    put(dir / "file", std::string(400, 'x'));
  };
  const auto work = [&](const Take& reserve, const Take& release) {
    if (!reserve(500)) wrong = "500 bytes are free, and were refused";
    if (reserve(101)) wrong = "100 bytes are free, and 101 were granted";
    release(200);
    if (!reserve(300)) wrong = "300 bytes are free, and were refused";
  };
  const auto check = [&](bool, int) -> std::string {
    if (!wrong.empty()) return wrong;
    if (!scratch::detail::Quota::shared(dir.fd(), dir.path(), 1000).reserve(600))
      return "nobody has anything, and 600 are refused";
    if (scratch::detail::Quota::shared(dir.fd(), dir.path(), 1000).reserve(601))
      return "more was granted than there is";
    return names_in(dir.path()).size() <= 3 ? "" : "something is left over";
  };
  // A file that is not there is not counted.
  return with_each_fault({prepare, [&] { share(dir.fd(), dir.path(), work); }, check, false});
}

// ---- asking for space

Faults faults_of_asking(const std::function<std::uint64_t(const fs::path& path)>& ask) {
  const TempDir dir;
  std::uint64_t bytes = 0;
  return with_each_fault({[] {}, [&] { bytes = ask(dir.path()); },
                          [&](bool failed, int) { return failed || bytes > 0 ? "" : "no room at all"; }});
}

}  // namespace

TEST_CASE("a removal that meets any fault touches nothing outside, leaks nothing, and can be repeated") {
  const Faults faults = faults_of_removal([](int directory, const fs::path& path) {
    detail::remove_tree(directory, "tree", {.last = {"metadata.json"}}).check(path);
  });
  INFO(text(faults));
  CHECK(faults.wrong.empty());
  CHECK(faults.fired > 1000);
}

TEST_CASE("removals with mistakes are found out: the control for the one before") {
  const auto found = [](Mistake mistake, const char* words) {
    const Faults faults =
        faults_of_removal([=](int directory, const fs::path& path) { remove_badly(directory, "tree", path, mistake); });
    INFO(text(faults));
    return std::any_of(faults.wrong.begin(), faults.wrong.end(),
                       [&](const std::string& wrong) { return wrong.find(words) != wrong.npos; });
  };
  CHECK(found(Mistake::follows, "something outside was touched"));
  CHECK(found(Mistake::forgets_the_order, "metadata.json went before the rest"));
  CHECK(found(Mistake::overlooks, "there was no error"));
  CHECK(found(Mistake::leaks, "a descriptor leaked"));
  const Faults none = faults_of_removal(
      [](int directory, const fs::path& path) { remove_badly(directory, "tree", path, Mistake::none); });
  INFO(text(none));
  CHECK(none.wrong.empty());
}

TEST_CASE("measuring that meets any fault is right or an error") {
  const Faults faults = faults_of_measuring(
      [](int directory, const fs::path& path) { return detail::usage_report_below(directory, path).total.bytes; });
  INFO(text(faults));
  CHECK(faults.wrong.empty());
  CHECK(faults.fired > 200);
}

TEST_CASE("measuring that overlooks errors is found out: the control for the one before") {
  const Faults faults = faults_of_measuring([](int directory, const fs::path& path) -> std::uint64_t {
    try {
      return detail::usage_below(directory, path).bytes;
    } catch (const Error&) {
      return 0;
    }
  });
  CHECK_FALSE(faults.wrong.empty());
}

TEST_CASE("a quota that meets any fault is made or not, and never grants more than there is") {
  const Faults faults = faults_of_a_quota([](int directory, const fs::path& path, const auto& work) {
    scratch::detail::Quota quota = scratch::detail::Quota::shared(directory, path, 1000);
    work([&](std::uint64_t bytes) { return quota.reserve(bytes); },
         [&](std::uint64_t bytes) {
           quota.release(bytes);
           return true;
         });
  });
  INFO(text(faults));
  CHECK(faults.wrong.empty());
  CHECK(faults.fired > 500);
}

TEST_CASE("a quota that overlooks errors is found out: the control for the one before") {
  const Faults faults = faults_of_a_quota([](int directory, const fs::path& path, const auto& work) {
    std::uint64_t used = 0;
    static_cast<void>(refusal([&] { used = detail::usage_below(directory, path).bytes; }));
    work(
        [&](std::uint64_t bytes) {
          const bool fits = used + bytes <= 1000;
          used += fits ? bytes : 0;
          return fits;
        },
        [&](std::uint64_t bytes) {
          used -= bytes;
          return true;
        });
  });
  CHECK_FALSE(faults.wrong.empty());
}

TEST_CASE("asking for space that meets any fault answers or throws") {
  const Faults faults = faults_of_asking([](const fs::path& path) { return scratch::space(path).bytes; });
  INFO(text(faults));
  CHECK(faults.wrong.empty());
  CHECK(faults.fired > 50);
}

TEST_CASE("asking that overlooks errors is found out: the control for the one before") {
  const Faults faults = faults_of_asking([](const fs::path& path) -> std::uint64_t {
    const detail::Fd fd(sys::openat(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY));
    struct statvfs facts {};
    static_cast<void>(sys::fstatvfs(fd.get(), facts));
    return facts.f_bavail * facts.f_frsize;
  });
  CHECK_FALSE(faults.wrong.empty());
}

TEST_CASE("a removal that cannot list a large directory again says so, and the next one takes the rest") {
  const TempDir dir;
  const auto make = [&] {
    fs::create_directory(dir / "tree");
    for (int i = 0; i < 4100; ++i) fs::create_directory(dir / ("tree/" + std::to_string(i)));  // 4,096 are remembered
  };
  const auto remove = [&] { return detail::remove_tree(dir.fd(), "tree"); };
  make();
  plan.clear();
  plan.only = "openat";
  CHECK(remove().error == 0);
  const long opened = plan.calls;
  int refused = 0;
  for (long n = opened - 8; n < opened; ++n) {
    make();
    plan.fail_once(n, EMFILE);
    plan.only = "openat";
    const detail::Removed removed = remove();
    refused += removed.error == EMFILE && removed.failed == "tree/";
    plan.clear();
    CHECK(removed.entries > 4000);
    const detail::Removed rest = remove();
    CHECK(rest.error == 0);
    CHECK(removed.entries + rest.entries == 4101);
    CHECK(names_in(dir.path()).empty());
  }
  CHECK(refused == 1);
}

TEST_CASE("a removal below a directory that cannot be opened or examined removes nothing") {
  const TempDir dir;
  put(dir / "file");
  for (const char* call : {"openat", "fstat"}) {
    plan.fail_once(0, EIO);
    plan.only = call;
    const detail::Removed removed = detail::remove_below(dir.fd());
    plan.clear();
    CHECK(removed.error == EIO);
    CHECK(removed.entries == 0);
    CHECK(fs::exists(dir / "file"));
  }
  CHECK(detail::remove_below(dir.fd()).entries == 1);
}

TEST_CASE("a walk goes on past what the file system gives no type of and what cannot be examined, and names it") {
  const TempDir dir;
  fs::create_directories(dir / "a/b");
  put(dir / "a/b/file");
  put(dir / "c");
  const auto visited = [&](int& error, std::string& where) {
    std::set<std::string> names;
    error = detail::walk(
        dir.fd(),
        [&](int, const detail::Entry& entry, std::size_t) {
          names.insert(std::string(entry.name) + (entry.type == DT_DIR ? "/" : ""));
          return true;
        },
        &where);
    return names;
  };
  int error = 0;
  std::string where;
  plan.clear();
  plan.without_types = true;
  CHECK(visited(error, where) == std::set<std::string>{"a/", "b/", "file", "c"});
  CHECK(error == 0);
  plan.fail_from(0, EIO);
  plan.only = "fstatat";
  plan.without_types = true;
  CHECK(visited(error, where).empty());
  CHECK(error == EIO);
  CHECK((where == "a" || where == "c"));
  plan.clear();
}

TEST_CASE("where renaming without replacing is missing, a file whose old name stays does not get the new one, too") {
  const TempDir dir;
  put(dir / "old", "mine");
  plan.fail_from(0, 0);
  plan.at_number = [](long n) {  // renameat2, linkat, unlinkat of the old name, unlinkat of the new one
    plan.first = n == 0 || n == 2 ? n : n + 1;
    plan.error = n == 0 ? EINVAL : EROFS;
  };
  const int renamed = detail::rename_new(dir.fd(), "old", dir.fd(), "new");
  const int error = errno;
  const long fired = plan.fired;
  plan.clear();
  CHECK(renamed == -1);
  CHECK(error == EROFS);
  CHECK(fired == 2);
  CHECK(names_in(dir.path()) == std::set<std::string>{"old"});
  CHECK(detail::rename_new(dir.fd(), "old", dir.fd(), "new") == 0);
  CHECK(scratch::test::text_of(dir / "new") == "mine");
}
