#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which lines of the library that handle an error the tests execute. Parts of `.ci/run long coverage`:

    coverage.py split TO                a copy of include/ in which what an `if` on the same line guards is a line of its own
    coverage.py report BUILD [folder]   what was executed by the tests of BUILD; with a folder of tests, by its own

A line handles an error when one of these holds of its code:
  - it throws or catches (`throw`, `throw_...(`, `refuse(`, `catch`), or speaks of `errno`, of an error or of a failure;
  - it stands in the block of a `catch`, or in that of an `if` or `else` in which there is a throw;
  - it is what an `if` guards that asks for such words, or for a system call (`sys::`).
What an `if` guards on its own line counts by itself: a condition that was asked has not been true yet. Those that were
not executed are to stand in tests/coverage.txt, at most 30 of them, each with its reason. Fails when one is in neither; what a folder's
tests leave to those of others is only printed.
"""
import collections
import concurrent.futures
import json
import os
import re
import subprocess
import sys

most = 30
source = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
again = 100000  # what is guarded on line N is line N + again of the copy
words = re.compile(r"\b(throw\w*|rethrow\w*|catch|errno|refuse\w*|fail\w*)\b|error", re.I)
throws = re.compile(r"\b(throw\w*|refuse\w*)\b")
guards = re.compile(r"\b(?:if\b(?:\s+constexpr)?\s*\(|else\b(?!\s+if\b)|catch\s*\()")


def headers():
    for folder, _, files in os.walk(os.path.join(source, "include")):
        for file in sorted(files):
            if file.endswith(".hpp"):
                yield os.path.relpath(os.path.join(folder, file), source)


def code_of(text):
    """`text` with blanks for comments, for what is quoted, and for the preprocessor's lines."""
    blank = lambda found: re.sub(r"[^\n]", " ", found.group())
    return re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*",
                  blank, text, flags=re.S | re.M)


def end_of(code, at, until):
    """Behind the first of `until` from `at` that is in no bracket opened since."""
    depth = 0
    while at < len(code):
        if depth == 0 and code[at] in until:
            return at + 1
        depth += (code[at] in "({[") - (code[at] in ")}]")
        at += 1
    return at


def look(path):
    """The text of a header, where a guarded statement begins behind its guard, and the lines that handle an error."""
    text = open(os.path.join(source, path), encoding="utf-8").read()
    code = code_of(text)
    line_at = lambda at: code.count("\n", 0, at) + 1
    handling = {n for n, line in enumerate(code.split("\n"), 1) if words.search(line)}
    splits = []
    for guard in guards.finditer(code):
        behind = guard.end()
        if code[behind - 1] == "(":
            behind = end_of(code, behind, ")")
        asked = code[guard.start():behind]
        begin = behind + len(code[behind:]) - len(code[behind:].lstrip())
        first = line_at(begin)
        handles = words.search(asked) or "sys::" in asked
        if code[begin] == "{":
            end = end_of(code, begin + 1, "}")
            inner = code[begin + 1:end - 1]
            direct = inner
            while re.search(r"\{[^{}]*\}", direct):
                direct = re.sub(r"\{[^{}]*\}", " ", direct)
            if handles or throws.search(direct):
                handling.update(n + of for n in range(first + 1, line_at(end)) for of in (0, again))
            continue
        end = end_of(code, begin, ";")
        here = line_at(behind - 1) == first
        if here:
            splits.append(begin)
        if handles or words.search(code[begin:end]):
            handling.update(range(first + 1, line_at(end - 1) + 1))
            handling.add(first + again if here else first)
    return text, splits, handling


def split(to):
    for path in headers():
        text, splits, _ = look(path)
        out, done = [], 0
        for at in sorted(splits):
            line = text.count("\n", 0, at) + 1
            end = text.index("\n", at)
            if any(at < other <= end for other in splits):
                continue  # `if (a) if (b)`, `if (a) x; else y;`: the last of them is what counts
            out += [text[done:at], f"\n#line {line + again}\n", text[at:end + 1], f"#line {line + 1}\n"]
            done = end + 1
        out = "".join(out) + text[done:]
        file = os.path.join(to, os.path.relpath(path, "include"))
        os.makedirs(os.path.dirname(file), exist_ok=True)
        if not os.path.exists(file) or open(file, encoding="utf-8").read() != out:
            open(file, "w", encoding="utf-8").write(out)


def counts_of(file):
    told = subprocess.run(["gcov", "-j", "-t", os.path.basename(file)], cwd=os.path.dirname(file), capture_output=True)
    counts = collections.defaultdict(collections.Counter)
    for document in told.stdout.decode(errors="replace").splitlines():
        for of in json.loads(document)["files"] if document.startswith("{") else []:
            if "/include/scratch/" in of["file"]:
                path = of["file"][of["file"].rindex("include/scratch/"):]
                for line in of["lines"]:
                    counts[path][line["line_number"]] += line["count"]
    return counts


def report(build, folder):
    found = [os.path.join(at, file) for at, _, files in os.walk(os.path.join(build, "tests")) for file in files]
    folder = folder.replace("/", "_")
    found = [file for file in found if file.endswith(".gcda") and (not folder or f"test_{folder}" in file)]
    found = [file for file in found if os.path.getsize(file) > 0]
    if not found:
        sys.exit("no test was run in " + build)
    counts = collections.defaultdict(collections.Counter)
    with concurrent.futures.ThreadPoolExecutor(2) as workers:
        for of in workers.map(counts_of, found):
            for path in of:
                counts[path].update(of[path])

    listed = {}
    for row in open(os.path.join(source, "tests", "coverage.txt"), encoding="utf-8"):
        if row.startswith("include/"):
            path, code, reason = (re.split(r"\t+", row.strip()) + ["", ""])[:3]
            listed[path, code] = reason
    at_all = executed = of_all = 0
    folders = collections.defaultdict(lambda: [0, 0])
    left, used = [], set()
    for path in sorted(counts):
        text, splits, handling = look(path)
        lines = text.split("\n")
        guarded = {text.count("\n", 0, at) + 1: at - text.rfind("\n", 0, at) - 1 for at in sorted(splits)}
        for line, count in sorted(counts[path].items(), key=lambda of: (of[0] % again, of[0])):
            of_all += 1
            at_all += count > 0
            if line not in handling:
                continue
            code = lines[line % again - 1]
            code = code[guarded[line - again]:] if line > again else code[:guarded.get(line)].strip()
            of = folders[os.path.dirname(path)]
            of[1] += 1
            of[0] += count > 0
            if count == 0 and (path, code) in listed:
                used.add((path, code))
            elif count == 0:
                left.append(f"{path}:{line % again}: {code}")
    for line in left:
        print(f"not executed: {line}")
    bad = [f"{path}: {code}" for (path, code), reason in listed.items()
           if not folder and ((path, code) not in used or not reason)]
    for line in bad:
        print(f"listed, and executed, not there or without a reason: {line}")
    for name, (some, all_of_them) in sorted(folders.items()):
        print(f"{name}: {some} of {all_of_them}")
    some, all_of_them = (sum(of[i] for of in folders.values()) for i in (0, 1))
    print(f"all lines: {at_all} of {of_all} are executed")
    print(f"lines that handle an error: {some} of {all_of_them} are executed, {len(used)} are listed with a reason, "
          f"{len(left)} are left")
    sys.exit(all_of_them == 0 or (not folder and bool(left or bad or len(listed) > most)))


if sys.argv[1] == "split":
    split(sys.argv[2])
else:
    report(os.path.abspath(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
