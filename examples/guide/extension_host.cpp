// SPDX-License-Identifier: MIT
//
// extension_host <shared object>: loads it, as a server does, has it count, and looks at what a call that fails says and
// leaves.
#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include <unistd.h>

int main(int, char** argv) {
  void* const extension = ::dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (extension == nullptr) {
    std::puts(::dlerror());
    return 1;
  }
  const auto sweep = reinterpret_cast<int (*)(const char*, char*, std::size_t)>(::dlsym(extension, "guide_sweep"));
  const auto distinct =
      reinterpret_cast<int (*)(const char*, const std::uint64_t*, std::size_t, std::uint64_t*, char*, std::size_t)>(
          ::dlsym(extension, "guide_distinct"));
  const std::filesystem::path base =
      std::filesystem::temp_directory_path() / ("guide_host." + std::to_string(::getpid()));
  const std::string place = base / "place", nowhere = base / "missing" / "place";
  std::filesystem::create_directory(base);

  std::vector<std::uint64_t> numbers(1'000'000);
  std::iota(numbers.begin(), numbers.end(), 0);
  for (std::uint64_t& number : numbers) number %= 300'000;
  std::array<char, 512> words{};
  std::uint64_t found = 0;
  const bool counted = sweep(place.c_str(), words.data(), words.size()) == 1 &&
                       distinct(place.c_str(), numbers.data(), numbers.size(), &found, words.data(), words.size()) == 1;
  std::printf("%llu different numbers %s\n", static_cast<unsigned long long>(found), words.data());
  const bool refused = distinct(nowhere.c_str(), numbers.data(), 1, &found, words.data(), words.size()) == 0;
  std::printf("where there is no place: %s\n", words.data());
  const bool empty = std::filesystem::is_empty(place);
  std::filesystem::remove_all(base);
  return counted && found == 300'000 && refused && words[0] != '\0' && empty ? 0 : 1;
}
