# SPDX-License-Identifier: MIT
"""What a count says at its start that it will take: reckoned.py <kmer_frequency>. A quota is the measure of what it takes."""
import gzip
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

import common
from common import check, run

MiB = 1 << 20
WITHIN = 1.3
kmers = common.programs(sys.argv[1:])["kmer_frequency"]


def genome(bases):
    return random.Random(bases).randbytes(bases).translate(bytes(b"ACGT"[i % 4] for i in range(256)))


def simulated(name, times, length, errors):
    """Reads of genome.fa"""
    code, _, err = run(kmers, "--simulate-reads", times * SIZE // length, "--read-length", length, "--error-rate", errors,
                       "-q", "-o", name, "genome.fa")
    check(code == 0, err)
    return pathlib.Path(name).read_bytes()


SIZE = 300000


def make_inputs():
    pathlib.Path("genome.fa").write_bytes(b">g\n" + genome(SIZE) + b"\n")
    reads = simulated("short.fa", 30, 150, 0.004)
    simulated("long.fa", 60, 10000, 0.0001)
    lines = genome(5000000)
    pathlib.Path("row.fa").write_bytes(b">g\n" + b"".join(lines[i:i + 70] + b"\n" for i in range(0, len(lines), 70)))
    pathlib.Path("poly.fa").write_bytes(b"".join(b">%d\n" % i + b"A" * 150 + b"\n" for i in range(40000)))
    pathlib.Path("short.fa.gz").write_bytes(gzip.compress(reads, 4))
    dice = random.Random(1)
    with open("mixed.fq", "wb") as out:
        for i, row in enumerate(line for line in reads.splitlines() if not line.startswith(b">")):
            if i % 3 == 0:
                row = row.lower()
            if i % 5 == 0:
                at = dice.randrange(len(row))
                row = row[:at] + b"N" + row[at + 1:]
            out.write(b"@%d\n" % i + row + b"\n+\n" + b"@" * len(row) + b"\n")


def takes(command, quota):
    """Whether it has to have more."""
    code, _, err = run(*command, "-q", "--need", 0, "--quota", int(quota))
    check(code == 0 or (code == 1 and "quota exceeded" in err), command, code, err)
    for kept in re.findall("it is kept as (.*)/", err):
        shutil.rmtree(kept)
    return code != 0


def reckoned(*command):
    code, _, err = run(*command)
    need = re.search(r"^reckoned +([\d.]+) ([KM])iB for ", err, re.M)
    check(code == 0 and need, command, code, err)
    return float(need.group(1)) * (MiB if need.group(2) == "M" else 1024) if need else 0


def ratio(*command):
    """What is reckoned, in units of what it takes, to a few hundredths"""
    said = reckoned(*command)
    least, most = said / WITHIN / 1.05, said * WITHIN * 1.05
    if check(takes(command, least), command, "takes less than", least, "of", said) and check(
            not takes(command, most), command, "takes more than", most, "and said", said):
        while most / least > 1.06:
            middle = (most * least) ** 0.5
            least, most = (middle, most) if takes(command, middle) else (least, middle)
        return said / (most * least) ** 0.5
    return 0


def right_for_inputs_of_all_kinds():
    every = ("-k", 31, "--canonical", "--count", "occurrences")
    part, all_of_it = (), ("--looked-at", "16MiB")
    little, much = ("--memory", "32MiB"), ("--memory", "256MiB")
    for file, *how in (("short.fa", *every, *part, *much, "-o", "made"), ("long.fa", *every, *part, *little, "--table", "made"),
                       ("row.fa", *every, *part, *little, "-o", "made"), ("row.fa", "-k", 51, *all_of_it, *much, "--table", "made"),
                       ("poly.fa", "-k", 21, "--occurrence-bits", 8, *part, *much, "--table", "made"),
                       ("short.fa.gz", *every, *part, *little, "--table", "made"),
                       ("mixed.fq", *every, *part, *much, "-o", "made")):
        found = ratio(kmers, "--workers", 2, *how, file)
        print(f"{file} {' '.join(map(str, how))}: reckoned / real {found:.2f}")
        check(1 / WITHIN <= found <= WITHIN, file, "is reckoned", found)


# A file system in memory, of so many bytes, that nobody else sees, and the command.
IN_ROOM_OF = """
mkdir -p room && mount --make-rprivate / && mount -t tmpfs -o size=$1 room room || exit 77
shift
"$@"
code=$?
ls -A room/place | grep -q session && echo "left behind: $(ls -A room/place)"
exit $code
"""


def refused_is_what_cannot_fit():
    def in_room_of(size, *command):
        return run("unshare", "-m" if os.geteuid() == 0 else "-mr", "sh", "-c", IN_ROOM_OF, "sh", int(size), *command, "--place", "room/place")

    if in_room_of(MiB, "mkdir")[0] == 77:
        print("not tried: no file system can be mounted here")
        return
    # Many rows that are equal fit where as many that differ would not.
    code, out, err = in_room_of(MiB, kmers, "-q", "--table", "made", "poly.fa")
    check(code == 0 and out + err.encode() == b"", "equal rows are refused:", code, out, err)
    rows = (kmers, "-k", 31, "--count", "occurrences", "--table", "made", "row.fa")
    said = reckoned(*rows)
    code, out, err = in_room_of(said * 0.7, *rows)
    check(code == 1 and out == b"" and re.fullmatch(
        r"kmer_frequency: [^\n]*not enough free space[^\n]*; reckoned are [^\n]* k-mers that differ: [^\n]* \(--need\)\n", err),
        "what cannot fit:", code, out, err)
    # Of what was not looked at nobody knows: it is tried, and said.
    code, out, err = in_room_of(said * 0.7, *rows, "--looked-at", "1MiB")
    check(code == 1 and out == b"" and err.startswith("kmer_frequency: notice: there may be too little room: ")
          and "o space left" in err, "what may fit:", code, out, err)
    code, out, err = in_room_of(said * 1.3, *rows, "-q")
    check(code == 0 and err == "", "what fits:", code, out, err)


if __name__ == "__main__":
    with common.Work() as work:
        make_inputs()
        right_for_inputs_of_all_kinds()
        refused_is_what_cannot_fit()
        check(not work.sessions(), "left behind:", work.sessions())
    common.finish()
