#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Interrupts kmer_frequency when it says on its terminal that it commits: interrupt.py <kmer_frequency> <reads>"""
import os
import pty
import signal
import subprocess
import sys

program, reads = sys.argv[1:]
master, slave = pty.openpty()
job = subprocess.Popen([program, "--events", "--workers", "1", "--memory", "32MiB", "-o", "result.tsv", reads], stderr=slave)
os.close(slave)
seen = b""
interrupted = False
while True:
    try:
        some = os.read(master, 4096)
    except OSError:  # nobody has the other end any more
        break
    if not some:
        break
    seen += some
    if not interrupted and b"committing" in seen:
        job.send_signal(signal.SIGINT)
        interrupted = True
code = job.wait()
told = seen.decode(errors="replace")
for holds, what in (
    (interrupted, "it never said that it commits"),
    (code == 128 + signal.SIGINT, f"it ended with {code}"),
    ("table committed" not in told, "the table was committed all the same"),
):
    if not holds:
        sys.exit(f"{what}: {told}")
