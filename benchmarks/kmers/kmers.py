#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kmer_frequency beside KMC, FastK and jellyfish: the same reads, canonical 31-mers, two threads, in turns.

  benchmarks/kmers/kmers.py [--short] [--rounds N] [--only WORD] [--memory SIZE,SIZE] [--data FILE]
                            [--prototype PROGRAM] [kmer_frequency]

The reads are made here, the same every time, of a bacterium's genome: E. coli 536, NC_008253.1, from Debian's
bowtie-examples, or of GENOME=file.fa[.gz]; where neither is there, of 4.6 million random bases. Each program goes from
reads in the page cache to its own table or database; it is a process of its own, whose processor time and peak memory
the kernel tells (a peak is at least this program's, some 15 MiB). In every round each program runs once, and another
one is the first. Printed are the best and the median of the rounds. Before the first round kmer_frequency's counts are
compared with KMC's dump, where KMC is there. Peers that are not in PATH are left out, by name.

--short: a fiftieth of the reads, one round. --only: inputs and programs with this word in "input: program". --memory:
kmer_frequency's, 128MiB and 24MiB unless said. --data: what plot.gp draws. TMPDIR says where all this is done.
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


class Input:
    def __init__(self, name, coverage, shortest, longest, errors, gz=False):
        self.name, self.coverage, self.lengths = name, coverage, (shortest, longest)
        self.errors, self.gz = errors, gz


SHORT = ("short", 30, 100, 100, 0.01)
HIFI = ("HiFi-like", 60, 8_000, 22_000, 0.001)
INPUTS = [Input(*SHORT), Input(*HIFI), Input(*SHORT, gz=True), Input(*HIFI, gz=True), Input("1x", 1, 150, 150, 0.005)]


class Program:
    """`command(reads)` is what it is started as; `needs` what must be in PATH."""

    def __init__(self, name, command, needs=None, reads_gz=True):
        self.name, self.command, self.needs, self.reads_gz = name, command, needs, reads_gz


def ours(program, memory):
    common = ["-k", "31", "--canonical", "--count", "occurrences", "--workers", "2"]
    return lambda reads: [program, *common, "--memory", memory, "--table", "out/table.kmr", reads]


def programs(program, memory, prototype):
    kmc = ["kmc", "-k31", "-t2", "-m2", "-ci1", "-cs4000000000", "-fa"]
    fastk = ["FastK", "-k31", "-t1", "-T2", "-M1", "-Pout", "-Nout/table"]
    jellyfish = ["jellyfish", "count", "-m", "31", "-C", "-t", "2", "-s", "64M", "-o", "out/table.jf"]
    all_of_them = [
        *[Program(f"kmer_frequency, {size}", ours(program, size)) for size in memory],
        Program("KMC", lambda reads: [*kmc, reads, "out/database", "out"], "kmc"),
        Program("FastK", lambda reads: [*fastk, reads], "FastK"),
        Program("jellyfish", lambda reads: [*jellyfish, reads], "jellyfish", reads_gz=False),
    ]
    if prototype:
        words = ["budget=120M", "threads=2", "dir=out", "reps=1"]
        all_of_them.append(Program("prototype", lambda reads: [prototype, "dedup", reads, *words], reads_gz=False))
    for each in all_of_them:
        if each.needs and not shutil.which(each.needs):
            print(f"left out: {each.name}, there is no {each.needs} in PATH")
    return [each for each in all_of_them if not each.needs or shutil.which(each.needs)]


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


def must_agree(program, reads):
    """kmer_frequency's counts and those of KMC's dump."""
    run(["kmc", "-k31", "-t2", "-m2", "-ci1", "-cs4000000000", "-fa", reads, "out/database", "out"])
    subprocess.run(["kmc_tools", "-hp", "transform", "out/database", "dump", "-s", "theirs.tsv"], check=True)
    words = ["-q", "-k", "31", "--canonical", "--count", "occurrences", "--workers", "2", "--sorted", "-o", "ours.tsv"]
    subprocess.run([program, *words, reads], check=True)
    if subprocess.run(["cmp", "ours.tsv", "theirs.tsv"]).returncode != 0:
        sys.exit(f"kmers.py: the counts of {reads} differ")
    with open("ours.tsv") as lines:
        print(f"the counts of {reads} agree with KMC's: {sum(1 for _ in lines)} distinct", flush=True)
    os.remove("ours.tsv")
    os.remove("theirs.tsv")


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--short", action="store_true")
    words.add_argument("--rounds", type=int)
    words.add_argument("--only", default="")
    words.add_argument("--memory", default="128MiB,24MiB")
    words.add_argument("--data", type=Path)
    words.add_argument("--prototype")
    built = HERE.parents[1] / "build/release/examples/kmer_frequency/kmer_frequency"
    words.add_argument("program", nargs="?", default=built)
    said = words.parse_args()
    rounds = said.rounds or (1 if said.short else 5)
    program = str(Path(said.program).resolve())
    if not os.access(program, os.X_OK):
        sys.exit(f"kmers.py: no {program}: cmake --build --preset release --target kmer_frequency")
    if said.data:
        said.data = said.data.resolve()
    all_programs = programs(program, said.memory.split(","), said.prototype and str(Path(said.prototype).resolve()))

    with tempfile.TemporaryDirectory(prefix="kmers-", dir=os.environ.get("TMPDIR", "/tmp")) as place:
        os.chdir(place)
        os.environ["SCRATCH_DIR"] = place
        os.environ["LC_ALL"] = "C"
        in_a_child(lambda: print(f"reads of {genome()[0]}"))
        rows = []  # (input, program, [what run() said])
        for each in INPUTS:
            title = each.name + (" gz" if each.gz else "")
            here = [p for p in all_programs if said.only in f"{title}: {p.name}" and (p.reads_gz or not each.gz)]
            if not here:
                continue
            reads = f"{each.name}.fa"
            if not os.path.exists(reads):
                coverage = each.coverage / 50 if said.short and each.coverage > 1 else each.coverage
                made_of = (coverage, *each.lengths, each.errors, len(each.name))
                in_a_child(lambda: write_reads(reads, genome()[1], *made_of))
                if shutil.which("kmc_tools"):
                    must_agree(program, reads)
            if each.gz:
                subprocess.run(["gzip", "-1", "-k", "-f", reads], check=True)
                reads += ".gz"
            with open(reads, "rb") as file:  # it is in the page cache then
                while file.read(1 << 20):
                    pass
            took = {p.name: [] for p in here}
            for turn in range(rounds):
                for i in range(len(here)):
                    p = here[(i + turn) % len(here)]
                    took[p.name].append(run(p.command(reads)))
            rows.append((title, os.path.getsize(reads), took))
        os.chdir("/")

    lines = []
    for title, size, took in rows:
        print(f"\n{title}, {size / 1e6:.1f} MB, {rounds} rounds\n")
        print("| | seconds, best | median | processor time, best | median | peak, MiB | seconds to the first row |")
        print("|---|---|---|---|---|---|---|")
        base = None
        lines.append(f'\n\n"{title}" seconds processor MiB')
        for p, figures in took.items():
            walls, cpus, peaks = zip(*figures)
            base = base or min(walls)
            print(
                f"| {p} | {min(walls):.2f} | {statistics.median(walls):.2f} | {min(cpus):.2f} |"
                f" {statistics.median(cpus):.2f} | {max(peaks):.0f} | {min(walls) / base:.2f} |"
            )
            lines.append(f'"{p}" {min(walls):.3f} {min(cpus):.3f} {max(peaks):.0f}')
    if said.data:
        said.data.write_text("\n".join(lines).lstrip() + "\n")


if __name__ == "__main__":
    main()
