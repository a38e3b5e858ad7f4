// SPDX-License-Identifier: MIT
#include <algorithm>
#include <utility>

#include "scan.hpp"

extern "C" {
#include <access/table.h>
#include <access/tableam.h>
#include <catalog/pg_inherits.h>
#include <executor/tuptable.h>
#include <storage/bufmgr.h>
#include <utils/lsyscache.h>
#include <utils/rel.h>
}

namespace kmer_frequency {

using scratch_pg::server;

OpenTables OpenTables::open(Oid relation, const char* column) {
  OpenTables open{0, nullptr, true, 0};
  List* const all = find_all_inheritors(relation, AccessShareLock, nullptr);
  open.tables = static_cast<Table*>(palloc(sizeof(Table) * static_cast<Size>(list_length(all))));
  for (int i = 0; i < list_length(all); ++i) {
    const Relation one = table_open(list_nth_oid(all, i), NoLock);
    const char kind = one->rd_rel->relkind;
    if (kind == RELKIND_PARTITIONED_TABLE) {  // its partitions are in the list
      table_close(one, NoLock);
      continue;
    }
    if (kind != RELKIND_RELATION && kind != RELKIND_MATVIEW)
      ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                      errmsg("cannot count k-mers of the foreign table \"%s\"", RelationGetRelationName(one)),
                      errhint("Copy its rows to a table, or name its local partitions one by one.")));
    if (RELATION_IS_OTHER_TEMP(one))
      ereport(ERROR,
              (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("cannot access temporary tables of other sessions")));
    if (!RelationIsScannable(one))
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("materialized view \"%s\" has not been populated", RelationGetRelationName(one)),
                      errhint("Use the REFRESH MATERIALIZED VIEW command.")));
    if (RelationUsesLocalBuffers(one)) open.shareable = false;
    open.blocks += RelationGetNumberOfBlocks(one);
    open.tables[open.count++] = {one, get_attnum(RelationGetRelid(one), column)};
  }
  return open;
}

Size OpenTables::shared_size(Snapshot snapshot) const {
  Size size = size_of_tables();
  for (int i = 0; i < count; ++i) size += MAXALIGN(table_parallelscan_estimate(tables[i].relation, snapshot));
  return size;
}

void OpenTables::share(SharedScan& scan, Snapshot snapshot) const {
  pg_atomic_init_u64(&scan.rows, 0);
  scan.count = count;
  Size at = size_of_tables();
  for (int i = 0; i < count; ++i) {
    scan.tables()[i] = {RelationGetRelid(tables[i].relation), tables[i].column, at};
    table_parallelscan_initialize(tables[i].relation, scan.scan_of(scan.tables()[i]), snapshot);
    at += MAXALIGN(table_parallelscan_estimate(tables[i].relation, snapshot));
  }
}

void OpenTables::close() const {
  for (int i = 0; i < count; ++i) table_close(tables[i].relation, NoLock);
}

void Rows::open_table() {
  const SharedScan::Table& table = shared_.tables()[table_];
  relation_ = table_open(table.oid, AccessShareLock);
  scan_ = table_beginscan_parallel(relation_, shared_.scan_of(table));
  slot_ = table_slot_create(relation_, nullptr);
}

void Rows::close_table() {
  ExecDropSingleTupleTableSlot(slot_);
  table_endscan(scan_);
  table_close(relation_, NoLock);
  scan_ = nullptr;
}

bool Rows::next(std::string_view& row) {
  const auto found = server([this]() -> varlena* {
    if (void* const before = std::exchange(detoasted_, nullptr)) pfree(before);
    for (; table_ < shared_.count; ++table_) {
      if (scan_ == nullptr) open_table();
      const AttrNumber column = shared_.tables()[table_].column;
      for (;;) {
        CHECK_FOR_INTERRUPTS();
        if (!table_scan_getnextslot(scan_, ForwardScanDirection, slot_)) break;
        bool is_null = false;
        const Datum value = slot_getattr(slot_, column, &is_null);
        if (is_null) continue;
        auto* const stored = reinterpret_cast<varlena*>(DatumGetPointer(value));
        varlena* const text = pg_detoast_datum_packed(stored);
        if (text != stored) detoasted_ = text;
        return text;
      }
      close_table();
    }
    pg_atomic_fetch_add_u64(&shared_.rows, static_cast<int64>(std::exchange(seen_, 0)));
    return nullptr;
  });
  if (found == nullptr) return false;
  if (++seen_ == 256) pg_atomic_fetch_add_u64(&shared_.rows, static_cast<int64>(std::exchange(seen_, 0)));
  row = std::string_view(VARDATA_ANY(found), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(found)));
  return true;
}

}  // namespace kmer_frequency
