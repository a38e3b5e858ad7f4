// SPDX-License-Identifier: MIT
//
// kmer_frequency_to(): the counts as rows of a table, written as COPY does, with its constraints, indexes and triggers.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "arguments.hpp"

extern "C" {
#include <access/table.h>
#include <catalog/namespace.h>
#include <commands/copy.h>
#include <mb/pg_wchar.h>
#include <miscadmin.h>
#include <nodes/makefuncs.h>
#include <nodes/value.h>
#include <parser/parse_node.h>
#include <parser/parse_relation.h>
#include <utils/acl.h>
#include <utils/lsyscache.h>
#include <utils/rel.h>
#include <utils/rls.h>
#include <utils/timestamp.h>
}

namespace kmer_frequency {
namespace {

constexpr int columns = 6;

/// What COPY reads: a line `rel, column, uintkey, appearance_nrow, reason, created_at` for each.
class Lines {
 public:
  /// @param begin, end what is the same in all lines
  Lines(const Counts& counts, std::string begin, std::string end)
      : counts_(counts), begin_(std::move(begin)), end_(std::move(end)) {
    Lines::current_ = this;
  }
  ~Lines() { current_ = before_; }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  static int read(void* room, int, int most) {
    return scratch_pg::guarded(
        [&] { return current_->fill(static_cast<char*>(room), static_cast<std::size_t>(most)); });
  }

 private:
  int fill(char* room, std::size_t most) {
    if (at_ == text_.size()) write_some();
    const std::size_t n = std::min(most, text_.size() - at_);
    text_.copy(room, n, at_);
    at_ += n;
    return static_cast<int>(n);
  }

  void write_some() {
    text_.clear();
    at_ = 0;
    std::array<Appearance, 1024> some;
    const std::size_t n = counts_.appearances->next(some);
    for (std::size_t i = 0; i < n; ++i) {
      text_ += begin_;
      number(static_cast<std::int64_t>(some[i].key));
      text_ += '\t';
      number(static_cast<std::int64_t>(some[i].rows));
      text_ += end_;
    }
  }

  void number(std::int64_t value) {
    char digits[24];
    text_.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  }

  static inline Lines* current_ = nullptr;  // COPY's call-back has no argument of ours

  const Counts& counts_;
  std::string begin_, end_, text_;
  std::size_t at_ = 0;
  Lines* before_ = current_;
};

/// As COPY's text format wants it.
std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    if (c == '\\' || c == '\t' || c == '\n' || c == '\r') safe += '\\';
    safe += c == '\t' ? 't' : c == '\n' ? 'n' : c == '\r' ? 'r' : c;
  }
  return safe;
}

/// Which threshold it was: "in 12 rows or more: max_appearance_rate 0.05 of 230".
std::string reason_of(const Request& request, const Counts& counts) {
  std::string text = "in " + std::to_string(counts.least_rows) + " of " + std::to_string(counts.rows) + " rows or more";
  if (request.has_least) text += ": min_rows " + std::to_string(request.least);
  if (request.has_rate) {
    char rate[32];
    text += ": max_appearance_rate " + std::string(rate, std::to_chars(rate, rate + sizeof rate, request.rate).ptr);
  }
  if (request.has_most)
    text += std::string(request.has_rate ? "," : ":") + " max_appearance_nrow " + std::to_string(request.most);
  return text;
}

/// Has the server's rules. Opens it for writing, if its user may.
Relation open_target(Oid oid) {
  const char* const name = get_rel_name(oid);
  if (name == nullptr)
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", oid)));
  if (pg_class_aclcheck(oid, GetUserId(), ACL_INSERT) != ACLCHECK_OK)
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied for table %s", name),
                    errhint("Its owner can GRANT INSERT on it.")));
  PreventCommandIfReadOnly("kmer_frequency_to()");
  const Relation target = table_open(oid, RowExclusiveLock);
  const char kind = target->rd_rel->relkind;
  if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a table", name),
                    errhint("Name a table that rows can be inserted into.")));
  int there = 0;
  for (int i = 0; i < RelationGetDescr(target)->natts; ++i) {
    const FormData_pg_attribute* const column = TupleDescAttr(RelationGetDescr(target), i);
    if (!column->attisdropped && column->attgenerated == '\0') ++there;
  }
  if (there != columns)
    ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                    errmsg("table \"%s\" has %d columns, and %d are written", name, there, columns),
                    errhint("CREATE TABLE %s (rel oid, col name, uintkey bigint, appearance_nrow bigint, reason text, "
                            "created_at timestamptz)",
                            name)));
  if (check_enable_rls(oid, InvalidOid, false) == RLS_ENABLED)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("\"%s\" has row-level security, which would be passed over", name),
                    errhint("Have its owner count.")));
  return target;
}

uint64 copy_into(Relation target) {
  ParseState* const state = make_parsestate(nullptr);
  addRangeTableEntryForRelation(state, target, RowExclusiveLock, nullptr, false, false);
  char* const encoding = pstrdup(GetDatabaseEncodingName());  // not the client's
  List* const options =
      lappend(NIL, makeDefElem(pstrdup("encoding"), reinterpret_cast<Node*>(makeString(encoding)), -1));
  const CopyFromState copy = BeginCopyFrom(state, target, nullptr, nullptr, false, &Lines::read, NIL, options);
  const uint64 rows = CopyFrom(copy);
  EndCopyFrom(copy);
  free_parsestate(state);
  return rows;
}

}  // namespace
}  // namespace kmer_frequency

extern "C" {
PG_FUNCTION_INFO_V1(pg_kmer_frequency_to);

PGDLLEXPORT Datum pg_kmer_frequency_to(PG_FUNCTION_ARGS) {
  using namespace kmer_frequency;
  const Request request = request_of(fcinfo, {4, 5, 6, 7, 8});
  if (PG_ARGISNULL(3))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("into must not be NULL"),
                    errhint("Only the thresholds may be left out.")));
  const Relation target = open_target(PG_GETARG_OID(3));
  const char* const now = timestamptz_to_str(GetCurrentTransactionStartTimestamp());
  const uint64 written = scratch_pg::guarded([&] {
    const std::string created = std::string("\t") + now + "\n";
    const Counts counts = analyse(request);
    const Lines lines(counts, std::to_string(request.relation) + '\t' + escaped(NameStr(request.column)) + '\t',
                      '\t' + escaped(reason_of(request, counts)) + created);
    return scratch_pg::server([&] { return copy_into(target); });
  });
  table_close(target, NoLock);
  PG_RETURN_INT64(static_cast<int64>(written));
}
}
