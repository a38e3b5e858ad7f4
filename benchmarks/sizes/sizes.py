#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Any number of workers in any memory: what it costs beside the best number for that memory.

  benchmarks/sizes/sizes.py [--rounds N] [--short] <kmer_frequency> <external_sort>

Reads at 30x, records of 100 bytes and lines are made here, the same every time, and each job runs with 1, 2, 4, 16 and 64
workers in 32 MiB to 1 GiB. Printed is the least processor time of the rounds, user's and system's, its ratio to the least
for that memory, and the most memory that the kernel saw (at least this program's, some 15 MiB). --short: a tenth of the
data. TMPDIR says where all this is done.
"""

import argparse
import os
import random
import subprocess
import tempfile

MEMORIES = (32, 64, 128, 256, 512, 1024)
WORKERS = (1, 2, 4, 16, 64)


def run(command):
    """(seconds of processor time, MiB at most)"""
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 2, "log", 577, 0o600)])
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: {open('log').read()}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def make_inputs(kmers, sort, size):
    bases = random.Random(1).randbytes(size).translate(bytes(b"ACGT"[i % 4] for i in range(256)))
    with open("genome.fa", "wb") as out:
        out.write(b">g\n" + bases + b"\n")
    reads = ["--simulate-reads", str(size // 5), "--read-length", "150", "--error-rate", "0.005", "genome.fa"]
    subprocess.run([kmers, "-q", *reads, "-o", "reads.fa"], check=True)
    subprocess.run([sort, "generate", "-n", str(size // 2), "-o", "records"], check=True)
    subprocess.run([sort, "generate", "-n", str(size // 2), "--lines", "-o", "lines"], check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("programs", nargs=2, type=os.path.abspath)
    options = parser.parse_args()
    kmers, sort = options.programs
    jobs = {
        "k-mers": [kmers, "-q", "-k", "31", "--canonical", "--count", "occurrences", "--table", "out", "reads.fa"],
        "k-mers of rows": [kmers, "-q", "-k", "21", "--table", "out", "reads.fa"],
        "records": [sort, "sort", "-q", "--to-file", "-o", "out", "records"],
        "lines": [sort, "sort", "-q", "--lines", "--to-file", "-o", "out", "lines"],
    }
    with tempfile.TemporaryDirectory(prefix="sizes.") as work:
        os.chdir(work)
        os.environ["SCRATCH_DIR"] = work
        make_inputs(kmers, sort, 200_000 if options.short else 2_000_000)
        worst = 0.0
        for name, job in jobs.items():
            print(f"\n{name}\n{'memory':>8}" + "".join(f"{f'{n} workers':>26}" for n in WORKERS))
            for memory in MEMORIES:
                took = {}
                for _ in range(options.rounds):
                    for workers in WORKERS:
                        took.setdefault(workers, []).append(run([*job, "--memory", f"{memory}MiB", "--workers", str(workers)]))
                seconds = {n: min(s for s, _ in runs) for n, runs in took.items()}
                best = min(seconds.values())
                worst = max(worst, max(seconds.values()) / best)
                print(f"{memory:>8}" + "".join(f"{seconds[n]:>12.2f} {seconds[n] / best:.2f} x {max(m for _, m in took[n]):4.0f} MiB"
                                               for n in WORKERS), flush=True)
        os.chdir("/")
    print(f"\nat worst {worst:.2f} x the best for that memory (to reach: 1.5)")


if __name__ == "__main__":
    main()
