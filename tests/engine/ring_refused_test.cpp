// SPDX-License-Identifier: MIT
// ctest: timeout=600 optimised
//
// io_uring refused by the kernel, in every way that is met: the same bytes through posix, and one notice.
#include <scratch/chunk_reader.hpp>

#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/engines.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

/// From here on this process gets `error` from the system call `number`.
void refuse(unsigned number, int error) {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{4, rules};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    ::_exit(77);
}

/// Writes and reads; throws unless everything is as it must be.
void work(const std::filesystem::path& directory, const char* said) {
  std::vector<std::string> notices;
  const Workspace where(directory,
                        {.io = with_direct(4096), .on_event = [&](const Event& event) {
                           if (event.kind == EventKind::engine_chosen || event.kind == EventKind::engine_replaced)
                             notices.push_back(event.message);
                         }});
  const std::vector<std::byte> bytes = noise(9000001);
  for (int i = 0; i < 3; ++i) {
    const ChunkInfo info = write_chunk(where, bytes);
    ChunkReader(where, info).verify();
    if (!same(bytes_in(where.path() / info.file), bytes)) throw std::runtime_error("other bytes");
  }
  if (where.chunks().size() != 3) throw std::runtime_error("not three chunks");
  if (where.engine().find(said) == std::string::npos) throw std::runtime_error(where.engine());
  std::size_t telling = 0;
  for (const std::string& notice : notices) telling += notice.find(said) != notice.npos ? 1 : 0;
  if (telling != 1) throw std::runtime_error("not one notice");
}

constexpr unsigned nobody = 65534;

bool rings_exist() {
  const TempDir dir;
  return with_direct(4096)(Medium::of(dir.fd()))->describe().starts_with("io_uring");
}

}  // namespace

TEST_CASE("a ring that is refused at its making or at its first use: posix, the same bytes, one notice") {
  if (!rings_exist()) skip("no io_uring here");
  struct Refusal {
    unsigned call;
    int error;
    const char* said;
  };
  const Refusal refusal = GENERATE(Refusal{SYS_io_uring_setup, EPERM, "posix: io_uring_setup: EPERM"},
                                   Refusal{SYS_io_uring_setup, ENOSYS, "posix: io_uring_setup: ENOSYS"},
                                   Refusal{SYS_io_uring_setup, ENOMEM, "posix: io_uring_setup: ENOMEM"},
                                   Refusal{SYS_io_uring_setup, EMFILE, "posix: io_uring_setup: EMFILE"},
                                   Refusal{SYS_io_uring_enter, EPERM, "posix: io_uring_enter: EPERM"},
                                   Refusal{SYS_io_uring_enter, ENOSYS, "posix: io_uring_enter: ENOSYS"},
                                   Refusal{SYS_io_uring_enter, EAGAIN, "posix: io_uring_enter: EAGAIN"},
                                   Refusal{SYS_io_uring_enter, EBUSY, "posix: io_uring_enter: EBUSY"});
  CAPTURE(refusal.said);
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  const Ending ending = in_child([&] {
    refuse(refusal.call, refusal.error);
    work(dir.path(), refusal.said);
  });
  REQUIRE(ending == Ending::finished);
}

TEST_CASE("without a refusal the same work goes through the ring: the control for the one before") {
  if (!rings_exist()) skip("no io_uring here");
  const TempDir dir(TempDir::On::disk);
  REQUIRE(in_child([&] { work(dir.path(), "io_uring: "); }) == Ending::finished);
  const TempDir other(TempDir::On::disk);
  REQUIRE(in_child([&] { work(other.path(), "posix: "); }) == Ending::failed);
}

TEST_CASE("no locked memory is needed, where an engine that registers its buffers is refused") {
  if (!rings_exist()) skip("no io_uring here");
  const TempDir dir(TempDir::On::disk);
  if (::geteuid() == 0) REQUIRE(::chown(dir.path().c_str(), nobody, nobody) == 0);
  const Ending ending = in_child([&] {
    // Root may lock what it likes.
    if (::geteuid() == 0 && (::setgid(nobody) != 0 || ::setuid(nobody) != 0)) throw std::runtime_error("setuid");
    const struct rlimit none { 0, 0 };
    if (::setrlimit(RLIMIT_MEMLOCK, &none) != 0) throw std::runtime_error("setrlimit");
    io_uring_params parameters{};
    const long ring = ::syscall(SYS_io_uring_setup, 4, &parameters);
    if (ring >= 0) {  // the control
      std::vector<char> buffer(1 << 20);
      const iovec all{buffer.data(), buffer.size()};
      if (::syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &all, 1) == 0 || errno != ENOMEM)
        throw std::runtime_error("memory is locked all the same");
    }
    // Kernels before 5.12 count the ring, too.
    work(dir.path(), ring >= 0 ? "io_uring: " : "posix: io_uring_setup: ENOMEM");
  });
  REQUIRE(ending == Ending::finished);
}
