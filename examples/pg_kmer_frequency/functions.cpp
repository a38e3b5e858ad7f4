// SPDX-License-Identifier: MIT
//
// kmer_frequency_rows(): the counts, a row a call. What is not asked for is not made, and nothing is stored.
#include <array>
#include <cstddef>
#include <utility>

#include "../kmer_frequency/kmers.hpp"
#include "arguments.hpp"

extern "C" {
#include <access/htup_details.h>
#include <funcapi.h>
#include <utils/builtins.h>
}

namespace kmer_frequency {
namespace {

/// The server's copy of a row (key, appearance_nrow, kmer), which is written over for each: it is to last until the next
/// call only, as what is made in a call's own memory would.
class Row {
 public:
  /// Has the server's rules.
  Row(TupleDesc description, const Counting& counting)
      : k_(static_cast<unsigned>(counting.k)), occurrence_bits_(counting.occurrence_bits) {
    char letters[longest_kmer];
    spell(std::uint64_t{0}, k_, letters);
    const Datum values[] = {Int64GetDatum(0), Int64GetDatum(0),
                            PointerGetDatum(cstring_to_text_with_len(letters, counting.k))};
    const bool nulls[] = {false, false, false};
    const HeapTuple tuple = heap_form_tuple(description, const_cast<Datum*>(values), const_cast<bool*>(nulls));
    bool is_null = false;
    datum_ = HeapTupleGetDatum(tuple);
    numbers_ = reinterpret_cast<int64*>(reinterpret_cast<char*>(tuple->t_data) + tuple->t_data->t_hoff);
    letters_ = VARDATA_ANY(DatumGetPointer(heap_getattr(tuple, 3, description, &is_null)));
  }

  Datum with(const Appearance& one) const {
    numbers_[0] = static_cast<int64>(one.key);
    numbers_[1] = static_cast<int64>(one.rows);
    spell(one.key >> occurrence_bits_, k_, letters_);
    return datum_;
  }

 private:
  unsigned k_;
  int occurrence_bits_;
  Datum datum_;
  int64* numbers_;
  char* letters_;
};

/// The rows of a call in a query, for as long as that runs: asked for once more, with the same arguments, they are the
/// same, and read again.
class Stream {
 public:
  Stream(const Request& request, const Row& row, MemoryContext context)
      : request_(request), row_(row), context_(context), counts_(analyse(request)) {}

  bool is_of(const Request& request) const { return request_ == request; }
  MemoryContext context() const { return context_; }

  void restart() {
    counts_.appearances->restart();
    at_ = n_ = 0;
  }
  /// Has the server's rules. Whether there is one more.
  bool more() {
    if (at_ == n_) scratch_pg::guarded([this] { read(); });
    return at_ < n_;
  }
  /// @pre there is. It lasts until the next one.
  Datum next() { return row_.with(some_[at_++]); }

  bool running = false;  ///< a first row was asked for, and the last one was not seen

 private:
  void read() {
    scratch_pg::check_for_interrupts();
    at_ = 0;
    n_ = counts_.appearances->next(some_);
  }

  Request request_;
  Row row_;
  MemoryContext context_;
  Counts counts_;
  scratch_pg::CountedDescriptor descriptor_;
  std::array<Appearance, 1024> some_;
  std::size_t at_ = 0, n_ = 0;
};

Stream*& stream_of(FmgrInfo* call) { return reinterpret_cast<Stream*&>(call->fn_extra); }

/// The query asks no further: it begins anew, or ends.
void stop(Datum call) { stream_of(reinterpret_cast<FmgrInfo*>(DatumGetPointer(call)))->running = false; }

//! [function]
/// Has the server's rules. What it makes goes with the query, or with its cursor.
Stream* make_stream(FunctionCallInfo fcinfo, const Request& request) {
  TupleDesc description = nullptr;
  if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "return type must be a row type");
  const MemoryContext context =
      __extension__ AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "kmer_frequency", ALLOCSET_SMALL_SIZES);
  const MemoryContext before = MemoryContextSwitchTo(context);
  const Row row(BlessTupleDesc(description), request.counting);
  MemoryContextSwitchTo(before);
  return scratch_pg::guarded([&] { return scratch_pg::owned_by<Stream>(context, request, row, context); });
}
//! [function]

void start(FunctionCallInfo fcinfo, ExprContext* query) {
  const Request request = request_of(fcinfo, {3, 4, 5, 6, 7});
  Stream*& stream = stream_of(fcinfo->flinfo);
  if (stream != nullptr && !stream->is_of(request)) MemoryContextDelete(std::exchange(stream, nullptr)->context());
  if (stream == nullptr)
    stream = make_stream(fcinfo, request);
  else
    scratch_pg::guarded([&] { stream->restart(); });
  RegisterExprContextCallback(query, &stop, PointerGetDatum(fcinfo->flinfo));
  stream->running = true;
}

}  // namespace
}  // namespace kmer_frequency

extern "C" {
PG_FUNCTION_INFO_V1(pg_kmer_frequency_rows);

PGDLLEXPORT Datum pg_kmer_frequency_rows(PG_FUNCTION_ARGS) {
  using namespace kmer_frequency;
  auto* const result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  if (result == nullptr || !IsA(result, ReturnSetInfo))
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("set-valued function called in context that cannot accept a set")));
  Stream*& stream = stream_of(fcinfo->flinfo);
  if (stream == nullptr || !stream->running) start(fcinfo, result->econtext);
  if (!stream->more()) {
    UnregisterExprContextCallback(result->econtext, &stop, PointerGetDatum(fcinfo->flinfo));
    stream->running = false;
    result->isDone = ExprEndResult;
    PG_RETURN_NULL();
  }
  result->isDone = ExprMultipleResult;
  return stream->next();
}
}
