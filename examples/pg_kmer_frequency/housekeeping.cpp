// SPDX-License-Identifier: MIT
//
// scratch_sessions(), scratch_delete_tempfiles(): what there is of this extension in the cluster's tablespaces.
#include <cstdint>
#include <string>
#include <vector>

#include <scratch/list_sessions.hpp>
#include <scratch/session_json.hpp>
#include <scratch/session_view.hpp>
#include <scratch/sweep.hpp>

#include "places.hpp"

extern "C" {
#include <commands/tablespace.h>
#include <fmgr.h>
#include <funcapi.h>
#include <utils/builtins.h>
#include <utils/timestamp.h>
}

namespace kmer_frequency {
namespace {

constexpr int session_columns = 10;

/// What its leader said last: {"doing":"counting","rows":12345}.
std::string progress_of(const scratch::SessionInfo& session) {
  try {
    return scratch::user_json(scratch::SessionView(session.path)).dump();
  } catch (const std::exception&) {  // it ended, or has only begun
    return "{}";
  }
}

/// Has the server's rules.
void put_session(ReturnSetInfo* result, Oid tablespace, const scratch::SessionInfo& session, const char* progress) {
  Datum values[session_columns];
  bool nulls[session_columns] = {};
  const char* const name = get_tablespace_name(tablespace);
  nulls[0] = name == nullptr;
  if (name != nullptr) values[0] = DirectFunctionCall1(namein, CStringGetDatum(name));
  values[1] = CStringGetTextDatum(session.id.c_str());
  values[2] = CStringGetTextDatum(session.label.c_str());
  values[3] = Int32GetDatum(static_cast<int32>(session.pid));
  values[4] = CStringGetTextDatum(session.status.c_str());
  values[5] = BoolGetDatum(session.alive);
  values[6] = BoolGetDatum(session.kept);
  values[7] = Int64GetDatum(static_cast<int64>(session.bytes));
  nulls[8] = session.start_time.empty();
  if (!nulls[8]) {
    const Datum start = DirectFunctionCall3(timestamptz_in, CStringGetDatum(session.start_time.c_str()),
                                            ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
    values[8] = DirectFunctionCall2(timestamp_mi, TimestampTzGetDatum(GetCurrentTimestamp()), start);
  }
  values[9] = CStringGetTextDatum(progress);
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

}  // namespace
}  // namespace kmer_frequency

extern "C" {
PG_FUNCTION_INFO_V1(pg_scratch_sessions);
PG_FUNCTION_INFO_V1(pg_scratch_delete_tempfiles);

PGDLLEXPORT Datum pg_scratch_sessions(PG_FUNCTION_ARGS) {
  using namespace kmer_frequency;
  InitMaterializedSRF(fcinfo, 0);
  auto* const result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  scratch_pg::guarded([&] {
    for (const TemporaryPlace& there : all_places())
      for (const scratch::SessionInfo& session : scratch::list_sessions(there.place)) {
        const std::string progress = progress_of(session);
        scratch_pg::server([&] { put_session(result, there.tablespace, session, progress.c_str()); });
      }
  });
  return Datum(0);
}

PGDLLEXPORT Datum pg_scratch_delete_tempfiles(PG_FUNCTION_ARGS) {
  using namespace kmer_frequency;
  TupleDesc row = nullptr;
  if (get_call_result_type(fcinfo, nullptr, &row) != TYPEFUNC_COMPOSITE) elog(ERROR, "return type must be a row type");
  struct {
    std::uint64_t removed, bytes, errors;
  } all{0, 0, 0};
  scratch_pg::guarded([&] {
    scratch::SweepOptions options;
    options.kept_too = true;
    options.threads = 1;
    for (const TemporaryPlace& there : all_places()) {
      scratch_pg::check_for_interrupts();
      const std::vector<scratch::PgsqlTmp> one{there.place};  // of several, one that cannot be swept is reported
      const scratch::SweepReport report = scratch::sweep(one, options);
      all.removed += report.removed;
      all.bytes += report.bytes_freed;
      all.errors += report.failed.size();
      for (const scratch::SweepFailure& failure : report.failed)
        scratch_pg::server([&] { ereport(WARNING, (errmsg_internal("%s", failure.error.what()))); });
    }
  });
  Datum values[] = {Int32GetDatum(static_cast<int32>(all.removed)), Int64GetDatum(static_cast<int64>(all.bytes)),
                    Int32GetDatum(static_cast<int32>(all.errors))};
  bool nulls[] = {false, false, false};
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row), values, nulls)));
}
}
