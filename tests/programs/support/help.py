# SPDX-License-Identifier: MIT
"""What every program says to a newcomer: --help, --version, wrong words, and on a terminal: help.py <program> ..."""
import os
import pty
import re
import subprocess
import sys

import common
from common import check, run


def on_a_terminal(*command):
    """What somebody sees who has a terminal: stdout and stderr."""
    master, terminal = pty.openpty()
    process = subprocess.Popen([str(word) for word in command], stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    seen = b""
    try:
        while some := os.read(master, 4096):
            seen += some
    except OSError:  # nobody has the other end any more
        pass
    os.close(master)
    return process.wait(timeout=60), seen.decode(errors="replace")


programs = common.programs(sys.argv[1:])
commands = {name: [] for name in programs}
for name, path in programs.items():
    code, out, err = run(path, "--help")
    commands[name] = re.findall(r"^  ([a-z]+)  ", out.decode().partition("\nSubcommands:\n")[2].partition("\n\n")[0], re.M)
check({"sort", "generate", "check"} == set(commands["external_sort"]), commands)
check({"ls", "run", "sweep"} < set(commands["scratchctl"]), commands)
with common.Work() as work:
    for name, path in programs.items():
        code, out, err = run(path, "--version")
        check(code == 0 and err == "" and re.fullmatch(name + r", with scratch \d+\.\d+\.\d+\n", out.decode()), name, out, err)
        for words in [[]] + [[command] for command in commands[name]]:
            who = " ".join([name] + words)
            code, out, err = run(path, *words, "--help")
            text = out.decode()
            check(code == 0 and err == "", who, code, err)
            check(f"Usage: {who} " in text and set(text) - {chr(c) for c in range(32, 127)} == {"\n"}, "no help:", who)
            examples = re.search(r"^Examples:?\n((  .+\n)+)", text, re.M)
            check(examples and re.search(rf"\b{name}\b.* ?{words[0] if words else ''}\b", examples[1]), "no example:", who)
            # Names on the left, what they do on the right, and a gap that a program can see.
            options = "".join(re.findall(r"^\S.*:\n(?:  .*\n)+", text, re.M))
            for line in re.findall(r"^  -.*", options, re.M):
                check(re.match(r"  (-\w|(-\w, )?--[a-z][a-z-]*)( \S.*?)?(  |$)", line), "not as the others:", who, line)
            for wrong in (["--frob"], ["frob", "--frob"] if words == [] and commands[name] else ["--frob", "-1"]):
                code, out, err = run(path, *words, *wrong)
                check(code == 2 and out == b"" and err.startswith(name + ": ") and err.count("\n") == 1, who, wrong, code, err)
                check(wrong[0] in err, "which word was wrong:", who, wrong, err)
    (work.path / "one.csv").write_text("1\n")
    code, out, err = run(programs["table_export"], "t", "one.csv")
    check(code == 0 and "t: 1 row, 2 bytes (csv), 1 chunk, " in err, "more than one:", err)
    sort = programs["external_sort"]
    run(sort, "generate", "-n", "20000", "-o", "records")
    for how in ([], ["--processes"]):
        code, seen = on_a_terminal(sort, "sort", *how, "--replace", "-o", "sorted", "records")
        for phase in ("sampling", "partitioning", "received", "sorting", "output"):
            check(re.search(rf"\r{phase} +0 %", seen), "no progress of", phase, seen)
        check(code == 0 and "validated: 20000 records" in seen, code, seen)
    code, seen = on_a_terminal(sort, "sort", "-q", "--replace", "-o", "sorted", "records")
    check(code == 0 and seen == "", "not quiet:", seen)
    code, out, err = run(sort, "sort", "--replace", "-o", "sorted", "records")
    check(code == 0 and out == b"" and "\r" not in err, "progress without a terminal:", err)
common.finish()
