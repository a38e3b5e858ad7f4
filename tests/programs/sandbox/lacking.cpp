// SPDX-License-Identifier: MIT
//
// Runs a program under a kernel that has not everything, by a filter of system calls:
//
//   lacking <shape> <program> [argument ...]
//
// Shapes: gvisor, wsl1, docker (a profile of old), lustre (mounted without -o flock), links (linkat refused).
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

struct Rule {
  long call;
  int error;
  int argument =
      -1;  ///< of whose lower half the bits `mask` must be `value`; -1: the call is refused whatever is asked
  std::uint32_t mask = 0xffffffff;
  std::uint32_t value = 0;
};

constexpr std::uint32_t unnamed = O_TMPFILE;

void add_byte_locks(std::vector<Rule>& rules, int error) {
  for (const std::uint32_t command : {36U, 37U, 38U}) rules.push_back({SYS_fcntl, error, 1, 0xffffffff, command});
}

std::vector<Rule> rules_of(const std::string& shape) {
  std::vector<Rule> rules;
  const Rule no_replace_flag{SYS_renameat2, EINVAL, 4, 1, 1};
  const Rule no_unnamed_files{SYS_openat, EOPNOTSUPP, 2, unnamed, unnamed};
  if (shape == "gvisor") {
    rules = {no_replace_flag, no_unnamed_files, {SYS_io_uring_setup, ENOSYS}, {SYS_copy_file_range, ENOSYS}};
    add_byte_locks(rules, EINVAL);
  } else if (shape == "wsl1") {
    rules = {no_replace_flag,
             {SYS_openat, EISDIR, 2, unnamed, unnamed},
             {SYS_io_uring_setup, ENOSYS},
             {SYS_copy_file_range, ENOSYS},
             {SYS_statx, ENOSYS}};
    add_byte_locks(rules, EINVAL);
  } else if (shape == "docker") {
    rules = {{SYS_renameat2, EPERM}, {SYS_statx, EPERM}, {SYS_io_uring_setup, EPERM}, {SYS_copy_file_range, EPERM}};
  } else if (shape == "lustre") {
    rules = {no_replace_flag, no_unnamed_files, {SYS_flock, ENOSYS}};
    add_byte_locks(rules, ENOSYS);
  } else if (shape == "links") {
    rules = {{SYS_linkat, EPERM}, {SYS_link, EPERM}};
  }
  return rules;
}

// Whatever no rule speaks of is allowed.
std::vector<sock_filter> filter_of(const std::vector<Rule>& rules) {
  std::vector<sock_filter> filter;
  const auto add = [&](std::uint16_t code, std::uint32_t k, std::uint8_t if_true = 0, std::uint8_t if_false = 0) {
    filter.push_back({code, if_true, if_false, k});
  };
  const auto load = [&](std::size_t at) { add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(at)); };
  for (const Rule& rule : rules) {
    load(offsetof(seccomp_data, nr));
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(rule.call), 0, rule.argument < 0 ? 1 : 4);
    if (rule.argument >= 0) {
      load(offsetof(seccomp_data, args) + 8 * static_cast<std::size_t>(rule.argument));
      add(BPF_ALU | BPF_AND | BPF_K, rule.mask);
      add(BPF_JMP | BPF_JEQ | BPF_K, rule.value, 0, 1);
    }
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(rule.error));
  }
  add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  return filter;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<Rule> rules = argc > 2 ? rules_of(argv[1]) : std::vector<Rule>();
  if (rules.empty()) {
    std::fprintf(stderr, "usage: lacking gvisor|wsl1|docker|lustre|links <program> [argument ...]\n");
    return 2;
  }
  std::vector<sock_filter> filter = filter_of(rules);
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    std::perror("skipped: no filter of system calls");
    return 77;
  }
  ::execvp(argv[2], argv + 2);
  std::perror(argv[2]);
  return 127;
}
