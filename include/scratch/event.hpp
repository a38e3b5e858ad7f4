// SPDX-License-Identifier: MIT
// floor 0: words
//
// What happened, for logs and monitoring.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace scratch {

/// Of sessions, chunks, tables, engines and space. What happens to other files (`AtomicFile`, `persist`, `move`, `clear`)
/// is no event.
enum class EventKind : std::uint8_t {
  session_created,
  session_joined,
  session_closed,
  session_kept,
  session_gone,
  chunk_committed,
  table_committed,
  table_dropped,
  spill,
  merge_round,
  engine_chosen,
  engine_replaced,
  space_low,
  sweep_removed,
  done_without,  ///< the kernel or the file system lacks something: what, and what is done instead; once a workspace
  session_adopted,
  chunk_unrecorded,  ///< an adopted session has a chunk's file without a record: whoever wrote it died in between
  shared_device,     ///< two places of a set are on one device: it is no faster for them, and has no more room
};

/// For a log: "session created".
inline const char* to_string(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::session_created:
      return "session created";
    case EventKind::session_joined:
      return "session joined";
    case EventKind::session_closed:
      return "session closed";
    case EventKind::session_kept:
      return "session kept";
    case EventKind::session_gone:
      return "session gone";
    case EventKind::chunk_committed:
      return "chunk committed";
    case EventKind::table_committed:
      return "table committed";
    case EventKind::table_dropped:
      return "table dropped";
    case EventKind::spill:
      return "spill";
    case EventKind::merge_round:
      return "merge round";
    case EventKind::engine_chosen:
      return "engine chosen";
    case EventKind::engine_replaced:
      return "engine replaced";
    case EventKind::space_low:
      return "space low";
    case EventKind::sweep_removed:
      return "sweep removed";
    case EventKind::done_without:
      return "done without";
    case EventKind::session_adopted:
      return "session adopted";
    case EventKind::chunk_unrecorded:
      return "chunk unrecorded";
    case EventKind::shared_device:
      return "shared device";
  }
  return "event";
}

/// Something that happened.
struct Event {
  using Kind = EventKind;  ///< what can happen

  EventKind kind = EventKind::session_created;  ///< what it was
  std::filesystem::path path = {};              ///< what it happened to
  std::uint64_t bytes = 0;                      ///< written, spilled, freed; 0 where bytes mean nothing
  std::string message = {};                     ///< one line for a person; may be empty
};

/// Called on the thread that caused the event, at any time from any thread of the application, never with a lock of the
/// library held; only tables that are being merged keep their names. What it throws is dropped: watching the work must
/// not end it.
using OnEvent = std::function<void(const Event&)>;

/// Asked for room when a write met a full disk or quota: `bytes` are needed. True: the write is tried again, and where
/// the room was not enough, or somebody else took it, this is asked again. False: there is no more to free, and the
/// write fails. It may wait, and is asked as long as it does; true a hundred times in a row at once, while nothing is seen
/// to get free, is taken for false. Called with no lock of the library held, by several writers at a time; who adds to
/// the table that asks may have to wait for the answer.
using OnFull = std::function<bool(std::uint64_t bytes)>;

}  // namespace scratch
