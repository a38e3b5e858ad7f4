# SPDX-License-Identifier: MIT
"""How jobs end: signals and closed pipes at twenty instants of each program, failures that are told at once, and two jobs for
one result: ends.py <program> ..."""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import common
from common import check, run

what = sys.argv[1]
programs = common.programs(sys.argv[2:])
kmers, sorting, export, reader, control = (
    programs[n] for n in ("kmer_frequency", "external_sort", "table_export", "table_export_reader", "scratchctl"))
dice = random.Random(7)
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def start(*command, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, **options)


def nothing_runs(work, what):
    for _ in range(200):
        if not work.processes():
            return
        time.sleep(0.01)
    check(False, what, "processes still run:", work.processes())


def signals_at_twenty_instants(work, name, command, clean):
    def seconds():
        began = time.monotonic()
        code, _, err = run(*command)
        check(code == 0, name, "does not run:", code, err)
        clean()
        return time.monotonic() - began

    whole = min(seconds() for _ in range(3))
    hit = 0
    for i in range(20):
        number = SIGNALS[i % 3]
        process = start(*command)
        time.sleep(0.02 + whole * i / 20)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        where = f"{name}, {number.name} at {i}/20:"
        early = process.returncode == -number and i < 2  # before it was ready for signals, and made anything
        hit += process.returncode == 128 + number
        check(process.returncode in (0, 128 + number) or early, where, process.returncode, err)
        check(process.returncode == 0 or not err or b"notice" in err, where, "words:", err)
        nothing_runs(work, where)
        check(not work.sessions(), where, "left", work.sessions())
        clean(process.returncode)
    check(hit >= 5, name, "was hit only", hit, "times; a whole run takes", whole, "s")
    print(f"{name:40} {hit} of 20 signals came in time")


