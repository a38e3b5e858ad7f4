# SPDX-License-Identifier: MIT
"""What kmer_frequency counts in odd but legal files, against counts made here; damaged and cut files through the program; and
inputs that wait: inputs.py <kmer_frequency> <table_export>"""
import collections
import gzip
import os
import random
import re
import subprocess
import sys
import time

import common
from common import check, run

programs = common.programs(sys.argv[1:])
kmers, export = programs["kmer_frequency"], programs["table_export"]
K = 5


def counted(rows):
    counts = collections.Counter()
    for row in rows:
        for piece in re.findall("[ACGT]+", row.upper().replace("U", "T")):
            for i in range(len(piece) - K + 1):
                counts[piece[i:i + K]] += 1
    return counts


def count(*files, **more):
    code, out, err = run(kmers, "-k", K, "--count", "occurrences", "--workers", "1", *files, **more)
    return code, collections.Counter({line.split("\t")[0]: int(line.split("\t")[1]) for line in out.decode().splitlines()}), err


def said(err):
    """What of it is about the input."""
    return [line for line in err.splitlines() if "notice" in line or line.startswith(("other letters", "kmer_frequency"))]


def odd_files(dice):
    """(text, rows): ends of lines, blanks, cases, letters, empty records, marks."""
    letters = dice.choice(["ACGT", "ACGTacgt", "ACGTN", "ACGURYKMN", "acgtnACGTSWBDHV"])
    rows = ["".join(dice.choices(letters, k=dice.choice([0, 1, K, 40, 200]))) for _ in range(dice.randint(1, 6))]
    rows[0] += "ACGTACGT"
    end = lambda: dice.choice(ends)
    ends = dice.choice([["\n"], ["\r\n"], ["\r"], ["\n", "\r\n", "\r"]])
    text = dice.choice(["", "", "\ufeff"]) + "".join(end() for _ in range(dice.choice([0, 0, 2])))
    fastq = dice.random() < 0.5
    for i, row in enumerate(rows):
        text += ("@" if fastq else ">") + dice.choice(["r%d", "a longer name %d\tand more", "%d >@+"]) % i + end()
        width = 1000 if fastq else dice.choice([7, 60, 1000])
        blank = dice.choice(["", "", " ", "\t"])
        for at in range(0, max(len(row), 1), width):
            piece = row[at:at + width]
            text += piece[:3] + (blank if piece[:3] else "") + piece[3:] + end()
        if fastq:
            text += "+" + end() + "".join(dice.choices("!+@>IJ~", k=len(row))) + end()
    if not fastq and rows[-1] and dice.random() < 0.2:
        text = text.rstrip("\r\n")
    return text.encode(), rows


