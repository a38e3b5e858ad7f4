/* SPDX-License-Identifier: MIT */
\echo Use "CREATE EXTENSION kmer_frequency" to load this file. \quit

CREATE FUNCTION kmer_frequency_rows(
    rel regclass, col name, k integer, canonical boolean, occurrence_bits integer, min_rows bigint,
    max_appearance_rate float8, max_appearance_nrow bigint, OUT key bigint, OUT appearance_nrow bigint, OUT kmer text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL UNSAFE COST 100000 ROWS 100000
AS 'MODULE_PATHNAME', 'pg_kmer_frequency_rows';

COMMENT ON FUNCTION kmer_frequency_rows IS
'what kmer_frequency() is made of: who is to call that must be allowed to call this';

-- The server puts such a function's body in its place, where the rows come one by one: what a C function in FROM returns
-- is stored, and read again when it is whole.
CREATE FUNCTION kmer_frequency(
    rel regclass, col name, k integer, canonical boolean DEFAULT true, occurrence_bits integer DEFAULT 0,
    min_rows bigint DEFAULT NULL, max_appearance_rate float8 DEFAULT NULL, max_appearance_nrow bigint DEFAULT NULL)
RETURNS TABLE (kmer text, key bigint, appearance_nrow bigint)
LANGUAGE sql STABLE PARALLEL UNSAFE COST 100000 ROWS 100000
BEGIN ATOMIC
  SELECT (one).kmer, (one).key, (one).appearance_nrow
    FROM (SELECT kmer_frequency_rows(rel, col, k, canonical, occurrence_bits, min_rows, max_appearance_rate,
                                     max_appearance_nrow)) AS counted (one);
END;

COMMENT ON FUNCTION kmer_frequency IS
'the k-mers of a column of text, varchar or bytea and in how many of its rows each appears; its user must be allowed to SELECT that column';

CREATE FUNCTION kmer_frequency_to(
    rel regclass, col name, k integer, "into" regclass, canonical boolean DEFAULT true, occurrence_bits integer DEFAULT 0,
    min_rows bigint DEFAULT NULL, max_appearance_rate float8 DEFAULT NULL, max_appearance_nrow bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_kmer_frequency_to';

COMMENT ON FUNCTION kmer_frequency_to IS
'writes them to a table (rel oid, col name, uintkey bigint, appearance_nrow bigint, reason text, created_at timestamptz); its user must be allowed to INSERT there, too; returns the number of rows';

CREATE FUNCTION scratch_sessions()
RETURNS TABLE (tablespace name, id text, label text, pid integer, status text, alive boolean, kept boolean,
               bytes bigint, age interval, progress text)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_scratch_sessions';

COMMENT ON FUNCTION scratch_sessions IS 'the sessions of this extension in all tablespaces, alive and dead';

CREATE FUNCTION scratch_delete_tempfiles(OUT deleted_count integer, OUT deleted_size bigint, OUT error_count integer)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_scratch_delete_tempfiles';

COMMENT ON FUNCTION scratch_delete_tempfiles IS
'removes the dead sessions of this extension from all tablespaces, kept ones too; one that is in use is never touched';

-- Whoever may SELECT and INSERT may count; what concerns everybody is the superuser's to grant.
REVOKE ALL ON FUNCTION scratch_sessions() FROM PUBLIC;
REVOKE ALL ON FUNCTION scratch_delete_tempfiles() FROM PUBLIC;
