// SPDX-License-Identifier: MIT
//
// The tables of a relation (itself, its partitions, what inherits from it), read by several processes at the same time.
#pragma once

#include <cstdint>
#include <string_view>

#include "guard.hpp"

extern "C" {
#include <access/relscan.h>
#include <port/atomics.h>
#include <storage/block.h>
#include <utils/snapshot.h>
}

namespace kmer_frequency {

/// What is to be read: in memory that the processes share. Has no pointers: it stands at another address in each. Behind
/// it are its tables and their scans.
struct SharedScan {
  struct Table {
    Oid oid;
    AttrNumber column;
    Size scan;  ///< from here to its ParallelTableScanDesc
  };

  pg_atomic_uint64 rows;  ///< read so far, without NULLs
  int count;

  Table* tables() { return reinterpret_cast<Table*>(this + 1); }
  ParallelTableScanDesc scan_of(const Table& table) {
    return reinterpret_cast<ParallelTableScanDesc>(reinterpret_cast<char*>(this) + table.scan);
  }
};

/// The tables, open and locked. All of this is called with the server's rules: it raises errors, and has no destructors.
struct OpenTables {
  int count;
  struct Table {
    struct RelationData* relation;
    AttrNumber column;
  } * tables;
  bool shareable;  ///< other processes can read all of them
  std::uint64_t blocks;

  /// @param relation one that its user may read, see arguments.cpp
  static OpenTables open(Oid relation, const char* column);
  Size shared_size(Snapshot snapshot) const;
  void share(SharedScan& scan, Snapshot snapshot) const;
  void close() const;

 private:
  Size size_of_tables() const {
    return MAXALIGN(sizeof(SharedScan) + sizeof(SharedScan::Table) * static_cast<Size>(count));
  }
};

/// This process's share of the rows.
class Rows {
 public:
  explicit Rows(SharedScan& shared) : shared_(shared) {}

  /// False at the end. The row lasts until the next call. @throws scratch_pg::ServerError
  bool next(std::string_view& row);

 private:
  void open_table();
  void close_table();

  SharedScan& shared_;
  int table_ = 0;
  std::uint64_t seen_ = 0;
  struct RelationData* relation_ = nullptr;
  TableScanDesc scan_ = nullptr;
  struct TupleTableSlot* slot_ = nullptr;
  void* detoasted_ = nullptr;
};

}  // namespace kmer_frequency