with common.Work() as work:
    dice = random.Random(23)
    paths, all_rows = [], []
    for i in range(40):
        data, rows = odd_files(dice)
        path = work.path / f"odd{i}.{'fa.gz' if i % 3 == 0 else 'fa'}"
        path.write_bytes(gzip.compress(data[:50]) + gzip.compress(data[50:]) if i % 3 == 0 else data)
        paths.append(path)
        all_rows += rows
        code, counts, err = count(path)
        check(code == 0 and counts == counted(rows), "file", i, code, err, data[:200], counts - counted(rows), counted(rows) - counts)
        check("U is read as T" in err or "U" not in "".join(rows).upper(), "no word about U", err)
    # Empty files among others are said.
    (work.path / "empty.fa").write_bytes(b"")
    (work.path / "empty.fa.gz").write_bytes(gzip.compress(b""))
    code, counts, err = count("empty.fa", *paths, "empty.fa.gz")
    check(code == 0 and counts == counted(all_rows), "all together", code, err)
    check('"empty.fa" is empty' in err and '"empty.fa.gz" is empty' in err, "no word about empty files", err)
    code, counts, err = count("-q", "empty.fa", paths[1])
    check('"empty.fa" is empty' in err, "--quiet silences a notice", err)

    # A row longer than all memory, in lines and as one line; a name that is one.
    long_row = "".join(random.Random(1).choices("ACGT", k=3_000_000))
    (work.path / "long.fa").write_text(">" + "n" * 3_000_000 + "\n" + long_row + "\n>b\n" + "\n".join(
        long_row[i:i + 70] for i in range(0, len(long_row), 70)) + "\n")
    expected = counted([long_row, long_row])
    for how in (["--memory", "32MiB"], ["--memory", "32MiB", "--workers", "2", "--memory", "40MiB"], ["--processes", "--memory", "40MiB"]):
        code, counts, err = count(*how, "long.fa")
        check(code == 0 and counts == expected, "a long row", how, code, err)
    code, out, err = run(kmers, "-q", "-k", "11", "--memory", "40MiB", "--workers", "2", "--occurrence-bits", "1", "long.fa")
    again, out2, _ = run(kmers, "-q", "-k", "11", "--memory", "256MiB", "--workers", "1", "--occurrence-bits", "1", "--processes", "long.fa")
    check(code == again == 0 and sorted(out.splitlines()) == sorted(out2.splitlines()), "a long row counted once a row", code, err)

    # Twenty damages and twenty cuts of each kind, through the program.
    fasta = b">one\nACGTACGTTGCANNACGTAGGCT\nTTGACCAGTAGGACCATTAG\n>two\nacgtgcatgcaagctagctaRYacgtagct\n" * 2
    fastq = b"@one\nACGTACGTTGCANNACGTAGGCT\n+\nIIIIIIIIIIIIIIIII@III>I\n@two\nTTGACCAGTAGGACCATTAG\n+\n+IIIIIIIIIIII!IIIIII\n" * 2
    for name, data in (("fasta", fasta), ("fastq", fastq), ("fasta.gz", gzip.compress(fasta)), ("fastq.gz", gzip.compress(fastq))):
        (work.path / name).write_bytes(data)
        code, whole, words = count(name)
        check(code == 0 and whole, name, code, words)
        text = not name.endswith(".gz")
        for i in range(20):
            at = len(data) * i // 20
            if text and data[at:at + 1] == b"\n":
                at += 1
            damaged = bytearray(data)
            damaged[at] ^= 0xFF if i % 2 else 1
            cut = data[:at + (1 if text and data[at - 1:at] == b"\n" else 0)]
            for what, bad in (("damaged", bytes(damaged)), ("cut", cut)):
                (work.path / "bad").write_bytes(bad)
                code, counts, err = count("bad")
                check(code == 1 or counts == whole or said(err) != said(words), name, what, "at", at, code, err)
                check(code in (0, 1) and (code == 0 or err.count("\n") == 1), name, what, "at", at, code, err)

    # A non-blocking standard input is waited for.
    process = subprocess.Popen([kmers, "-q", "-k", "5", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.set_blocking(process.stdin.fileno(), False)
    process.stdin.write(b">a\nACGTAC")
    process.stdin.flush()
    time.sleep(0.2)
    process.stdin.write(b"GT\n")
    out, err = process.communicate(timeout=60)
    check(process.returncode == 0 and out.count(b"\n") == 4, "a non-blocking input", process.returncode, err)

    # csv: a quote that does not close, in bounded memory; a producer that fails; a number of rows.
    (work.path / "open.csv").write_bytes(b'1,a\n2,"b\n' + b"x" * 5_000_000)
    code, _, err = run(export, "t", "-q", "--max-row", "1MiB", "open.csv")
    check(code == 1 and "row 2 " in err and "quote" in err and "--max-row" in err, "an open quote", code, err)
    code, _, err = run(export, "t", "-q", "open.csv")
    check(code == 1 and "within quotes" in err and "row 2" in err, "an open quote at the end", code, err)
    (work.path / "rows.csv").write_bytes(b"1,a\n2,b")
    code, _, err = run(export, "t", "-q", "rows.csv")
    check(code == 0 and "may have been cut" in err, "a last line without an end", code, err)
    check(run(export, "t", "-q", "--rows", "2", "rows.csv")[0] == 0, "the right number of rows")
    code, _, err = run(export, "t", "-q", "--rows", "3", "rows.csv")
    check(code == 1 and "2 rows, and not 3" in err, "the wrong number of rows", code, err)
    code, _, err = run(export, "t", "-q", "--", "sh", "-c", "echo 1,a; echo 2,b")
    check(code == 0 and not err, "a command that makes the table", code, err)
    code, _, err = run(export, "t", "-q", "--reader", f"{os.path.dirname(export)}/table_export_reader $SESSION_DIR 2>said; true", "--", "sh", "-c",
                       "echo 1,a; exit 3")
    check(code == 1 and "sh ended with exit code 3" in err, "a producer that failed", code, err)
    check("the export failed" in (work.path / "said").read_text(), "its reader was not told")
    (work.path / "cr.csv").write_bytes(b"1,a\r2,b\r")
    code, _, err = run(export, "t", "-q", "cr.csv")
    check(code == 1 and "carriage return" in err, "lines that end with CR", code, err)
    check(not work.sessions(), "sessions are left:", work.sessions())
common.finish()
