/* SPDX-License-Identifier: MIT */
\echo Use "CREATE EXTENSION kmer_frequency" to load this file. \quit

CREATE FUNCTION kmer_frequency(
    rel regclass, col name, k integer, canonical boolean DEFAULT true, occurrence_bits integer DEFAULT 0,
    min_rows bigint DEFAULT NULL, max_appearance_rate float8 DEFAULT NULL, max_appearance_nrow bigint DEFAULT NULL)
RETURNS TABLE (kmer text, key bigint, appearance_nrow bigint)
LANGUAGE c STABLE PARALLEL UNSAFE COST 100000 ROWS 100000
AS 'MODULE_PATHNAME', 'pg_kmer_frequency';

COMMENT ON FUNCTION kmer_frequency IS
'the k-mers of a column of text, varchar or bytea and in how many of its rows each appears; its user must be allowed to SELECT that column';
