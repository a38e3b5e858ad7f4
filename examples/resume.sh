# SPDX-License-Identifier: MIT
external_sort sort --resume -o sorted records.txt           # killed? the same again goes on from there
table_export orders --resume --keep orders.csv              # behind the chunks that are there; also of -- command
kmer_frequency --resume -o kmers.tsv.gz day_1.fa day_2.fa   # no input is counted again that was
scratchctl jobs                                             # what is unfinished: how far, how large, since when
scratchctl run --retry 3 -- external_sort sort --resume --replace -o sorted records.txt   # again by itself
