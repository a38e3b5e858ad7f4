#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kmer_frequency beside KMC, FastK and jellyfish: the same reads, canonical k-mers, two threads, in turns.

  benchmarks/kmers/kmers.py [--short] [--rounds N] [--minutes N] [--only WORD] [--memory SIZE,SIZE] [--data FILE]
                            [--plot FILE] [--prototype PROGRAM] [kmer_frequency]

The reads are made here, the same every time, of a bacterium's genome: E. coli 536, NC_008253.1, from Debian's
bowtie-examples, or of GENOME=file.fa[.gz]; where neither is there, of 4.6 million random bases. Those at 1x are of 100
million random bases: of a bacterium they are counted within 0.05 s, of which much is the start. Each program goes from
reads in the page cache to its own table or database; it is a process of its own, whose processor time and peak memory
the kernel tells (a peak is at least this program's, some 15 MiB). In every round each program runs once, jellyfish in
the first one only, and another one is the first. Printed are the best and the median of the rounds, and at the end what
is asked for. Before the first round kmer_frequency's counts are compared with KMC's dump, where KMC is there. Peers that
are not in PATH are left out, by name.

--short: a fiftieth of the reads, one round. --minutes: no round begins that would not end before, by the time that the
one before took (12 unless said; the first one is made in any case). --only: what has this word in "case: program".
--memory: kmer_frequency's, 128MiB and 24MiB unless said. --data: what plot.gp draws; --plot: it does, to this SVG. TMPDIR
says where all this is done.
"""

import argparse
import gzip
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEBIANS = Path("/usr/share/doc/bowtie/examples/genomes/NC_008253.fna.gz")
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def genome():
    """Its name and its bases."""
    path = Path(os.environ.get("GENOME", DEBIANS))
    if not path.exists():
        if "GENOME" in os.environ:
            sys.exit(f"no {path}")
        return "4.6 million random bases (apt-get install bowtie-examples for a real genome)", "".join(
            random.Random(1).choices("ACGT", k=4_600_000)
        )
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as file:
        return path.name, "".join(line.strip().upper() for line in file if not line.startswith(">"))


def random_bases(n):
    return random.Random(2).randbytes(n).translate(bytes("ACGT" * 64, "ascii")).decode()


def write_reads(to, bases, coverage, shortest, longest, errors, seed):
    """Reads of either strand, with wrong bases here and there."""
    rng = random.Random(seed)
    wanted, made, number, until_error = int(coverage * len(bases)), 0, 0, rng.expovariate(errors)
    longest = min(longest, len(bases))
    shortest = min(shortest, longest)
    with open(to, "w") as out:
        while made < wanted:
            length = rng.randint(shortest, longest)
            at = rng.randint(0, len(bases) - length)
            read = bases[at : at + length]
            if rng.random() < 0.5:
                read = read.translate(COMPLEMENT)[::-1]
            if until_error < length:
                letters = list(read)
                while until_error < length:
                    i = int(until_error)
                    letters[i] = rng.choice("ACGT".replace(letters[i], "")) if letters[i] in "ACGT" else "A"
                    until_error += rng.expovariate(errors)
                read = "".join(letters)
            until_error -= length
            out.write(f">{number}\n{read}\n")
            made += length
            number += 1


def in_a_child(work):
    """Its memory is not this process's: what the kernel says of a program's peak begins with that of who started it."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(f"kmers.py: {error}", file=sys.stderr)
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        sys.exit(1)


# Coverage, shortest and longest read, share of wrong bases.
READS = {"short": (30, 100, 100, 0.01), "HiFi-like": (60, 8_000, 22_000, 0.001), "1x": (1, 150, 150, 0.005)}


class Program:
    """`command(reads)` is what it is started as; `needs` what must be in PATH."""

    def __init__(self, name, command, needs=None, reads_gz=True, once=False):
        self.name, self.command, self.needs, self.reads_gz, self.once = name, command, needs, reads_gz, once


def ours(program, name, memory, k=31, workers=2, more=()):
    common = ["-k", str(k), "--canonical", "--count", "occurrences", "--workers", str(workers), *more]
    return Program(name, lambda reads: [program, *common, "--memory", memory, "--table", "out/table.kmr", reads])


def kmc(k, reads):
    return ["kmc", f"-k{k}", "-t2", "-m2", "-ci1", "-cs4000000000", "-fa", reads, "out/database", "out"]


def peers(k):
    fastk = ["FastK", f"-k{k}", "-t1", "-T2", "-M1", "-Pout", "-Nout/table"]
    jellyfish = ["jellyfish", "count", "-m", str(k), "-C", "-t", "2", "-s", "64M", "-o", "out/table.jf"]
    return [
        Program("KMC", lambda reads: kmc(k, reads), "kmc"),
        Program("FastK", lambda reads: [*fastk, reads], "FastK"),
        Program("jellyfish", lambda reads: [*jellyfish, reads], "jellyfish", reads_gz=False, once=True),
    ]


class Case:
    def __init__(self, name, reads, programs, k=31, gz=False):
        self.name, self.reads, self.programs, self.k, self.gz = name, reads, programs, k, gz
        self.took = {p.name: [] for p in programs}  # what run() said, of each round

    def best(self, name, figure):
        """Of seconds, seconds of processor time, MiB: the least of the rounds. None: it did not run."""
        return min(each[figure] for each in self.took[name]) if self.took.get(name) else None


def cases(program, memory, prototype):
    def usual(k):
        return [*[ours(program, f"kmer_frequency, {size}", size, k) for size in memory], *peers(k)]

    def as_it_was(way):
        words = ["budget=120M", "threads=2", "dir=out", "reps=1"]
        name = "prototype" if way == "dedup" else f"prototype, {way}"
        return [Program(name, lambda reads: [prototype, way, reads, *words], reads_gz=False)] if prototype else []

    direct = ours(program, "kmer_frequency, direct", memory[0], more=["--direct"])
    many = [ours(program, f"kmer_frequency, {n} workers", "256MiB", workers=n) for n in (2, 16)]
    return [
        Case("short", "short", usual(31) + as_it_was("dedup")),
        Case("HiFi-like", "HiFi-like", usual(31) + as_it_was("dedup")),
        Case("short gz", "short", usual(31), gz=True),
        Case("HiFi-like gz", "HiFi-like", usual(31), gz=True),
        Case("1x", "1x", [*usual(31), direct, *as_it_was("dedup"), *as_it_was("direct")]),
        Case("short, k = 55", "short", usual(55), k=55),
        Case("HiFi-like, k = 55", "HiFi-like", usual(55), k=55),
        Case("short, 256MiB", "short", many),
        Case("HiFi-like, 256MiB", "HiFi-like", many),
    ]


def asked(memory):
    """(case, of which program, to that of which, at least); at most where it is below zero."""
    large, small = f"kmer_frequency, {memory[0]}", f"kmer_frequency, {memory[-1]}"
    return [
        ("short", "KMC", large, 6.5),
        ("short", "FastK", large, 5.5),
        ("HiFi-like", "KMC", large, 12),
        ("HiFi-like", "FastK", large, 6),
        ("short gz", "KMC", large, 5.5),
        ("HiFi-like gz", "KMC", large, 8),
        ("short", "KMC", small, 6),
        ("HiFi-like", "KMC", small, 11),
        ("1x", "KMC", large, 4),
        ("1x", "kmer_frequency, direct", large, 0.8),
        ("short, k = 55", "KMC", large, 3.5),
        ("HiFi-like, k = 55", "KMC", large, 3.5),
        ("short, 256MiB", "kmer_frequency, 16 workers", "kmer_frequency, 2 workers", -1.2),
        ("HiFi-like, 256MiB", "kmer_frequency, 16 workers", "kmer_frequency, 2 workers", -1.2),
    ]


def run(command):
    """(seconds, seconds of processor time, MiB) of a process and its children."""
    shutil.rmtree("out", ignore_errors=True)
    os.mkdir("out")
    with open("log", "w") as log:
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"kmers.py: {' '.join(command)} failed\n{Path('log').read_text()}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def must_agree(program, k, reads):
    """kmer_frequency's counts and those of KMC's dump."""
    run(kmc(k, reads))
    subprocess.run(["kmc_tools", "-hp", "transform", "out/database", "dump", "-s", "theirs.tsv"], check=True)
    words = ["-q", "-k", str(k), "--canonical", "--count", "occurrences", "--workers", "2", "--sorted", "-o", "ours.tsv"]
    subprocess.run([program, *words, reads], check=True)
    if subprocess.run(["cmp", "ours.tsv", "theirs.tsv"]).returncode != 0:
        sys.exit(f"kmers.py: the counts of {reads} differ, k = {k}")
    with open("ours.tsv") as lines:
        print(f"the counts of {reads} agree with KMC's, k = {k}: {sum(1 for _ in lines)} distinct", flush=True)
    os.remove("ours.tsv")
    os.remove("theirs.tsv")


def make(reads, gz, share):
    name = f"{reads}.fa"
    if not os.path.exists(name):
        coverage, *others = READS[reads]
        if coverage == 1:
            in_a_child(lambda: write_reads(name, random_bases(int(100_000_000 * share)), 1, *others, len(reads)))
        else:
            in_a_child(lambda: write_reads(name, genome()[1], coverage * share, *others, len(reads)))
    if gz and not os.path.exists(f"{name}.gz"):
        subprocess.run(["gzip", "-1", "-k", name], check=True)
    return f"{name}.gz" if gz else name


def print_tables(all_cases, rounds):
    for case in all_cases:
        size = os.path.getsize(f"{case.reads}.fa.gz" if case.gz else f"{case.reads}.fa")
        print(f"\n{case.name}, {size / 1e6:.1f} MB, {rounds} rounds\n")
        print("| | seconds, best | median | processor time, best | median | peak, MiB | to the first row: seconds |", end="")
        print(" processor time |\n|---|---|---|---|---|---|---|---|")
        base = None
        for name, figures in case.took.items():
            walls, cpus, peaks = zip(*figures)
            base = base or (min(walls), min(cpus))
            print(
                f"| {name} | {min(walls):.2f} | {statistics.median(walls):.2f} | {min(cpus):.2f} |"
                f" {statistics.median(cpus):.2f} | {max(peaks):.0f} | {min(walls) / base[0]:.2f} |"
                f" {min(cpus) / base[1]:.2f} |"
            )


def seconds_of(all_cases):
    """What plot.gp draws: a row for each case, a column for each program that is in several."""
    names = list(dict.fromkeys(name for case in all_cases for name in case.took))
    names = [name for name in names if sum(name in case.took for case in all_cases) > 2 or len(all_cases) < 3]
    rows = [[f'"{name}"' for name in ["case", *names]]]
    for case in all_cases:
        seconds = [case.best(name, 0) for name in names]
        if any(seconds):
            rows.append([f'"{case.name}"', *["?" if each is None else f"{each:.3f}" for each in seconds]])
    return "".join(" ".join(row) + "\n" for row in rows)



def print_asked(all_cases, memory, whole):
    rows = []
    named = {case.name: case for case in all_cases}
    for name, other, one, least in asked(memory):
        case = named.get(name)
        if case is None or not case.took.get(other) or not case.took.get(one):
            continue
        ratios = [case.best(other, figure) / case.best(one, figure) for figure in (0, 1)]
        reached = "reached" if (ratios[0] <= -least if least < 0 else ratios[0] >= least) else "missed"
        asked_for = f"at most {-least}" if least < 0 else f"at least {least}"
        rows.append(
            f"| {name}: {other} / {one} | {ratios[0]:.2f} | {asked_for}{f': {reached}' if whole else ''} |"
            f" {ratios[1]:.2f} | {max(each[2] for each in case.took[one]):.0f} |"
        )
    if rows:
        print("\n| asked | seconds | to reach | processor time | peak, MiB |\n|---|---|---|---|---|", *rows, sep="\n")


def main():
    began = time.monotonic()
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--short", action="store_true")
    words.add_argument("--rounds", type=int)
    words.add_argument("--minutes", type=float, default=12)
    words.add_argument("--only", default="")
    words.add_argument("--memory", default="128MiB,24MiB")
    words.add_argument("--data", type=Path)
    words.add_argument("--plot", type=Path)
    words.add_argument("--prototype")
    built = HERE.parents[1] / "build/release/examples/kmer_frequency/kmer_frequency"
    words.add_argument("program", nargs="?", default=built)
    said = words.parse_args()
    most_rounds = said.rounds or (1 if said.short else 5)
    memory = said.memory.split(",")
    program = str(Path(said.program).resolve())
    if not os.access(program, os.X_OK):
        sys.exit(f"kmers.py: no {program}: cmake --build --preset release --target kmer_frequency")
    if said.plot and not shutil.which("gnuplot"):
        sys.exit("kmers.py: no gnuplot in PATH, which --plot needs")
    plot, data = (path and path.resolve() for path in (said.plot, said.data))

    all_cases = []
    missing = {}
    for case in cases(program, memory, said.prototype and str(Path(said.prototype).resolve())):
        here = [p for p in case.programs if said.only in f"{case.name}: {p.name}" and (p.reads_gz or not case.gz)]
        missing |= {p.needs: p.name for p in here if p.needs and not shutil.which(p.needs)}
        here = [p for p in here if p.needs not in missing]
        if here:
            all_cases.append(Case(case.name, case.reads, here, case.k, case.gz))
    for needs, name in missing.items():
        print(f"left out: {name}, there is no {needs} in PATH")

    with tempfile.TemporaryDirectory(prefix="kmers-", dir=os.environ.get("TMPDIR", "/tmp")) as place:
        os.chdir(place)
        os.environ["SCRATCH_DIR"] = place
        os.environ["LC_ALL"] = "C"
        in_a_child(lambda: print(f"reads of {genome()[0]}"))
        agreed = set()
        for case in all_cases:
            make(case.reads, case.gz, 0.02 if said.short else 1)
            if shutil.which("kmc_tools") and (case.k, case.reads) not in agreed:
                agreed.add((case.k, case.reads))
                must_agree(program, case.k, f"{case.reads}.fa")
        rounds, took = 0, 0.0
        while rounds < most_rounds and (rounds == 0 or time.monotonic() - began + took < 60 * said.minutes):
            start = time.monotonic()
            for case in all_cases:
                reads = make(case.reads, case.gz, None)
                with open(reads, "rb") as file:  # it is in the page cache then
                    while file.read(1 << 20):
                        pass
                for i in range(len(case.programs)):
                    p = case.programs[(i + rounds) % len(case.programs)]
                    if rounds == 0 or not p.once:
                        case.took[p.name].append(run(p.command(reads)))
            took = time.monotonic() - start
            rounds += 1
        print_tables(all_cases, rounds)
        print_asked(all_cases, memory, not said.short)
        os.chdir("/")
        written = data or (plot and Path(place) / "data")
        if written:
            written.write_text(seconds_of(all_cases))
        if plot:
            subprocess.run(["gnuplot", "-e", f"data='{written}'; svg='{plot}'", HERE / "plot.gp"], check=True)


if __name__ == "__main__":
    main()
