# SPDX-License-Identifier: MIT
"""How much of the machine is taken: sizes.py <kmer_frequency> <external_sort>. The most memory is that which the kernel saw."""
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys

import common
from common import check, run

MiB = 1 << 20
SMALLEST = 32  # MiB, of --memory
programs = common.programs(sys.argv[1:])
kmers, sort = programs["kmer_frequency"], programs["external_sort"]
OTHER_USER = 64321  # nobody else's processes count


def measured(*command, **options):
    """(exit code, stderr, the most memory in MiB that one process of it had)"""
    # A child begins with what its parent has: this process must stay small.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    check(own < SMALLEST, "the measure itself has", own, "MiB")
    done = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, **options)
    err = done.stderr.read().decode()
    _, status, usage = os.wait4(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    return done.returncode, err, usage.ru_maxrss / 1024


def jobs():
    yield "k-mers", (kmers, "-k", 31, "--canonical", "--count", "occurrences", "--min-count", 2, "-o", "out",
                    "reads.fa")
    yield "k-mers of rows", (kmers, "-k", 21, "--min-count", 2, "-o", "out", "reads.fa")
    yield "lines", (sort, "sort", "--lines", "--to-file", "-o", "out", "lines")
    yield "records", (sort, "sort", "--to-file", "-o", "out", "records")


def within(name, command, memory, *more):
    code, err, peak = measured(*command, "--memory", f"{memory}MiB", *more)
    check(code == 0, name, memory, *more, "ended with", code, err)
    return peak <= memory, peak, err


def any_workers_and_memory():
    long = "SCRATCH_SOAK" in os.environ
    results = {}
    for memory in (32, 64, 128, 256, 512, 1024) if long else (32, 128, 1024):
        for workers in (1, 2, 3, 5, 8, 16, 31, 64) if long else (3,) if memory == 128 else (1, 64):
            for name, command in jobs():
                kept, peak, err = within(name, command, memory, "-q", "--workers", workers)
                check(kept, name, "took", peak, "MiB of", memory, "with", workers, "workers")
                check(err == "" or re.fullmatch(r"\w+: notice: \d+ workers? instead of \d+: [^\n]*\n", err), err)
                result = subprocess.check_output("sort out | cksum" if command[0] == kmers else "cksum <out", shell=True)
                check(results.setdefault(name, result) == result, name, "gave something else", memory, workers)
    for name, command in jobs():
        kept, peak, err = within(name, command, 128, "-q", "--workers", 64, "--processes")
        check(kept and "instead of 64" in err, name, peak, err)
    # What takes more than it may is found out.
    for name, command in jobs():
        _, _, peak = measured(*command, "--memory", "1024MiB")
        check(peak > SMALLEST, name, "would never be too much:", peak)


def said(err):
    """(workers, memory in MiB)"""
    workers = re.search(r"^workers +(\d+) threads$|(\d+) workers?, ", err, re.M)
    memory = re.search(r"^memory +([\d.]+) (\wiB)$|, ([\d.]+) (\wiB) in all$", err, re.M)
    if not check(workers and memory, "not said:", err):
        return None
    number, unit = [group for group in memory.groups() if group]
    return int(next(group for group in workers.groups() if group)), float(number) * {"MiB": 1, "GiB": 1024}[unit]


def defaults(*around):
    found = {}
    for name, command in jobs():
        code, err, _ = measured(*around, *command)
        check(code == 0, code, err)
        found[name] = said(err)
    return found


def follow_the_machine():
    mine = sorted(os.sched_getaffinity(0))
    for name, (workers, memory) in defaults().items():
        check(workers == min(len(mine), 64) and 64 <= memory <= 4096, name, workers, memory)
    for name, (workers, _) in defaults("taskset", "-c", mine[0]).items():
        check(workers == 1, name, "has", workers, "workers on one processor")


# A cgroup of its own, in mounts that nobody else sees: arguments are a file, its content, and the command.
IN_CGROUP = """
set -e
mount --make-rprivate / && mkdir cgroup && mount -t cgroup -o $1 none cgroup || exit 77
here=cgroup$(sed -n "s/^[0-9]*:$1://p" /proc/self/cgroup)/scratch_test_$$
mkdir "$here" || exit 77
for setting in $2; do echo "${setting#*=}" >"$here/${setting%%=*}"; done
shift 2
code=0
sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$here" "$@" || code=$?
rmdir "$here"
umount cgroup && rmdir cgroup
exit $code
"""


def in_cgroup(controller, settings, *command):
    return measured("unshare", "-m", "sh", "-c", IN_CGROUP, "sh", controller, settings, *command)


def follow_cgroups_of_version_1():
    possible, _, _ = in_cgroup("memory", "", "true")
    if possible != 0:
        print("not tried: no cgroups of version 1 can be made here")
        return
    for name, command in jobs():
        code, err, peak = in_cgroup("memory", f"memory.limit_in_bytes={400 * MiB}", *command)
        found = said(err)
        check(code == 0 and found and 64 <= found[1] <= 100, name, "in a cgroup of 400 MiB:", code, err)
        check(peak <= 100, name, "took", peak, "in a cgroup of 400 MiB")
    if len(os.sched_getaffinity(0)) == 1 or in_cgroup("cpu", "cpu.cfs_quota_us=90000", "true")[0] != 0:
        print("not tried: a part of the processors' time by version 1, which cannot be given here")
        return
    for name, command in jobs():
        code, err, _ = in_cgroup("cpu", "cpu.cfs_quota_us=90000", *command)
        check(code == 0 and said(err)[0] == 1, name, "with the time of less than a processor:", code, err)


def few_open_files():
    for name, command in jobs():
        for how in ([], ["--processes"]):
            code, out, err = run("sh", "-c", 'ulimit -n 256 && exec "$@"', "sh", *command, "-q", "--workers", 64, "--memory",
                                 "2GiB", *how)
            check(code == 0, name, *how, "with 256 open files:", code, err)


def few_processes(work):
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        print("not tried: another user's limits")
        return
    os.chmod(work.path, 0o777)
    for name, command in jobs():
        pathlib.Path("out").unlink(missing_ok=True)
        for most in (1, 3, 9, 100):
            code, out, err = run("bash", "-c", f'ulimit -u {most} && exec "$@"', "sh", *command, "-q", "--workers", 4,
                                 "--memory", "256MiB", user=OTHER_USER)
            check(code in (0, 1) and len(err.splitlines()) <= 8 and (code == 0) == os.path.exists("out"), name, "with", most,
                  "threads:", code, err)
            check(code == 0 or most < 5, name, "with", most, "threads:", err)
            check(most < 100 or err == "", err)
            pathlib.Path("out").unlink(missing_ok=True)
            code, out, err = run("bash", "-c", f'ulimit -u {most} && exec "$@"', "sh", *command, "-q", "--workers", 4,
                                 "--memory", "256MiB", "--processes", user=OTHER_USER)
            check(code in (0, 1) and "terminate" not in err and (code == 0 or len(err.splitlines()) == 1), name,
                  "of processes with", most, ":", code, err)
            pathlib.Path("out").unlink(missing_ok=True)


if __name__ == "__main__":
    with common.Work() as work:
        data = pathlib.Path(__file__).resolve().parents[3] / "examples/data/lambda_virus.fa.gz"
        subprocess.run([kmers, "--simulate-reads", "80000", "--read-length", "150", "--error-rate", "0.02", "-q", "-o",
                        "reads.fa", data], check=True)
        subprocess.run([sort, "generate", "-n", "300000", "--lines", "-o", "lines"], check=True)
        subprocess.run([sort, "generate", "-n", "300000", "-o", "records"], check=True)
        any_workers_and_memory()
        follow_the_machine()
        follow_cgroups_of_version_1()
        few_open_files()
        few_processes(work)
        check(not work.sessions(), "left behind:", work.sessions())
    common.finish()
