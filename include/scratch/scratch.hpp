// SPDX-License-Identifier: MIT
// floor 6: roof
//
// Everything: session-scoped scratch files. A program that wants less includes less; what is included by name only, in
// scratch/engine/ and session_json.hpp, is not here.
//
// The map of the house. At the top of scratch/ stand the words that a user types, one a header; below detail/ the
// rooms, a folder a subject, each with a README:
//
//     sessions                      files and chunks              counts
//     session_dir  owned_session    atomic_file  file_reader      count_table  count_reader
//     joined_session session_view   chunk_writer chunk_reader     merge  count_key
//     adopt  list_sessions  sweep   series  check_records
//     session_set joined_set        space_watch  stop_on_signals  detail/count/   the format, the memory, tables
//     adopt_set  dead_session       detail/chunk/
//     place  any_place  policy  hash_ring
//     detail/session/
//               \                         |                          /
//                        workspace   usage  space  event  error  bytes
//                        detail/workspace/   the shared state, its quota, its guests
//                        detail/bytes/       files written and read through an engine
//                        engine/             who moves the bytes; for whoever writes an engine
//                        detail/kernel/      every system call, and what is built of them alone
//                        detail/text/        names, numbers and sums; no system call
//
// A header includes what stands below it; sessions, chunks and counts do not know each other and meet in the workspace.
// order.txt has the place of every header, its second line names its floor, and a test compares the two.
#pragma once

#include <scratch/adopt.hpp>
#include <scratch/adopt_set.hpp>
#include <scratch/any_place.hpp>
#include <scratch/atomic_file.hpp>
#include <scratch/bytes.hpp>
#include <scratch/check_records.hpp>
#include <scratch/chunk_info.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/count_key.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/dead_session.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/hash_ring.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/joined_set.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/merge.hpp>
#include <scratch/owned_session.hpp>
#include <scratch/place.hpp>
#include <scratch/policy.hpp>
#include <scratch/series.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_set.hpp>
#include <scratch/session_view.hpp>
#include <scratch/space.hpp>
#include <scratch/space_watch.hpp>
#include <scratch/stop_on_signals.hpp>
#include <scratch/sweep.hpp>
#include <scratch/usage.hpp>
#include <scratch/version.hpp>
#include <scratch/workspace.hpp>
