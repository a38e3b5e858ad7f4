# SPDX-License-Identifier: MIT
"""Jobs that are killed at instants uniform over their run, and gone on with by the same command: kills.py <what> <program> ...
The result must be that of a job which was left alone, and what is read and written beyond that a small part of it."""
import ctypes
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).parent.parent / "support"))  # last: not everything there is to be found first
import common
from common import check

what = sys.argv[1]
programs = common.programs(sys.argv[2:])
long_form = os.environ.get("SCRATCH_SOAK", "0") not in ("", "0")
seed = int(os.environ.get("SCRATCH_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
dice = random.Random(seed)
print("seed", seed)

os.environ["SCRATCH_IO"] = "posix"  # a ring's bytes are on nobody's account
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: whose parent is killed is waited for here


def account():
    """The bytes that this process, and whom it has waited for, read and wrote: only root may ask that of one that died."""
    with open("/proc/self/io", encoding="ascii") as lines:
        return sum(int(line.split(": ")[1]) for line in lines if line.startswith(("rchar", "wchar")))


class Run:
    """A command, and what it read and wrote, killed or not."""

    def __init__(self, command, kill_after=None):
        before = account()
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        began = time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(self.process.pid, signal.SIGKILL)  # it may have ended: then it waits to be looked at
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        else:  # the pipes hold what is said
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        self.seconds = time.monotonic() - began
        out, err = self.process.communicate()
        self.bytes = account() - before - len(out) - len(err)
        self.out, self.err, self.code = out.decode(), err.decode(errors="replace"), self.process.returncode
        self.killed = self.code == -signal.SIGKILL


def content(path):
    path = pathlib.Path(path)
    if path.is_file():
        return path.read_bytes()
    return {file.name: file.read_bytes() for file in path.iterdir()}


def gone(path):
    path = pathlib.Path(path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


places = []  # where sessions and results stand


def everywhere(pattern):
    return [path for place in places for path in pathlib.Path(place).rglob(pattern)]


class Kills:
    """Kills a job again and again; `result` is what it makes."""

    def __init__(self, work, command, result, plain=None):
        self.work, self.command, self.result = work, command, result
        runs = []
        for _ in range(3):
            gone(result)
            runs.append(Run(command))
            check(runs[-1].code == 0, "it does not run:", runs[-1].code, runs[-1].err)
        self.whole = sorted(runs, key=lambda run: run.seconds)[1]
        self.bytes = min(run.bytes for run in runs)
        self.expected = content(result)
        self.left(f"{what}, not killed:")
        if plain is not None:
            gone(result)
            run = Run(plain)
            check(run.code == 0 and self.joined(content(result)) == self.joined(self.expected),
                  "other bytes than without --resume", run.err)

    @staticmethod
    def joined(found):
        return found if isinstance(found, bytes) else b"".join(found[name] for name in sorted(found))

    def left(self, where):
        left = everywhere("session_*") + everywhere(".scratch-result-*")
        check(not left, where, "left", left)

    def sweep(self):
        """What one leaves that is killed when all is done."""
        for left in everywhere("session_*") + everywhere(".scratch-*"):
            shutil.rmtree(left, ignore_errors=True)

    def killed_once(self, again=None, earliest=0):
        """How much more was read and written, as a share of the whole; None: it had ended before."""
        gone(self.result)
        instant = dice.uniform(earliest, 1) * self.whole.seconds
        run = Run(self.command, kill_after=instant)
        done = pathlib.Path(self.result).exists() and not everywhere("session_*/.keep")
        if not run.killed or done:
            self.sweep()
            return None
        where = f"{what}, seed {seed}, killed after {instant:.4f} of {self.whole.seconds:.4f} s:"
        on = Run(again or self.command)
        if again is None:
            check(on.code == 0, where, "the next run ended with", on.code, on.err)
            check(content(self.result) == self.expected if on.code == 0 else True, where, "other bytes")
            self.left(where)
        return (run.bytes + on.bytes) / self.bytes - 1

    def control(self, anew, share):
        """Who starts anew does it all again: more than `share`, once it was killed late enough."""
        extra = []
        for _ in range(40):
            found = self.killed_once(again=anew, earliest=0.5)
            self.sweep()  # or the next one goes on with it
            if found is not None:
                extra.append(found)
                if found > share:
                    break
        check(extra and max(extra) > share, "a new start each time is not noticed", extra)
        if extra:
            figures("the control, which starts anew", extra)

    def many(self, times):
        extra = []
        while len(extra) < times:
            share = self.killed_once()
            if share is not None:
                extra.append(share)
        return extra


def figures(name, extra):
    print(f"{name}: {len(extra)} kills; extra bytes read and written: median {statistics.median(extra):.1%}, "
          f"mean {statistics.mean(extra):.1%}, maximum {max(extra):.1%}", flush=True)


def sort(work):
    program = programs["external_sort"]
    common.run(program, "generate", "-n", 1000000 if long_form else 500000, "--text", "-o", "records")
    plain = [program, "sort", "-q", "-o", "sorted", "records"]
    command = plain[:2] + ["--resume"] + plain[2:]
    kills = Kills(work, command, "sorted", plain)
    extra = kills.many(100 if long_form else 8)
    figures("sort", extra)
    # Eight instants say less of the median than a hundred do.
    check(statistics.median(extra) <= (0.05 if long_form else 0.08), "the median is", statistics.median(extra))
    check(max(extra) <= 0.15, "the maximum is", max(extra))
    kills.control(plain, 0.15)


def others(work):
    program = programs["external_sort"]
    common.run(program, "generate", "-n", 100000, "--text", "-o", "records")
    common.run(program, "generate", "-n", 300000, "--text", "-o", "more")  # than 24 MiB
    elsewhere = pathlib.Path("/dev/shm" if os.path.isdir("/dev/shm") else "/tmp") / f"resume.{os.getpid()}"
    elsewhere.mkdir(mode=0o700)
    places.append(elsewhere)
    (work.path / "mine").mkdir(mode=0o700)
    ways = {"processes": ["--processes", "--memory", "64MiB"],
            "little memory": ["--memory", "24MiB", "--workers", "1"],
            "finished files kept": ["--keep-finished"],
            "parts that are copied": ["--place", elsewhere],
            "two places": ["--place", work.path / "mine", "--place", elsewhere],
            "two places, by processes, to one file": ["--place", work.path / "mine", "--place", elsewhere, "--processes",
                                                      "--to-file"],
            "one file": ["--to-file"],
            "lines": ["--lines", "-r"]}
    try:
        for name, words in ways.items():
            records = "more" if name == "little memory" else "records"
            kills = Kills(work, [program, "sort", "-q", "--resume", *words, "-o", "sorted", records], "sorted")
            extra = kills.many(20 if long_form else 4)
            if "processes" not in name:  # theirs are not on the account of the one that was killed
                figures(name, extra)
            gone("sorted")
        common.run(program, "generate", "-n", 1, "--text", "-o", "one")
        pathlib.Path("records").write_bytes(pathlib.Path("one").read_bytes() * 200000)
        kills = Kills(work, [program, "sort", "-q", "--resume", "--memory", "24MiB", "-o", "sorted", "records"], "sorted")
        figures("equal records, merged in rounds", kills.many(20 if long_form else 4))
        for words in ([], ["--memory", "24MiB"], ["--processes", "--memory", "64MiB"]):
            lines = [f"line {i % 4999} of few\n" for i in range(600000)]
            pathlib.Path("records").write_text("".join(lines))
            gone("sorted")
            command = [program, "sort", "-q", "--resume", "--lines", "-u", *words, "-o", "sorted", "records"]
            kills = Kills(work, command, "sorted")
            check(Kills.joined(kills.expected) == "".join(sorted(set(lines))).encode(), "other lines than those that there are")
            extra = kills.many(20 if long_form else 4)
            if "--processes" not in words:
                figures("equal lines, one of which stays", extra)
    finally:
        shutil.rmtree(elsewhere)


def export(work):
    program, reader = programs["table_export"], programs["table_export_reader"]
    with open("rows.csv", "w") as rows:
        for i in range(4000000 if long_form else 1500000):
            rows.write(f'{i},"some ""text"" of\nrow {i}",{i * 7919 % 10007}\n')
    disks = [word for disk in ("one", "two") for word in ("--place", work.path / "place" / disk)]
    for disk in disks[1::2]:
        disk.mkdir(mode=0o700)
    ways = {"a file": ["rows.csv"], "a command": ["--", "cat", "rows.csv"], "a file, two places": disks + ["rows.csv"]}
    for name, words in ways.items():
        command = [program, "t", "-q", "--resume", "--chunk-size", "1MB"] + words
        whole = Run(command)
        check(whole.code == 0, name, whole.err)
        extra = []
        while len(extra) < (40 if long_form else 6):
            instant = dice.uniform(0, whole.seconds)
            run = Run(command, kill_after=instant)
            if not run.killed:
                continue
            where = f"{name}, seed {seed}, killed after {instant:.4f} of {whole.seconds:.4f} s:"
            on = Run(command[:2] + ["--keep"] + command[2:])
            if not check(on.code == 0, where, on.err):
                continue
            session = on.out.split()[0]
            copy = common.run(reader, session, "--copy")
            check(copy[0] == 0 and copy[1] == pathlib.Path("rows.csv").read_bytes(), where, "other rows", copy[2])
            left = everywhere("session_*")
            check(session in map(str, left) and len(left) == (2 if "places" in name else 1), where, "left", left)
            for one in left:
                shutil.rmtree(one)
            extra.append((run.bytes + on.bytes) / whole.bytes - 1)
        figures(name, extra)


def count(work):
    program = programs["kmer_frequency"]
    lambda_virus = pathlib.Path(__file__).resolve().parents[3] / "examples/data/lambda_virus.fa.gz"
    inputs = [f"reads_{i}.fa" for i in range(6)]
    for i, name in enumerate(inputs):
        common.run(program, "--simulate-reads", 100000 if long_form else 50000, "--read-length", 150, "--error-rate", 0.02,
                   "--seed", i, "-o", name, lambda_virus)
    # What is written in the end, and read again where that is not yet whole, is little.
    words = ["-q", "--workers", 2, "--count", "occurrences", "--canonical", "--min-count", 5, "--sorted", "-o", "counts"]
    plain = [program] + words + inputs
    command = [program, "--resume"] + words + inputs
    kills = Kills(work, command, "counts", plain)
    extra = kills.many(30 if long_form else 6)
    figures("count", extra)
    # At most the merge, which is one piece: a third of all.
    check(max(extra) <= 0.45, "the maximum is", max(extra))
    kills.control(command + ["--top", 1], 0.5)  # another job


with common.Work() as work:
    places.append(work.path)
    {"sort": sort, "others": others, "export": export, "count": count}[what](work)
common.finish()
