// SPDX-License-Identifier: MIT
//
// What people count with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#ifdef HAVE_ABSL
#include <absl/container/flat_hash_map.h>
#endif
#ifdef HAVE_ROBIN
#include <tsl/robin_map.h>
#endif
#ifdef HAVE_SQLITE
#include <sqlite3.h>
#endif
#ifdef HAVE_ROCKSDB
#include <rocksdb/db.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>
#endif
#ifdef HAVE_LMDB
#include <lmdb.h>
#endif

#include "chained_table.hpp"

namespace bench {

using U64 = std::uint64_t;
using Keys64 = std::span<const U64>;

/// A hash map in memory.
template <class Map>
class InMemory {
 public:
  explicit InMemory(const std::string&) {}
  void add(Keys64 keys) {
    for (const U64 key : keys) ++map_[key];
  }
  void commit() {}
  template <class Visit>
  void for_each(Visit visit) {
    for (const auto& entry : map_) visit(entry.first, entry.second);
  }

 private:
  Map map_;
};

class Chained {
 public:
  explicit Chained(const std::string& dir) : table_(dir + "/chained", U64{1} << 22) {}
  void add(Keys64 keys) {
    for (const U64 key : keys) table_.add(key);
  }
  void commit() {}
  template <class Visit>
  void for_each(Visit visit) {
    table_.for_each(visit);
  }

 private:
  ChainedTable table_;
};

#ifdef HAVE_SQLITE
/// SQLite as fast as it goes without durability.
class Sqlite {
 public:
  explicit Sqlite(const std::string& file) {
    if (sqlite3_open(file.c_str(), &db_) != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(db_));
    run("PRAGMA journal_mode=OFF");
    run("PRAGMA synchronous=OFF");
    run("PRAGMA cache_size=-65536");
    run("CREATE TABLE IF NOT EXISTS counts(key INTEGER PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID");
  }
  Sqlite(const Sqlite&) = delete;
  Sqlite& operator=(const Sqlite&) = delete;
  ~Sqlite() {
    for (sqlite3_stmt* each : {upsert_, select_}) sqlite3_finalize(each);
    sqlite3_close(db_);
  }

  void run(const std::string& sql) {
    char* why = nullptr;
    if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, &why) != SQLITE_OK) throw std::runtime_error(sql + ": " + why);
  }
  void upsert(U64 key, U64 n) {
    if (upsert_ == nullptr)
      prepare("INSERT INTO counts VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET n = n + ?2", &upsert_);
    sqlite3_bind_int64(upsert_, 1, static_cast<sqlite3_int64>(key));
    sqlite3_bind_int64(upsert_, 2, static_cast<sqlite3_int64>(n));
    sqlite3_step(upsert_);
    sqlite3_reset(upsert_);
  }
  U64 get(U64 key) {
    if (select_ == nullptr) prepare("SELECT n FROM counts WHERE key = ?1", &select_);
    sqlite3_bind_int64(select_, 1, static_cast<sqlite3_int64>(key));
    const U64 n = sqlite3_step(select_) == SQLITE_ROW ? static_cast<U64>(sqlite3_column_int64(select_, 0)) : 0;
    sqlite3_reset(select_);
    return n;
  }
  template <class Visit>
  void for_each(Visit visit) {
    sqlite3_stmt* all = nullptr;
    prepare("SELECT key, n FROM counts", &all);
    while (sqlite3_step(all) == SQLITE_ROW)
      visit(static_cast<U64>(sqlite3_column_int64(all, 0)), static_cast<U64>(sqlite3_column_int64(all, 1)));
    sqlite3_finalize(all);
  }

 private:
  void prepare(const char* sql, sqlite3_stmt** to) {
    if (sqlite3_prepare_v2(db_, sql, -1, to, nullptr) != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(db_));
  }
  sqlite3* db_ = nullptr;
  sqlite3_stmt *upsert_ = nullptr, *select_ = nullptr;
};

/// The first generation: batches of a million keys in a hash map, then upserts in the order of the keys.
class SqliteBatches {
 public:
  explicit SqliteBatches(const std::string& dir) : db_(dir + "/sqlite") {}
  void add(Keys64 keys) {
    for (const U64 key : keys) ++batch_[key];
    if ((waiting_ += keys.size()) >= 1000000) flush();
  }
  void commit() { flush(); }
  template <class Visit>
  void for_each(Visit visit) {
    db_.for_each(visit);
  }

