# SPDX-License-Identifier: MIT
"""Every numeric option of every program against numbers that are none: numbers.py <program> ..."""
import re
import sys

import common
from common import check, run

COUNTS = ["-1", "-5", "0x10", "1e6", "1k", "nan", "inf", "18446744073709551616", "", "3.5", "+3", "1_000", "1,5", " ", "ten",
          "99999999999999999999999999", "--", "\xb2"]
SIZES = ["-1", "-1MiB", "0x10", "1e6", "nan", "inf", "18446744073709551616", "", "1.5GiB", "16777216TiB", "1XB", "MiB", "1 2", "+3",
         "9999999999999999999999"]
SHARES = ["-0.1", "nan", "inf", "0x1", "", "1e400", "half", "0.1.2", "1e", "+1"]
TIMES = ["-1", "-1s", "nan", "inf", "0x10", "", "1e3s", "1y", "s", "1.2.3s", "99999999999999999999d"]

# (program, words before, option, bad numbers, more words)
OPTIONS = [("kmer_frequency", [], option, COUNTS, ["reads.fa"])
           for option in ("-k", "--occurrence-bits", "--min-count", "--max-appearance-nrow", "--top", "--workers")]
OPTIONS += [("kmer_frequency", [], option, SIZES, ["reads.fa"]) for option in ("--memory", "--need", "--quota")]
OPTIONS += [("kmer_frequency", [], "--max-appearance-rate", SHARES, ["reads.fa"]),
            ("kmer_frequency", [], "--simulate-reads", COUNTS, ["-o", "made", "reads.fa"])]
OPTIONS += [("kmer_frequency", ["--simulate-reads", "5"], option, COUNTS, ["-o", "made", "reads.fa"])
            for option in ("--read-length", "--seed")]
OPTIONS += [("kmer_frequency", ["--simulate-reads", "5"], "--error-rate", SHARES + ["1.01", "2"], ["-o", "made", "reads.fa"])]
OPTIONS += [("external_sort", ["sort", "-o", "made"], option, SIZES, ["records"]) for option in ("--memory", "--quota", "--low-space")]
OPTIONS += [("external_sort", ["sort", "-o", "made"], "--workers", COUNTS + ["0", "257"], ["records"])]
OPTIONS += [("external_sort", ["generate", "-o", "made"], "-n", COUNTS, []),
            ("external_sort", ["generate", "-o", "made", "-n", "1"], "--seed", COUNTS, [])]
OPTIONS += [("external_sort", ["sort", "-o", "made"], "--record", COUNTS + ["0", "1073741825"], ["records"]),
            ("external_sort", ["generate", "-o", "made", "-n", "1"], "--record", COUNTS + ["0"], []),
            ("external_sort", ["check"], "--record", COUNTS + ["0"], ["records"])]
OPTIONS += [("table_export", ["t"], option, SIZES, ["rows.csv"]) for option in ("--need", "--quota")]
OPTIONS += [("table_export", ["t"], option, SIZES + ["0"], ["rows.csv"]) for option in ("--chunk-size", "--max-row")]
OPTIONS += [("table_export", ["t"], "--rows", COUNTS, ["rows.csv"])]
OPTIONS += [("scratchctl", ["count", "records"], "--top", COUNTS, []), ("scratchctl", ["watch", "."], "--times", COUNTS, []),
            ("scratchctl", ["watch", "."], "--every", TIMES + ["0", "0s"], ["--times", "1"]),
            ("scratchctl", ["sweep", "."], "--older-than", TIMES, []),
            ("scratchctl", ["run"], "--retry", COUNTS, ["--", "touch", "made"])]

programs = common.programs(sys.argv[1:])
with common.Work() as work:
    (work.path / "reads.fa").write_text(">a\nACGTACGTTGCATTAGGACCATAGAT\n")
    (work.path / "records").write_bytes(b"x" * 200)
    (work.path / "rows.csv").write_text("1,a\n")
    for program, before, option, numbers, more in OPTIONS:
        for number in numbers:
            if number == "--" and program != "external_sort":
                continue
            code, out, err = run(programs[program], *before, f"{option}={number}" if option.startswith("--") else option,
                                 *([] if option.startswith("--") else [number]), *more)
            what = f"{program} {option} {number!r}: {code} {err!r}"
            check(code == 2, "not refused as a wrong command line:", what)
            check(err.count("\n") == 1 and err.startswith(program + ": "), "not one line:", what)
            check(option in err or option == "-n" and "--records" in err, "without the option's name:", what)
            check(not (work.path / "made").exists() and not work.sessions(), "something was made:", what)
    # No numeric option is forgotten.
    known = {(program, option) for program, _, option, _, _ in OPTIONS} | {("external_sort", "--records")}
    helps = [(program, []) for program in programs]
    for program in programs:
        _, out, _ = run(programs[program], "--help")
        helps += [(program, [word]) for word in re.findall(r"^  ([a-z]+)  ", out.decode().partition("\nSubcommands:\n")[2], re.M)]
    check({("external_sort", "generate"), ("scratchctl", "run")} <= {(program, *words) for program, words in helps}, helps)
    for program, words in helps:
        _, out, _ = run(programs[program], *words, "--help")
        for short, long, kind in re.findall(r"^  (?:(-\w)(?:, )?)?(--[\w-]+)? ([A-Z]+)\b", out.decode(), re.M):
            if kind in ("UINT", "INT", "FLOAT", "N", "SIZE", "TIME", "R", "B", "NUMBER"):
                check({(program, short), (program, long)} & known, "an option is forgotten:", program, short, long, kind)
    # What is right stays right: leading zeros are no octal number, shares are exact.
    rows = "".join(f">{i}\nACGTACGT\n" if i < 29 else f">{i}\nTTTTTTTT\n" for i in range(100))
    (work.path / "hundred.fa").write_text(rows)
    kmers = programs["kmer_frequency"]
    code, out, _ = run(kmers, "-q", "-k", "010", "reads.fa")
    check(code == 0 and all(len(line.split()[0]) == 10 for line in out.decode().splitlines()), "010 is not ten")
    for rate, expected in (("0.29", False), ("0.28", True), ("0.2899999999", True), ("29e-2", False), (".29", False)):
        _, out, _ = run(kmers, "-q", "-k", "8", "--max-appearance-rate", rate, "hundred.fa")
        check((b"ACGTACGT" in out) == expected, "29 of 100 rows and a rate of", rate, out)
    for size, expected in (("64MiB", 0), ("64mb", 0), ("67108864", 0), ("64M", 0), ("064MiB", 0), ("1KiB", 2)):
        code, _, err = run(kmers, "-q", "-k", "8", "--memory", size, "--workers", "1", "hundred.fa")
        check(code == expected, "--memory", size, code, err)
    code, _, err = run(kmers, "--min-count", "2e3", "reads.fa")
    check("type 2000" in err, "no word about what to type:", err)
common.finish()
