// SPDX-License-Identifier: MIT
//
// kmer_frequency(): the counts as rows.
#include <array>
#include <span>

#include "../kmer_frequency/kmers.hpp"
#include "arguments.hpp"

extern "C" {
#include <funcapi.h>
#include <utils/builtins.h>
#include <utils/tuplestore.h>
}

namespace kmer_frequency {
namespace {

void put_rows(ReturnSetInfo* result, std::span<const Appearance> some, const Counting& counting) {
  struct {
    alignas(varlena) char bytes[VARHDRSZ + longest_kmer];
  } text;
  const auto k = static_cast<unsigned>(counting.k);
  SET_VARSIZE(text.bytes, static_cast<Size>(VARHDRSZ) + k);
  for (const Appearance& one : some) {
    spell(one.key >> counting.occurrence_bits, k, VARDATA(text.bytes));
    Datum values[] = {PointerGetDatum(text.bytes), Int64GetDatum(static_cast<int64>(one.key)),
                      Int64GetDatum(static_cast<int64>(one.rows))};
    bool nulls[] = {false, false, false};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  }
}

}  // namespace
}  // namespace kmer_frequency

//! [function]
extern "C" {
PG_FUNCTION_INFO_V1(pg_kmer_frequency);

PGDLLEXPORT Datum pg_kmer_frequency(PG_FUNCTION_ARGS) {
  using namespace kmer_frequency;
  const Request request = request_of(fcinfo, {3, 4, 5, 6, 7});
  InitMaterializedSRF(fcinfo, 0);
  auto* const result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  scratch_pg::guarded([&] {
    analyse(request, [&](const Counts& counts) {
      std::array<Appearance, 1024> some;
      while (const std::size_t n = counts.appearances.next(some)) {
        scratch_pg::check_for_interrupts();
        scratch_pg::server([&] { put_rows(result, std::span(some).first(n), request.counting); });
      }
    });
  });
  return Datum(0);
}
}
//! [function]
