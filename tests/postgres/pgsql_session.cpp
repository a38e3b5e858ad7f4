// SPDX-License-Identifier: MIT
//
// pgsql_session <pgsql_tmp> dies    a session, left by SIGKILL
// pgsql_session <pgsql_tmp> stays   a session that lives until standard input ends; then says what became of it
// pgsql_session <pgsql_tmp> sweeps  a sweep
#include <signal.h>

#include <cstdio>
#include <iostream>
#include <string>

#include <scratch/chunk_writer.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/sweep.hpp>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string what = argv[2];
  const scratch::PgsqlTmp place(argv[1], "kmersearch");
  if (what == "sweeps") {
    std::cout << scratch::sweep(place) << "\n";
    return 0;
  }
  scratch::SessionDir session(place, "analysis");
  scratch::ChunkWriter chunk(session.area("runs"));
  chunk.append(std::string(100'000, 'x'));
  chunk.commit();
  std::cout << session.path().filename().string() << std::endl;
  if (what == "dies") raise(SIGKILL);
  std::string line;
  while (std::getline(std::cin, line)) continue;
  try {
    session.publish();
    std::cout << "alive" << std::endl;
  } catch (const scratch::Error& error) {
    std::cout << (error.code() == scratch::errc::session_gone ? "session_gone" : error.what()) << std::endl;
  }
}
