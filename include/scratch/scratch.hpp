// SPDX-License-Identifier: MIT
// floor 6: roof
//
// Everything: session-scoped scratch files. A program that wants less includes less.
#pragma once

#include <scratch/atomic_file.hpp>
#include <scratch/bytes.hpp>
#include <scratch/check_records.hpp>
#include <scratch/chunk_info.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/count_key.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/merge.hpp>
#include <scratch/owned_session.hpp>
#include <scratch/place.hpp>
#include <scratch/policy.hpp>
#include <scratch/series.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_view.hpp>
#include <scratch/space.hpp>
#include <scratch/space_watch.hpp>
#include <scratch/sweep.hpp>
#include <scratch/usage.hpp>
#include <scratch/version.hpp>
#include <scratch/workspace.hpp>
