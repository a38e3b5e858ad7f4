// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "../kmer_frequency/kmers.hpp"
#include "arguments.hpp"

extern "C" {
#include <access/relation.h>
#include <catalog/pg_type_d.h>
#include <utils/acl.h>
#include <utils/builtins.h>
#include <utils/lsyscache.h>
#include <utils/rel.h>
#include <utils/rls.h>
}

namespace kmer_frequency {
namespace {

void check_present(FunctionCallInfo fcinfo, int place, const char* name) {
  if (PG_ARGISNULL(place))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", name),
                    errhint("Only the thresholds may be left out.")));
}

void check_counting(const Counting& counting) {
  if (counting.k < 1 || counting.k > static_cast<int>(longest_kmer))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("k is %d", counting.k),
                    errhint("A k-mer has 1 to %u bases.", longest_kmer)));
  if (counting.occurrence_bits < 0 || counting.occurrence_bits > 64 - 2 * counting.k)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("occurrence_bits is %d", counting.occurrence_bits),
                    errdetail("A k-mer of %d bases takes %d bits, and keys have 64.", counting.k, 2 * counting.k),
                    errhint("Choose a smaller k, or occurrence_bits from 0 to %d.", 64 - 2 * counting.k)));
}

void check_threshold(const Request& request) {
  if (request.has_least && (request.has_rate || request.has_most))
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("min_rows excludes max_appearance_rate and max_appearance_nrow"),
             errhint("Give min_rows for \"in so many rows or more\", or one or both of the others for \"in more\".")));
  if (request.has_least && request.least < 1)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("min_rows is " INT64_FORMAT, request.least),
                    errhint("It is 1 at least, which is every k-mer.")));
  if (request.has_rate && !(request.rate >= 0 && request.rate <= 1e9))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_appearance_rate is %g", request.rate),
                    errhint("It is a share of the rows: 0.05 for those that appear in more than 5 %% of them.")));
  if (request.has_most && request.most < 0)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_appearance_nrow is " INT64_FORMAT, request.most),
             errhint("It is a number of rows, 0 or more.")));
}

const char* hint_for(char relkind) {
  return relkind == RELKIND_VIEW ? "Store its rows in a table or a materialized view." : "Name a table.";
}

/// @returns the column's number
AttrNumber check_relation(Oid relation, const char* column) {
  const char* const name = get_rel_name(relation);
  if (name == nullptr)
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", relation),
                    errhint("Give a table's name: 'reads'::regclass.")));
  const AttrNumber number = get_attnum(relation, column);
  // Whoever may read one column may count it.
  if (pg_class_aclcheck(relation, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
      (number <= 0 || pg_attribute_aclcheck(relation, number, GetUserId(), ACL_SELECT) != ACLCHECK_OK))
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied for table %s", name),
                    errhint("Its owner can GRANT SELECT on the table or on the column.")));
  if (number <= 0)
    ereport(ERROR,
            (errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("column \"%s\" of relation \"%s\" does not exist", column, name),
             errhint("Name a column of type text, varchar or bytea.")));
  const Relation one = relation_open(relation, AccessShareLock);
  const char kind = one->rd_rel->relkind;
  if (kind != RELKIND_RELATION && kind != RELKIND_MATVIEW && kind != RELKIND_PARTITIONED_TABLE)
    ereport(ERROR,
            (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a table", name), errhint("%s", hint_for(kind))));
  const Oid type = getBaseType(get_atttype(relation, number));
  if (type != TEXTOID && type != VARCHAROID && type != BYTEAOID)
    ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                    errmsg("column \"%s\" of relation \"%s\" is of type %s", column, name,
                           format_type_be(get_atttype(relation, number))),
                    errhint("K-mers are counted in columns of type text, varchar or bytea.")));
  if (check_enable_rls(relation, InvalidOid, false) == RLS_ENABLED)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("\"%s\" has row-level security, which would be passed over", name),
                    errhint("Have its owner count, or copy the rows that you see to a table.")));
  relation_close(one, NoLock);  // what was checked stays
  return number;
}

}  // namespace

Request request_of(FunctionCallInfo fcinfo, const Places& places) {
  check_present(fcinfo, 0, "rel");
  check_present(fcinfo, 1, "col");
  check_present(fcinfo, 2, "k");
  check_present(fcinfo, places.canonical, "canonical");
  check_present(fcinfo, places.occurrence_bits, "occurrence_bits");
  Request request{};
  request.relation = PG_GETARG_OID(0);
  request.column = *PG_GETARG_NAME(1);
  request.counting.k = PG_GETARG_INT32(2);
  request.counting.canonical = PG_GETARG_BOOL(places.canonical);
  request.counting.occurrence_bits = PG_GETARG_INT32(places.occurrence_bits);
  request.counting.memory = settings.memory >= 0 ? static_cast<std::uint64_t>(settings.memory) * 1024
                                                 : std::max<std::uint64_t>(get_hash_memory_limit(), 256 << 10);
  if ((request.has_least = !PG_ARGISNULL(places.min_rows))) request.least = PG_GETARG_INT64(places.min_rows);
  if ((request.has_rate = !PG_ARGISNULL(places.max_appearance_rate)))
    request.rate = PG_GETARG_FLOAT8(places.max_appearance_rate);
  if ((request.has_most = !PG_ARGISNULL(places.max_appearance_nrow)))
    request.most = PG_GETARG_INT64(places.max_appearance_nrow);
  check_counting(request.counting);
  check_threshold(request);
  check_relation(request.relation, NameStr(request.column));
  return request;
}

}  // namespace kmer_frequency