 private:
  void flush() {
    std::vector<std::pair<sqlite3_int64, U64>> sorted(batch_.begin(), batch_.end());
    std::sort(sorted.begin(), sorted.end());
    db_.run("BEGIN");
    for (const auto& [key, n] : sorted) db_.upsert(static_cast<U64>(key), n);
    db_.run("COMMIT");
    batch_.clear();
    waiting_ = 0;
  }
  Sqlite db_;
  std::unordered_map<sqlite3_int64, U64> batch_;
  std::size_t waiting_ = 0;
};
#endif

#ifdef HAVE_ROCKSDB
class RocksBatches {
 public:
  explicit RocksBatches(const std::string& dir) {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.IncreaseParallelism(2);
    options.merge_operator = std::make_shared<Sum>();
    rocksdb::DB* db = nullptr;
    const rocksdb::Status status = rocksdb::DB::Open(options, dir + "/rocks", &db);
    if (!status.ok()) throw std::runtime_error(status.ToString());
    db_.reset(db);
    write_.disableWAL = true;
  }
  void add(Keys64 keys) {
    for (const U64 key : keys) ++batch_[key];
    if ((waiting_ += keys.size()) >= 1000000) flush();
  }
  void commit() {
    flush();
    db_->Flush({});
  }
  template <class Visit>
  void for_each(Visit visit) {
    const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator({}));
    for (at->SeekToFirst(); at->Valid(); at->Next()) visit(number(at->key()), number(at->value()));
  }

 private:
  static U64 number(const rocksdb::Slice& slice) {
    U64 value = 0;
    std::copy_n(slice.data(), 8, reinterpret_cast<char*>(&value));
    return value;
  }
  static rocksdb::Slice slice(const U64& value) { return {reinterpret_cast<const char*>(&value), 8}; }
  class Sum : public rocksdb::AssociativeMergeOperator {
   public:
    bool Merge(const rocksdb::Slice&, const rocksdb::Slice* old, const rocksdb::Slice& more, std::string* to,
               rocksdb::Logger*) const override {
      const U64 sum = (old != nullptr ? number(*old) : 0) + number(more);
      to->assign(slice(sum).data(), 8);
      return true;
    }
    const char* Name() const override { return "Sum"; }
  };
  void flush() {
    rocksdb::WriteBatch batch;
    for (const auto& [key, n] : batch_) batch.Merge(slice(key), slice(n));
    db_->Write(write_, &batch);
    batch_.clear();
    waiting_ = 0;
  }
  std::unique_ptr<rocksdb::DB> db_;
  rocksdb::WriteOptions write_;
  std::unordered_map<U64, U64> batch_;
  std::size_t waiting_ = 0;
};
#endif

#ifdef HAVE_LMDB
class Lmdb {
 public:
  explicit Lmdb(const std::string& file) {
    check(mdb_env_create(&env_));
    check(mdb_env_set_mapsize(env_, std::size_t{8} << 30));
    check(mdb_env_open(env_, file.c_str(), MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOLOCK, 0600));
    check(mdb_txn_begin(env_, nullptr, 0, &txn_));
    check(mdb_dbi_open(txn_, nullptr, MDB_INTEGERKEY | MDB_CREATE, &dbi_));
  }
  Lmdb(const Lmdb&) = delete;
  Lmdb& operator=(const Lmdb&) = delete;
  ~Lmdb() {
    mdb_txn_abort(txn_);
    mdb_env_close(env_);
  }
  void append(U64 key, U64 n) {
    MDB_val k{8, &key}, v{8, &n};
    check(mdb_put(txn_, dbi_, &k, &v, MDB_APPEND));
  }
  void read_only() {
    check(mdb_txn_commit(txn_));
    check(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn_));
  }
  U64 get(U64 key) {
    MDB_val k{8, &key}, v{};
    if (mdb_get(txn_, dbi_, &k, &v) != 0) return 0;
    U64 n = 0;
    std::copy_n(static_cast<const char*>(v.mv_data), 8, reinterpret_cast<char*>(&n));
    return n;
  }

 private:
  static void check(int code) {
    if (code != 0) throw std::runtime_error(mdb_strerror(code));
  }
  MDB_env* env_ = nullptr;
  MDB_txn* txn_ = nullptr;
  MDB_dbi dbi_ = 0;
};
#endif

}  // namespace bench