def closed_pipe_at_twenty_instants(work, name, command):
    whole = len(run(*command)[1])
    check(whole > 400000, name, "writes too little:", whole)
    for i in range(20):
        process = start(*command)
        process.stdout.read(1 + i * (whole - 300000) // 20)
        process.stdout.close()
        err = process.stderr.read()
        code = process.wait(timeout=60)
        check(code == 141 and not err, name, "closed at", i, "of 20:", code, err)
        nothing_runs(work, name)
        check(not work.sessions(), name, "left", work.sessions())


def wait_until(condition, what):
    for _ in range(2000):
        if condition():
            return True
        time.sleep(0.01)
    return check(False, "it never came to this:", what)


def ignore_children():
    """As daemons do, and whom they start inherits it: the kernel then tells nobody how a child ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def told_at_once(work):
    """The input stays open: nothing but the failure ends these."""
    for ignoring in (None, ignore_children):
        process = start(kmers, "-q", "--workers", "2", "-k", "21", "--processes", "-", stdin=subprocess.PIPE, preexec_fn=ignoring)
        process.stdin.write(b">a\n" + b"ACGTTGCA" * 100 + b"\n")
        process.stdin.flush()
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: len(children.read_text().split()) == 2 and work.sessions(), "two workers")
        victim = int(children.read_text().split()[1])
        os.kill(victim, signal.SIGKILL)
        code = process.wait(timeout=20)
        err = process.stderr.read().decode()
        check(code == 1 and f"(process {victim}) was killed by signal 9" in err, "a killed worker", code, err)
        process.stdin.close()
        nothing_runs(work, "a killed worker")
        check(not work.sessions(), "a killed worker leaves", work.sessions())
    # A thread that fails wakes the one that waits for the input.
    process = start(kmers, "-q", "--workers", "2", "-k", "21", "--memory", "40MiB", "--quota", "200KiB", "-", stdin=subprocess.PIPE)
    lines = "".join(f">{i}\n{''.join(dice.choices('ACGT', k=100))}\n" for i in range(1000)).encode()
    try:
        for _ in range(1000):
            process.stdin.write(lines)
        process.stdin.flush()
    except BrokenPipeError:
        pass
    code = process.wait(timeout=60)
    err = process.stderr.read().decode()
    check(code == 1 and "worker " in err and "quota" in err and err.count("\n") == 1, "a thread that fails", code, err)
    check(not work.sessions(), "a thread that fails leaves", work.sessions())
    for ignoring in (None, ignore_children):
        process = start(export, "t", "-q", "--", "sh", "-c", "echo 1,a row; exit 3", preexec_fn=ignoring)
        err = process.stderr.read().decode()
        check(process.wait(timeout=20) == 1 and "sh ended with exit code 3" in err, "a command that fails", process.returncode, err)
        check(not work.sessions(), "a command that fails leaves", work.sessions())
        process = start(control, "run", "--place", ".", "--", "sh", "-c", "exit 3", preexec_fn=ignoring)
        err = process.stderr.read().decode()
        check(process.wait(timeout=20) == 3, "scratchctl run of a command that fails", process.returncode, err)
        read, write = os.pipe()
        process = start(export, "t", "-q", "--reader", "exit 3", stdin=read, preexec_fn=ignoring)
        os.write(write, b"1,a row\n2,another row\n")
        code = process.wait(timeout=20)
        err = process.stderr.read().decode()
        check(code == 1 and "the reader ended with exit code 3" in err, "a reader that fails", code, err)
        os.close(read), os.close(write)
        check(not work.sessions(), "a reader that fails leaves", work.sessions())


def two_jobs_for_one_result(work):
    refused = 0
    for i in range(50):
        jobs = [start(kmers, "-q", "--workers", "1", "-k", "8", "-o", "result", "-", stdin=subprocess.PIPE) for _ in range(2)]
        wait_until(lambda: any(job.poll() is not None for job in jobs), "one of two jobs is refused")
        loser = next(job for job in jobs if job.poll() is not None)
        winner = jobs[1] if loser is jobs[0] else jobs[0]
        loser.stdin.close()
        err = loser.stderr.read()
        refused += check(loser.returncode == 1 and b"another job is writing it" in err, "race", i, loser.returncode, err)
        winner.stdin.write(b">a\nACGTACGTAC\n")
        winner.stdin.close()
        err = winner.stderr.read()
        check(winner.wait(timeout=60) == 0 and pathlib.Path("result").read_bytes().count(b"\n") == 3, "race", i, "the winner", err)
        os.unlink("result")
    print(f"kmer_frequency: of two jobs for one result {refused} of 50 times one was refused at its start, none was lost")
    run(sorting, "generate", "-n", "2000", "--text", "-o", "small")
    done = 0
    for i in range(50):
        jobs = [start(sorting, "sort", "-q", "--memory", "32MiB", "-o", "set", "small") for _ in range(2)]
        codes = [(job.wait(timeout=60), job.stderr.read()) for job in jobs]
        check(sorted(code for code, _ in codes) == [0, 1], "race of sorts", i, codes)
        done += run(sorting, "check", "set")[1].count(b"records: 2000")
        shutil.rmtree("set", ignore_errors=True)
    check(done == 50, "sets are not whole:", done)
    # What a killed job left beside its result is taken over.
    job = start(kmers, "-q", "-k", "8", "-o", "result", "-", stdin=subprocess.PIPE)
    wait_until(lambda: list(work.path.glob(".scratch-result-*")), "the lock of a result")
    job.kill()
    job.wait()
    check(len(list(work.path.glob(".scratch-result-*"))) == 1, "nothing was left to take over")
    code, _, err = run(kmers, "-q", "-k", "8", "-o", "result", "one.fa")
    check(code == 0 and not list(work.path.glob(".scratch-result-*")), "taking over what was left", code, err)


with common.Work() as work:
    (work.path / "one.fa").write_text(">a\nACGTACGTAC\n")
    genome = "".join("ACGT"[(i * i * 2654435761 >> 7) & 3] for i in range(5000))
    (work.path / "genome.fa").write_text(">g\n" + genome + "\n")
    run(kmers, "--simulate-reads", "40000", "--read-length", "100", "--error-rate", "0.1", "-o", "reads.fa", "genome.fa")
    run(sorting, "generate", "-n", "300000", "--text", "-o", "records")
    with open("rows.csv", "w") as rows:
        for i in range(300000):
            rows.write(f"{i},row number {i}\n")

    def gone(name):
        def clean(code=0):
            there = pathlib.Path(name).exists()
            check(not code or not there, name, "is there, and the exit code is", code)
            shutil.rmtree(name) if os.path.isdir(name) else os.path.exists(name) and os.unlink(name)
            left = list(work.path.glob(".scratch-*"))
            check(not left or code == -1, "left beside a result:", left)
        return clean

    base = ["-q", "--workers", "2", "--memory", "64MiB", "-k", "25", "--sorted"]
    if what == "signals":
        signals_at_twenty_instants(work, "kmer_frequency", [kmers, *base, "-o", "out", "reads.fa"], gone("out"))
        signals_at_twenty_instants(work, "kmer_frequency --processes", [kmers, *base, "--processes", "-o", "out", "reads.fa"],
                                   gone("out"))
        signals_at_twenty_instants(work, "external_sort", [sorting, "sort", "-q", "--memory", "32MiB", "-o", "out", "records"],
                                   gone("out"))
        signals_at_twenty_instants(work, "external_sort --processes",
                                   [sorting, "sort", "-q", "--memory", "48MiB", "--processes", "-o", "out", "records"], gone("out"))
        signals_at_twenty_instants(work, "table_export", [export, "t", "-q", "--chunk-size", "4KiB", "--path-file", "path", "--reader",
                                                          f"'{reader}' \"$SESSION_DIR\" >/dev/null 2>&1", "rows.csv"],
                                   lambda code=0: os.path.exists("path") and os.unlink("path"))
    if what == "pipes":
        closed_pipe_at_twenty_instants(work, "kmer_frequency", [kmers, "-q", "-k", "25", "--workers", "1", "reads.fa"])
        closed_pipe_at_twenty_instants(work, "external_sort sort", [sorting, "sort", "-q", "-o", "-", "records"])
        closed_pipe_at_twenty_instants(work, "external_sort generate", [sorting, "generate", "-n", "30000"])
        # A non-blocking output is waited for.
        read, write = os.pipe()
        os.set_blocking(write, False)
        process = start(sorting, "generate", "-n", "30000", stdout=write)
        os.close(write)
        time.sleep(0.2)
        with os.fdopen(read, "rb") as out:
            check(len(out.read()) == 3000000 and process.wait(timeout=60) == 0, "a non-blocking output", process.stderr.read())
        code, out, _ = run(export, "t", "-q", "--keep", "rows.csv")
        session = out.decode().strip()
        kept = work.sessions()
        for i in range(20):
            process = start(reader, "--copy", session)
            process.stdout.read(1 + i * 200000)
            process.stdout.close()
            check(process.wait(timeout=60) == 141 and not process.stderr.read(), "table_export_reader closed at", i)
        check(work.sessions() == kept, "the reader took its session away")
        shutil.rmtree(session)
        with open("/dev/full", "w") as full:
            done = subprocess.run([programs["scratchctl"], "ls", "--json"], stdout=full, stderr=subprocess.PIPE)
        check(done.returncode == 1 and done.stderr.count(b"\n") == 1, "a full output of scratchctl", done)
        done = subprocess.run(["bash", "-c", '"$0" watch --every 10ms | head -n 1 >/dev/null; exit ${PIPESTATUS[0]}',
                               programs["scratchctl"]], stderr=subprocess.PIPE)
        check(done.returncode == 141 and not done.stderr, "a closed output of scratchctl", done)
    if what == "failures":
        told_at_once(work)
    if what == "races":
        two_jobs_for_one_result(work)
common.finish()
