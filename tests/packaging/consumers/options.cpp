// SPDX-License-Identifier: MIT
//
// Each member of each options struct, given alone: under -Wextra a member without an initializer would warn here, in
// the user's code. It is compiled and linked, and never run.
#include <scratch/scratch.hpp>

using scratch::Event, scratch::Space;
using namespace std::chrono_literals;
using namespace scratch::literals;

namespace {

bool no(std::uint64_t) { return false; }
void hear(const Event&) {}

void workspaces() {
  using scratch::Workspace;
  Workspace("/tmp", {});
  Workspace("/tmp", {.quota = 1_MiB});
  Workspace("/tmp", {.buffers = 1_MiB});
  Workspace("/tmp", {.durable = true});
  Workspace("/tmp", {.io = scratch::PosixIo::make});
  Workspace("/tmp", {.on_full = no});
  Workspace("/tmp", {.on_event = hear});
}

void sessions() {
  const scratch::Shm place{"app"};
  static_cast<void>(scratch::SessionDir(place, "label", {}));
  static_cast<void>(scratch::SessionDir(place, "label", {.need = 1_MiB}));
  static_cast<void>(scratch::SessionDir(place, "label", {.quota = 1_MiB}));
  static_cast<void>(scratch::SessionDir(place, "label", {.buffers = 1_MiB}));
  static_cast<void>(scratch::SessionDir(place, "label", {.cleanup = scratch::Cleanup::unless_completed}));
  static_cast<void>(scratch::SessionDir(place, "label", {.on_full = no}));
  static_cast<void>(scratch::SessionDir(place, "label", {.on_event = hear}));
  static_cast<void>(scratch::JoinedSession("/tmp/session", {.need = 1_MiB}));
  static_cast<void>(scratch::JoinedSession("/tmp/session", {.quota = 1_MiB}));
  static_cast<void>(scratch::JoinedSession("/tmp/session", {.buffers = 1_MiB}));
  static_cast<void>(scratch::JoinedSession("/tmp/session", {.on_full = no}));
  static_cast<void>(scratch::JoinedSession("/tmp/session", {.on_event = hear}));
}

void sweeps() {
  const scratch::Shm place{"app"};
  sweep(place, {});
  sweep(place, {.dry_run = true});
  sweep(place, {.older_than = 1h});
  sweep(place, {.budget = 100ms});
  sweep(place, {.loose_files = {.prefix = "app_"}});
  sweep(place, {.loose_files = {.older_than = 60s}});
  sweep(place, {.kept_too = true});
  sweep(place, {.all_users = true});
  sweep(place, {.threads = 1});
  sweep(place, {.must = true});
  sweep(place, {.on_event = hear});
  list_sessions(place, {});
  list_sessions(place, {.all_users = true});
  list_sessions(place, {.trash = true});
}

void watches(const scratch::Workspace& here) {
  const auto low = [](const Space&) {};
  scratch::SpaceWatch(here, {}, low);
  scratch::SpaceWatch(here, {.every = 1s}, low);
  scratch::SpaceWatch(here, {.low = 1_GiB}, low);
}

void chunks(const scratch::Workspace& here) {
  scratch::ChunkWriter(here, {}).commit({});
  scratch::ChunkWriter(here, {.expected = 1_MiB}).commit();
  scratch::ChunkWriter(here, {.block = 64_KiB}).commit();
  scratch::ChunkWriter(here).commit({.rows = 1});
  scratch::ChunkWriter(here).commit({.user = "{}"});
}

void tables(const scratch::Workspace& here) {
  using Table = scratch::CountTable<std::uint64_t>;
  Table(here, "name", {});
  Table(here, "name", {.memory = 1_MiB});
  Table(here, "name", {.threads = 2});
  Table(here, "name", {.existing = scratch::Existing::refuse});
}

void merges(const scratch::Workspace& here, const std::stop_token& stop) {
  const auto progress = [](std::uint64_t, std::uint64_t) {};
  scratch::merge<std::uint64_t>(here, "into", "from", {});
  scratch::merge<std::uint64_t>(here, "into", "from", {.threads = 2});
  scratch::merge<std::uint64_t>(here, "into", "from", {.memory = 1_MiB});
  scratch::merge<std::uint64_t>(here, "into", "from", {.progress = progress});
  scratch::merge<std::uint64_t>(here, "into", "from", {.stop = stop});
}

}  // namespace

int main(int argc, char**) {
  if (argc < 1000) return 0;
  workspaces();
  sessions();
  sweeps();
  watches(scratch::Workspace("/tmp"));
  chunks(scratch::Workspace("/tmp"));
  tables(scratch::Workspace("/tmp"));
  merges(scratch::Workspace("/tmp"), {});
}
