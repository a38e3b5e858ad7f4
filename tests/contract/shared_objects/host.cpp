// SPDX-License-Identifier: MIT
//
// host <local|global> <plugin>
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <string>

#include <scratch/error.hpp>

namespace {

int failures = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::printf("failed: %s\n", what);
  ++failures;
}

}  // namespace

int main(int, char** argv) {
  void* const plugin = ::dlopen(argv[2], RTLD_NOW | (std::strcmp(argv[1], "local") == 0 ? RTLD_LOCAL : RTLD_GLOBAL));
  if (plugin == nullptr) {
    std::puts(::dlerror());
    return 1;
  }
  const auto fail = reinterpret_cast<void (*)()>(::dlsym(plugin, "fail"));
  const auto is_busy = reinterpret_cast<bool (*)(const std::error_code&)>(::dlsym(plugin, "is_busy"));
  try {
    fail();
    expect(false, "it throws");
  } catch (const scratch::Error& error) {
    const std::error_condition condition(static_cast<int>(scratch::errc::busy), scratch::scratch_category());
    expect(error.code() == scratch::errc::busy, "code == errc");
    expect(scratch::errc::busy == error.code(), "errc == code");
    expect(!(error.code() != scratch::errc::busy), "code != errc");
    expect(error.code() != scratch::errc::corrupt, "another errc");
    expect(error.code() == condition, "code == condition");
    expect(error.code().category().equivalent(error.code().value(), condition), "by the plugin's category");
    expect(error.code() != std::errc::device_or_resource_busy, "another category");
    expect(is_busy(error.code()), "the plugin knows its own");
    expect(error.hint() == "it is in use", "the words");
  }
  expect(is_busy(scratch::errc::busy), "the plugin knows the host's");
  expect(!is_busy(scratch::errc::corrupt), "and tells them apart");
  expect(!is_busy(std::make_error_code(std::errc::device_or_resource_busy)), "and from those of the kernel");
  return failures;
}
