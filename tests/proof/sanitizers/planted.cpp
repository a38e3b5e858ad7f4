// SPDX-License-Identifier: MIT
//
// planted DEFECT: does what a sanitizer must report.
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <string_view>
#include <thread>

namespace {

volatile std::size_t ten = 10;  // what the compiler does not know it can neither warn of nor leave out
int* volatile somewhere = nullptr;

[[gnu::noinline]] void point_to_a_local() {
  int local = 1;
  somewhere = &local;
}

[[gnu::noinline]] void count(int& number) {
  for (std::size_t i = 0; i < 100 * ten; ++i) number = number + static_cast<int>(ten);
}

[[gnu::noinline]] int read(const int& number) { return number; }

int defect(std::string_view name) {
  if (name == "nothing") return 0;
  if (name == "heap overflow") {
    somewhere = new int[10]();
    const int beyond = somewhere[ten];
    delete[] somewhere;
    return beyond;
  }
  if (name == "use after free") {
    somewhere = new int(1);
    delete somewhere;
    return *somewhere;
  }
  if (name == "use after return") {
    point_to_a_local();
    return *somewhere;
  }
  if (name == "leak") {
    for (int i = 0; i < 100; ++i) somewhere = new int[10]();  // the last may be found in a register
    somewhere = nullptr;
    return 0;
  }
  if (name == "signed overflow") return std::numeric_limits<int>::max() + static_cast<int>(ten);
  if (name == "shift too far") return 1 << (ten * 10);
  if (name == "misaligned load") {
    alignas(int) char bytes[16] = {};
    somewhere = reinterpret_cast<int*>(bytes + ten / 10);
    return *somewhere;
  }
  if (name == "null reference") return read(*somewhere);
  if (name == "data race") {
    int number = 0;
    std::thread one([&] { count(number); }), two([&] { count(number); });
    one.join();
    two.join();
    return 0;
  }
  if (name == "lock order") {
    std::mutex a, b;
    const auto lock = [](std::mutex& first, std::mutex& second) {
      const std::lock_guard hold_first(first);
      const std::lock_guard hold_second(second);
    };
    std::thread([&] { lock(a, b); }).join();
    std::thread([&] { lock(b, a); }).join();
    return 0;
  }
  std::abort();
}

}  // namespace

int main(int argc, char** argv) { return argc == 2 && defect(argv[1]) == 42 ? 1 : 0; }
