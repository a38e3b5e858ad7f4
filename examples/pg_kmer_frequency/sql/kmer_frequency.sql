CREATE EXTENSION kmer_frequency;
CREATE TABLE reads (id int, seq text);
INSERT INTO reads VALUES (1, 'ACGTACGT'), (2, 'acgtTTTT'), (3, 'GGGGNGGGG'), (4, NULL), (5, 'AC'), (6, '');

SELECT * FROM kmer_frequency('reads', 'seq', 4) ORDER BY key;
SELECT * FROM kmer_frequency('reads', 'seq', 4, canonical => false, min_rows => 2) ORDER BY key;
-- the second occurrence in a row is another key
SELECT * FROM kmer_frequency('reads', 'seq', 4, occurrence_bits => 1) ORDER BY key;
-- above a third of five rows: in more than one
SELECT * FROM kmer_frequency('reads', 'seq', 4, max_appearance_rate => 0.34) ORDER BY key;
SELECT kmer, key, appearance_nrow FROM kmer_frequency('reads', 'seq', 32);
SET kmer_frequency.workers = 2;
SELECT * FROM kmer_frequency('reads', 'seq', 2, true, max_appearance_nrow => 1) ORDER BY key;
RESET kmer_frequency.workers;

-- into a table
CREATE TABLE frequent (rel oid, col name, uintkey bigint PRIMARY KEY, appearance_nrow bigint, reason text, created_at timestamptz);
SELECT kmer_frequency_to('reads', 'seq', 4, 'frequent', max_appearance_rate => 0.2, max_appearance_nrow => 3);
SELECT rel::regclass, col, uintkey, appearance_nrow, reason, created_at <= now() AS made FROM frequent ORDER BY uintkey;
BEGIN;
SELECT kmer_frequency_to('reads', 'seq', 4, 'frequent');
ROLLBACK;
SELECT count(*) FROM frequent;
BEGIN READ ONLY;
SELECT kmer_frequency_to('reads', 'seq', 4, 'frequent');
ROLLBACK;
SELECT kmer_frequency_to('reads', 'seq', 4, 'reads');
CREATE ROLE regress_reader;
GRANT SELECT ON reads, frequent TO regress_reader;
SET ROLE regress_reader;
SELECT kmer_frequency_to('reads', 'seq', 4, 'frequent');
SELECT * FROM scratch_sessions();
SELECT * FROM scratch_delete_tempfiles();
RESET ROLE;
DROP TABLE frequent;
SELECT * FROM scratch_sessions();
SELECT * FROM scratch_delete_tempfiles();

-- what is refused
SELECT * FROM kmer_frequency('reads', 'id', 4);
SELECT * FROM kmer_frequency('reads', 'seq', 0);
SELECT * FROM kmer_frequency('reads', 'seq', 33);
SELECT * FROM kmer_frequency('reads', 'seq', 31, occurrence_bits => 3);
SELECT * FROM kmer_frequency('reads', 'seq', 4, max_appearance_rate => 'nan');
SELECT * FROM kmer_frequency('reads', 'seq', 4, min_rows => 2, max_appearance_nrow => 2);
CREATE VIEW seen AS SELECT seq FROM reads;
SELECT * FROM kmer_frequency('seen', 'seq', 4);
SET kmer_frequency.memory = '1kB';
DROP VIEW seen;
DROP TABLE reads;
DROP ROLE regress_reader;
DROP EXTENSION kmer_frequency;
