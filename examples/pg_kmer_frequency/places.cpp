// SPDX-License-Identifier: MIT
#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <scratch/sweep.hpp>

#include "places.hpp"

extern "C" {
#include <catalog/pg_tablespace_d.h>
#include <commands/tablespace.h>
#include <storage/fd.h>
}

namespace kmer_frequency {
namespace {

TemporaryPlace place_in(Oid tablespace) {
  char path[MAXPGPATH];
  TempTablespacePath(path, tablespace);
  return {tablespace, scratch::PgsqlTmp(std::filesystem::path(DataDir) / path, "kmer_frequency")};
}

}  // namespace

std::vector<scratch::PgsqlTmp> next_places() {
  struct Spaces {
    Oid all[64];
    int count;
    Oid next;
  };
  Spaces spaces = scratch_pg::server([] {
    Spaces now{};
    PrepareTempTablespaces();
    now.next = GetNextTempTableSpace();
    now.count = GetTempTablespaces(now.all, static_cast<int>(std::size(now.all)));
    return now;
  });
  std::vector<Oid> order(spaces.all, spaces.all + std::max(spaces.count, 0));
  std::rotate(order.begin(), std::find(order.begin(), order.end(), spaces.next), order.end());
  if (order.empty()) order.push_back(spaces.next);
  std::vector<scratch::PgsqlTmp> places;
  std::vector<Oid> taken;
  for (const Oid listed : order) {
    const Oid tablespace = OidIsValid(listed) ? listed : MyDatabaseTableSpace;
    if (places.size() == most_places || std::find(taken.begin(), taken.end(), tablespace) != taken.end()) continue;
    taken.push_back(tablespace);
    places.push_back(place_in(tablespace).place);
  }
  return places;
}

std::vector<TemporaryPlace> all_places() {
  std::vector<TemporaryPlace> places{place_in(DEFAULTTABLESPACE_OID)};
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(DataDir) / "pg_tblspc", none)) {
    const std::string name = entry.path().filename().native();
    Oid tablespace = InvalidOid;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), tablespace);
    if (error == std::errc() && end == name.data() + name.size()) places.push_back(place_in(tablespace));
  }
  return places;
}

void sweep_once() noexcept {
  static int done_by = 0;  // a backend is a fork of the postmaster, which did it when this was preloaded
  if (std::exchange(done_by, MyProcPid) == MyProcPid) return;
  try {
    for (const TemporaryPlace& there : all_places()) {
      try {
        scratch::sweep(there.place, {.budget = std::chrono::seconds(1), .threads = 1});
      } catch (const scratch::Error&) {  // scratch_delete_tempfiles() says why
      }
    }
  } catch (...) {
  }
}

}  // namespace kmer_frequency
