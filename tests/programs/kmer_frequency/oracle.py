# SPDX-License-Identifier: MIT
"""What kmer_frequency must say, counted plainly: oracle.py K B rows|occurrences canonical|plain FILE [LEAST]"""
import collections
import re
import sys

k, bits, count, strands, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
least = int(sys.argv[6]) if len(sys.argv) > 6 else 1
other = str.maketrans("ACGT", "TGCA")
keys, skipped = collections.Counter(), 0
for row in open(path).read().split(">")[1:]:
    bases = "".join(row.split("\n")[1:]).upper()
    seen = collections.Counter()
    for piece in re.findall("[ACGT]+", bases):
        for i in range(len(piece) - k + 1):
            kmer = piece[i : i + k]
            if strands == "canonical":
                kmer = min(kmer, kmer[::-1].translate(other))
            if count == "occurrences" or seen[kmer] < 2**bits:
                keys[kmer, seen[kmer] if bits else 0] += 1
            else:
                skipped += 1
            seen[kmer] += 1
for (kmer, i), n in sorted(keys.items()):
    if n >= least:
        print(kmer, i, n, sep="\t") if bits else print(kmer, n, sep="\t")
print(skipped, file=sys.stderr)
