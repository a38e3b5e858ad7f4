// SPDX-License-Identifier: MIT
//
// The table of what may be missing x what users do, one process a cell:
//
//   lacks table [name]     each lack with every errno that means it, and each pair of lacks once; or the rows of a name
//   lacks on <directory>   in a directory of a file system as it is
//
// Ends with the number of cells, and of those that do not hold.
#include <sys/vfs.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "scenarios.hpp"

using namespace scratch::test;

namespace {

struct Row {
  std::string name;
  Lacks what;
};

struct Kind {
  const char* name;
  int Lacks::*where;
  std::vector<int> errors;
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {"renaming", &Lacks::rename_flags, {EINVAL, ENOSYS, EOPNOTSUPP, EPERM}},
      {"links", &Lacks::links, {EPERM, EOPNOTSUPP, ENOSYS, EMLINK}},
      {"unnamed", &Lacks::unnamed_files, {EOPNOTSUPP, EISDIR, EINVAL, ENOSYS, EPERM}},
      {"flock", &Lacks::file_locks, {ENOSYS, ENOLCK, EINVAL, EOPNOTSUPP, EPERM, ENOTTY}},
      {"bytelocks", &Lacks::byte_locks, {EINVAL, ENOSYS, ENOLCK, EOPNOTSUPP, EPERM, ENOTTY}},
      {"direct", &Lacks::direct, {EINVAL, EOPNOTSUPP}},
      {"modes", &Lacks::modes, {EPERM, EOPNOTSUPP, ENOSYS, EINVAL}},
      {"openunlink", &Lacks::open_unlink, {EBUSY, ENOTEMPTY}},
      {"close", &Lacks::at_close, {EIO, EDQUOT, ENOSPC}},
  };
  return all;
}

std::vector<Row> rows() {
  std::vector<Row> all{{"nothing", {}}};
  for (const Kind& kind : kinds())
    for (const int error : kind.errors) {
      Row row{std::string(kind.name) + ":" + strerrorname_np(error), {}};
      row.what.*kind.where = error;
      all.push_back(row);
    }
  for (const Kind& one : kinds())
    for (const Kind& other : kinds()) {
      if (&one >= &other) continue;
      Row row{std::string(one.name) + "+" + other.name, {}};
      row.what.*one.where = one.errors.front();
      row.what.*other.where = other.errors.front();
      all.push_back(row);
    }
  return all;
}

// Empty, or what does not hold.
std::string trial(const Scenario& scenario, const Lacks& what, const std::filesystem::path& base) {
  const std::filesystem::path root = base / "root";
  if (::mkdir(root.c_str(), 0700) != 0) return "cannot make a directory";
  Stage stage{root};
  struct statfs facts {};
  stage.is_remote = ::statfs(root.c_str(), &facts) == 0 && facts.f_type == FUSE_SUPER_MAGIC;
  int said[2];
  if (::pipe(said) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(said[1], STDERR_FILENO);
    ::alarm(60);
    int code = 0;
    lacks = what;
    try {
      scenario.run(stage);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      code = 1;
    }
    ::_exit(code);
  }
  ::close(said[1]);
  std::string words;
  char text[4096];
  for (ssize_t n = 0; (n = ::read(said[0], text, sizeof text)) > 0;) words.append(text, static_cast<std::size_t>(n));
  ::close(said[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  std::error_code ignored;
  std::filesystem::remove_all(root, ignored);
  if (WIFSIGNALED(status)) words += std::string("killed by ") + sigabbrev_np(WTERMSIG(status));
  if (status != 0 && words.empty()) words = "it failed without a word";
  return status == 0 ? "" : words;
}

int table(const std::vector<Row>& rows, const std::filesystem::path* fixed) {
  std::printf("%-24s", "");
  for (const Scenario& scenario : all_scenarios) std::printf(" %7s", scenario.name);
  std::printf("\n");
  int cells = 0, wrong = 0;
  std::string words;
  for (const Row& row : rows) {
    std::printf("%-24s", row.name.c_str());
    for (const Scenario& scenario : all_scenarios) {
      std::optional<TempDir> own;
      if (fixed == nullptr) own.emplace(row.what.direct != 0 ? TempDir::On::disk : TempDir::On::memory);
      const std::string result = trial(scenario, row.what, fixed != nullptr ? *fixed : own->path());
      ++cells;
      std::printf(" %7s", result.empty() ? "ok" : "NO");
      std::fflush(stdout);
      if (result.empty()) continue;
      ++wrong;
      words += row.name + ", " + scenario.name + ": " + result + (result.ends_with("\n") ? "" : "\n");
    }
    std::printf("\n");
  }
  std::printf("%s%d cells, %d of them do not hold\n", words.c_str(), cells, wrong);
  return wrong == 0 && cells > 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "on" && argc == 3) {
    const std::filesystem::path directory = argv[2];
    return table({{"as it is", {}}}, &directory);
  }
  if (what == "table" && argc <= 3) {
    std::vector<Row> chosen;
    for (const Row& row : rows())
      if (argc == 2 || row.name == argv[2] || row.name.starts_with(std::string(argv[2]) + ":")) chosen.push_back(row);
    return table(chosen, nullptr);
  }
  std::fprintf(stderr, "usage: lacks table [name] | on <directory>\n");
  return 2;
}
