# SPDX-License-Identifier: MIT
"""What a page shows of the programs is what they print: transcript.py <page> <examples/data> <program> ..."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import common
from common import check

# What differs from run to run and from machine to machine.
CHANGING = [(r"\S*/\w+-\d+/session_\d{8}_\d{6}_pid\d+_(\w+)_[0-9a-f]{16}", r"session of \1"),
            (r"^(seconds|workers|memory|peak memory|files|place|engine|reckoned) .*", r"\1"),
            (r"\d[\d.e+-]* s\b", "some seconds"),
            (r"^\S*/(\w+)-\d+: [\d.]+ \w+ free", r"\1 free"),
            (r" \d+s +\d+ ", " age pid "),
            (r" +", " ")]


def steady(text):
    for pattern, replacement in CHANGING:
        text = re.sub(pattern, replacement, text, flags=re.M)
    return text


def is_shown_by(said, shown):
    """`...` on a line of its own stands for any lines."""
    parts = [re.escape(part) for part in re.split(r"^\.\.\.\n", steady(shown), flags=re.M)]
    return re.fullmatch(r"(?:.*\n)*?".join(parts), steady(said)) is not None


# A page that says something else is found out.
for said, other in (("rows 20000\n", "rows 20001\n"), ("a\nb\nc\n", "a\n...\nd\n"), ("a\n", ""), ("", "a\n"),
                    ("sampling: 0.1 s\n", "sorting: 0.2 s\n"), ("a 1.1 MiB\n", "a 1.2 MiB\n")):
    check(is_shown_by(said, said) and is_shown_by("x\n" + said, "...\n" + said), "is shown:", said)
    check(not is_shown_by(said, other), "is not shown:", said, other)

page, data = pathlib.Path(sys.argv[1]).read_text(), pathlib.Path(sys.argv[2]).resolve()
shown = [(command, output) for block in re.findall(r"^```console\n(.*?)^```$", page, re.M | re.S)
         for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)]
check(len(shown) > 15, "what is shown?", shown)
programs = common.programs(sys.argv[3:])
with common.Work() as work:
    for name, path in programs.items():
        check(any(name + " " in command for command, _ in shown), name, "is not shown")
        (work.path / "bin").mkdir(exist_ok=True)
        (work.path / "bin" / name).symlink_to(path)
    os.environ["PATH"] = f"{work.path}/bin:{os.environ['PATH']}"
    shutil.copy(data / "lambda_virus.fa.gz", work.path)
    for command, output in shown:
        done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=120)
        said = done.stdout.decode()
        check(is_shown_by(said, output), "$", command, "\nis shown with\n" + output + "but says\n" + said)
    check(not work.sessions(), "left behind:", work.sessions())
common.finish()
