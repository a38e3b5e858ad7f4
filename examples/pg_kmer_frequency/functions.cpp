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

class Stream {
 public:
  Stream(Counts counts, const Row& row) : counts_(std::move(counts)), row_(row) {}

  /// Whether there is one more.
  bool more() {
    if (at_ < n_) return true;
    scratch_pg::guarded([this] {
      scratch_pg::check_for_interrupts();
      n_ = counts_.appearances->next(some_);
    });
    at_ = 0;
    return n_ > 0;
  }
  /// @pre there is. It lasts until the next one.
  Datum next() { return row_.with(some_[at_++]); }

 private:
  Counts counts_;
  scratch_pg::CountedDescriptor descriptor_;
  Row row_;
  std::array<Appearance, 1024> some_;
  std::size_t at_ = 0, n_ = 0;
};

/// Has the server's rules. It goes with the context: at the end of the set, of its query, or of its cursor.
Stream* begin(FunctionCallInfo fcinfo, MemoryContext context) {
  TupleDesc description = nullptr;
  if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "return type must be a row type");
  const Request request = request_of(fcinfo, {3, 4, 5, 6, 7});
  const MemoryContext before = MemoryContextSwitchTo(context);
  const Row row(BlessTupleDesc(description), request.counting);
  MemoryContextSwitchTo(before);
  return scratch_pg::guarded([&] { return scratch_pg::owned_by<Stream>(context, analyse(request), row); });
}

}  // namespace
}  // namespace kmer_frequency

//! [function]
extern "C" {
PG_FUNCTION_INFO_V1(pg_kmer_frequency_rows);

PGDLLEXPORT Datum pg_kmer_frequency_rows(PG_FUNCTION_ARGS) {
  using namespace kmer_frequency;
  if (SRF_IS_FIRSTCALL()) {
    FuncCallContext* const first = SRF_FIRSTCALL_INIT();
    first->user_fctx = begin(fcinfo, first->multi_call_memory_ctx);
  }
  FuncCallContext* const call = SRF_PERCALL_SETUP();
  auto* const stream = static_cast<Stream*>(call->user_fctx);
  if (!stream->more()) SRF_RETURN_DONE(call);
  SRF_RETURN_NEXT(call, stream->next());
}
}
//! [function]
