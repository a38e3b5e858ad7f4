// SPDX-License-Identifier: MIT
//
// The code of export.md. Called with the path of a session it is the reader.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

//! [export]
#include <scratch/scratch.hpp>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <vector>

using namespace scratch::literals;

struct Row {
  std::uint64_t order;
  double price;
};

// The exporter. A chunk is there, whole and for everybody, when commit() returns; until then nobody sees any of it.
void write_rows(scratch::OwnedSession& session) {
  std::vector<Row> rows(100'000);
  for (std::uint64_t order = 0; order < 1'000'000;) {
    for (Row& row : rows) row = {order++, 0.25};
    scratch::ChunkWriter chunk(session, {.expected = rows.size() * sizeof(Row)});  // a full /dev/shm is met here
    chunk.append(rows);
    chunk.commit({.rows = rows.size()});
  }
  session.complete();  // no more will come
}

// A reader, in a process of its own: sees each chunk once, while they come and after.
double sum_of_prices(const std::filesystem::path& path) {
  const scratch::SessionView session(path);
  double sum = 0;
  std::uint64_t position = 0;
  for (bool more = true; more;) {
    more = session.status() == "in_progress";  // asked first: what came before that is read below
    if (more) session.wait_for_chunks(position, std::chrono::seconds(1));  // session_gone: the exporter has died
    for (const scratch::ChunkInfo& chunk : session.chunks_after(position))
      for (const scratch::Bytes block : scratch::ChunkReader(session, chunk))  // checked before it is seen
        for (std::size_t at = 0; at < block.size(); at += sizeof(Row)) {       // which divides 4 KiB, so a block
          Row row;
          std::memcpy(&row, &block[at], sizeof(Row));
          sum += row.price;
        }
  }
  return sum;
}
//! [export]

namespace {

::pid_t start_reader(std::string session) {
  std::string name = "reader";
  char* const arguments[] = {name.data(), session.data(), nullptr};
  ::pid_t reader = 0;
  const int error = ::posix_spawn(&reader, "/proc/self/exe", nullptr, nullptr, arguments, ::environ);
  if (error != 0) throw scratch::Error(error, "start the reader", session);
  return reader;
}

bool has_succeeded(::pid_t child) {
  int status = 0;
  return ::waitpid(child, &status, 0) == child && status == 0;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc > 1) return sum_of_prices(argv[1]) == 250'000 ? 0 : 1;
  //! [main]
  const scratch::Shm place{"guide"};
  std::cout << scratch::sweep(place) << '\n';  // what killed exporters left: memory that nobody else gives back
  scratch::SessionDir session(place, "orders", {.need = 32_MiB, .quota = 1_GiB});
  const ::pid_t reader = start_reader(session.path());  // whoever gets the path can read
  write_rows(session);
  const bool was_read = has_succeeded(reader);  // before the scope ends: then the session goes
  //! [main]
  std::cout << (was_read ? "all rows were read\n" : "the reader failed\n");
  return was_read ? 0 : 1;
} catch (const scratch::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
