# SPDX-License-Identifier: MIT
"""Where results go: targets x programs x options, each with its right outcome; prints the table.

results.py <program> ...; persist() of the library is one of them; in a mount namespace of its own, as root, with a /dev and a tmpfs of its own, so that nothing of
the machine is touched, whatever the programs do.
"""
import ctypes
import os
import pathlib
import random
import shutil
import stat
import subprocess
import sys
import threading

import common
from common import check, run

if os.geteuid() != 0:
    common.skip("mounting needs root")
if "--inside" not in sys.argv:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        common.skip("no mount namespaces")
    os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv, "--inside"])

programs = common.programs([word for word in sys.argv[1:] if word != "--inside"])
libc = ctypes.CDLL(None, use_errno=True)
OTHER = 65534
OLD = b"what was there before\n"
os.umask(0o022)


def mount(source, at, kind, flags=0, options=""):
    at.mkdir(exist_ok=True) if kind == "tmpfs" else None
    if libc.mount(str(source).encode(), str(at).encode(), kind.encode(), flags, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {at}")


class Option:
    """An option that names a result, and how to tell the right content."""

    def __init__(self, program, name, command, right, seeks=False):
        self.program, self.name, self.right, self.seeks = program, name, right, seeks
        self.command = lambda target: [programs[program], *command(target)]

    def __str__(self):
        return f"{self.program} {self.name}"


def equal(expected):
    return lambda content: content == expected


kmer_input, sort_input, rows_input = "reads.fa", "records", "rows.csv"
BASE = ["-q", "-k", "8", "--workers", "1"]


def options(work):
    (work / kmer_input).write_text(">a\nACGTACGTTGCATTAGGACCATAGATTTACCAGGA\n>b\nGGATTACCATGGACACATTA\n")
    (work / rows_input).write_text("1,a\n2,b\n")
    run(programs["external_sort"], "generate", "-n", "50", "--text", "-o", sort_input)
    lines = run(programs["kmer_frequency"], *BASE, kmer_input)[1]
    check(lines.count(b"\n") > 20, "no reference")
    reads = run(programs["kmer_frequency"], "--simulate-reads", "3", "--read-length", "20", kmer_input)[1]
    records = (work / sort_input).read_bytes()
    ordered = b"".join(sorted(records.splitlines(True)))
    all_options = [
        Option("kmer_frequency", "-o", lambda t: [*BASE, "-o", t, kmer_input], equal(lines)),
        Option("kmer_frequency", "--table", lambda t: [*BASE, "--table", t, kmer_input],
               lambda content: content[1:4] == b"RMK" or content[1:4] == b"$MK" or len(content) > 100 and content[2:4] == b"MK",
               seeks=True),
        Option("kmer_frequency", "--simulate-reads -o", lambda t: ["--simulate-reads", "3", "--read-length", "20", "-o", t, kmer_input],
               equal(reads)),
        Option("external_sort", "sort --to-file -o", lambda t: ["sort", "-q", "--to-file", "-o", t, sort_input], equal(ordered)),
        Option("external_sort", "generate -o", lambda t: ["generate", "-n", "50", "--text", "-o", t], equal(records)),
        Option("external_sort", "sort --metrics", lambda t: ["sort", "-q", "-o", other_fs / "parts", "--replace", "--metrics", t, sort_input],
               lambda content: content.startswith(b"phase,worker,") and b"\noutput,all," in content),
        Option("table_export", "--path-file", lambda t: ["t", "-q", "--path-file", t, rows_input],
               lambda content: content.startswith(str(work / "place").encode()) and content.endswith(b"\n")),
    ]
    for name, place in (("renamed", work / "place"), ("copied", third_fs)):
        all_options.append(Option("persisting", name, lambda t, place=place: [place, t], equal(b"the result\n")))
    if shutil.which("gnuplot"):
        all_options.append(Option("kmer_frequency", "--histogram-svg", lambda t: [*BASE, "--histogram-svg", t, kmer_input],
                                  lambda content: b"</svg>" in content))
    return all_options


def inode(path):
    facts = os.stat(path, follow_symlinks=False)
    return facts.st_ino, facts.st_dev


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


class Cell:
    """One target: made in a directory of its own for each option; `after` says what is wrong, or nothing."""

    def __init__(self, option, here):
        self.option, self.here = option, here
        self.code, self.out, self.err = None, b"", ""

    def run(self, target, user=None, **more):
        self.code, self.out, self.err = run(*self.option.command(target), user=user, **more)

    def written(self, path):
        content = pathlib.Path(path).read_bytes()
        return (self.code == 0 or f"exit code {self.code}") and (self.option.right(content) or f"other content: {content[:60]!r}")

    def refused(self, *unchanged):
        if self.code != 1:
            return f"exit code {self.code}"
        if self.err.count("\n") != 1:
            return "not one line"
        for path in unchanged:
            if pathlib.Path(path).read_bytes() != OLD:
                return f"{path} has changed"
        return True


def old(path, permissions=0o644):
    path.write_bytes(OLD)
    path.chmod(permissions)
    return path


TARGETS = {}


def target(name):
    def add(function):
        TARGETS[name] = function
        return function
    return add


@target("absent: made, as umask says")
def absent(cell):
    cell.run(cell.here / "new")
    return cell.written(cell.here / "new") is True and (mode(cell.here / "new") == 0o644 or oct(mode(cell.here / "new")))


@target("file: replaced, mode and group stay")
def file(cell):
    path = old(cell.here / "file", 0o640)
    os.chown(path, -1, 12)
    before = inode(path)
    cell.run(path)
    return (cell.written(path) is True or cell.err) and mode(path) == 0o640 and os.stat(path).st_gid == 12 and inode(path) != before


@target("read-only file, not root: refused")
def read_only(cell):
    os.chown(cell.here, OTHER, OTHER)
    path = old(cell.here / "file", 0o444)
    os.chown(path, OTHER, OTHER)
    cell.run(path, user=OTHER)
    return cell.refused(path)


@target("symlink to a file: the link stays")
def link(cell):
    path = old(cell.here / "file")
    (cell.here / "link").symlink_to("file")
    cell.run(cell.here / "link")
    return (cell.here / "link").is_symlink() and cell.written(path)


@target("symlink to nothing: its target is made")
def dangling(cell):
    (cell.here / "link").symlink_to("new")
    cell.run(cell.here / "link")
    return (cell.here / "link").is_symlink() and cell.written(cell.here / "new")


@target("symlink across file systems")
def across(cell):
    path = old(other_fs / "file")
    (cell.here / "link").symlink_to(path)
    cell.run(cell.here / "link")
    return (cell.here / "link").is_symlink() and cell.written(path)


@target("symlink with .. behind a link")
def dotted(cell):
    (cell.here / "deep" / "down").mkdir(parents=True)
    (cell.here / "way").symlink_to("deep/down")
    (cell.here / "deep" / "down" / "link").symlink_to("../new")
    cell.run(cell.here / "way" / "link")
    return not (cell.here / "new").exists() and cell.written(cell.here / "deep" / "new")


@target("hard link: replaced, the other name keeps its bytes")
def hard(cell):
    path = old(cell.here / "file")
    os.link(path, cell.here / "other")
    cell.run(path)
    said = "another name" in cell.err or cell.option.program == "persisting"
    return (cell.here / "other").read_bytes() == OLD and said and cell.written(path)


@target("null device: written through")
def null(cell):
    path = cell.here / "null"
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    cell.run(path)
    return cell.code == 0 and stat.S_ISCHR(os.lstat(path).st_mode) or (cell.code, cell.err)


@target("full device: refused or kept")
def full(cell):
    path = cell.here / "full"
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    cell.run(path)
    return cell.code == 1 and stat.S_ISCHR(os.lstat(path).st_mode) or (cell.code, cell.err)


@target("FIFO: written through; no table")
def fifo(cell):
    path = cell.here / "fifo"
    os.mkfifo(path)
    if cell.option.seeks:
        cell.run(path)
        return cell.refused()
    got = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    cell.run(path)
    reader.join(20)
    return stat.S_ISFIFO(os.lstat(path).st_mode) and cell.code == 0 and (bool(got) and cell.option.right(got[0]) or (got, cell.err))


@target(">(command): written through; no table")
def substitution(cell):
    command = " ".join(f"'{word}'" for word in cell.option.command("TARGET")).replace("'TARGET'", '>(cat >"$0")')
    cell.code, cell.out, cell.err = run("bash", "-c", f"{command}; code=$?; wait $!; exit $code", cell.here / "got")
    return cell.refused() if cell.option.seeks else cell.written(cell.here / "got")


@target("/dev/stdout, a pipe; no table")
def standard_output(cell):
    cell.run("/dev/stdout")
    if cell.option.seeks:
        return cell.refused()
    out = cell.out if cell.option.program != "table_export" else cell.out
    return cell.code == 0 and (cell.option.right(out) or out[:60])


@target("/dev/fd/7, a file: written where it stands")
def descriptor(cell):
    path = old(cell.here / "file")
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.dup2(fd, 7)
    cell.run("/dev/fd/7", pass_fds=[7])
    os.close(fd)
    os.close(7)
    content = path.read_bytes()
    return cell.code == 0 and content.startswith(OLD) and (cell.option.right(content[len(OLD):]) or content[:80])


@target("bind mount: written in place")
def bind(cell):
    path, source = old(cell.here / "file"), old(cell.here / "source")
    mount(source, path, "none", 4096)
    before = inode(path)
    cell.run(path)
    result = inode(path) == before and cell.written(source)
    libc.umount2(str(path).encode(), 2)
    return result


@target("directory: refused")
def directory(cell):
    (cell.here / "directory").mkdir()
    cell.run(cell.here / "directory")
    return cell.refused() is True and not os.listdir(cell.here / "directory") or cell.err


@target("immutable: refused")
def immutable(cell):
    path = old(cell.here / "file")
    if subprocess.run(["chattr", "+i", path], capture_output=True).returncode != 0:
        return "not here"
    cell.run(path)
    result = cell.refused(path)
    subprocess.run(["chattr", "-i", path])
    return result


@target("somebody else's in a sticky directory: refused")
def sticky(cell):
    cell.here.chmod(0o1777)
    path = old(cell.here / "file", 0o666)
    cell.run(path, user=OTHER)
    return cell.refused(path)


@target("too long a name: refused")
def too_long(cell):
    cell.run(cell.here / ("n" * 300))
    return cell.refused()


@target("full file system: refused")
def no_room(cell):
    path = cell.here / "tiny"
    mount("tmpfs", path, "tmpfs", 0, "size=64k,mode=755")
    try:
        (path / "hog").write_bytes(b"x" * 65536)
    except OSError:
        pass
    cell.run(path / "new")
    result = cell.refused() is True and not (path / "new").exists() or cell.err
    libc.umount2(str(path).encode(), 2)
    return result


@target("setgid directory: its group")
def setgid(cell):
    os.chown(cell.here, -1, 12)
    cell.here.chmod(0o2755)
    cell.run(cell.here / "new")
    return os.stat(cell.here / "new").st_gid == 12 and cell.written(cell.here / "new")


@target("default ACL: as for any new file")
def acl(cell):
    entries = [(1, 6, -1), (2, 6, 1234), (4, 4, -1), (16, 6, -1), (32, 0, -1)]
    text = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + permissions.to_bytes(2, "little") + (who & 0xffffffff).to_bytes(4, "little")
        for tag, permissions, who in entries)
    try:
        os.setxattr(cell.here, "system.posix_acl_default", text)
    except OSError:
        return "not here"
    (cell.here / "like").write_bytes(b"")
    cell.run(cell.here / "new")
    name = "system.posix_acl_access"
    return (os.getxattr(cell.here / "new", name) == os.getxattr(cell.here / "like", name) and
            mode(cell.here / "new") == mode(cell.here / "like") and cell.written(cell.here / "new"))


@target("somebody else's, writable: in place, the owner stays")
def theirs(cell):
    path = old(cell.here / "file")
    os.chown(path, OTHER, OTHER)
    before = inode(path)
    cell.run(path)
    return inode(path) == before and os.stat(path).st_uid == OTHER and cell.written(path)


@target("in a directory of somebody else's, writable: in place")
def their_directory(cell):
    path = old(cell.here / "file", 0o644)
    os.chown(path, OTHER, OTHER)
    before = inode(path)
    cell.run(path, user=OTHER)
    return inode(path) == before and cell.written(path)


def inputs_of(option):
    return {"kmer_frequency": kmer_input, "external_sort": sort_input, "table_export": rows_input}[option.program]


@target("an input, by each of its names: refused")
def an_input(cell):
    if cell.option.name == "generate -o" or cell.option.program == "persisting":
        return "cannot be"
    name = inputs_of(cell.option)
    before = pathlib.Path(name).read_bytes()
    os.link(name, cell.here / "hard")
    (cell.here / "soft").symlink_to(os.path.abspath(name))
    for way in (name, "./" + name, os.path.abspath(name), cell.here / "hard", cell.here / "soft"):
        cell.run(way)
        if cell.refused() is not True or pathlib.Path(name).read_bytes() != before:
            return (way, cell.code, cell.err)
    os.unlink(cell.here / "hard")
    return True


@target("another output: refused")
def another(cell):
    second = {"-o": ["--table"], "--table": ["-o"], "--histogram-svg": ["-o"], "sort --to-file -o": ["--metrics"]}
    if cell.option.name not in second:
        return "cannot be"
    command = cell.option.command(cell.here / "new")
    cell.code, cell.out, cell.err = run(*command[:-1], *second[cell.option.name], cell.here / "new", command[-1])
    return cell.refused() is True and not (cell.here / "new").exists() or cell.err


# ---- a directory of parts

def parts_of(directory):
    return b"".join(path.read_bytes() for path in sorted(pathlib.Path(directory).glob("part_*")))


def sort_into(directory, *more, user=None):
    return run(programs["external_sort"], "sort", "-q", "-o", directory, *more, sort_input, user=user)


def directories(base, ordered):
    def well(name, condition, *words):
        check(condition, "a directory of parts:", name, *words)
        print(f"{'external_sort sort -o':34}{name:58}{'ok' if condition else 'FAILED'}")

    code, _, err = sort_into(base / "new")
    well("absent: made, as umask says", code == 0 and parts_of(base / "new") == ordered and mode(base / "new") == 0o755 and
         mode(base / "new" / "part_0000") == 0o644 and not [n for n in os.listdir(base / "new") if not n.startswith("part_")], err)
    code, _, err = sort_into(base / "new")
    well("has parts: refused", code == 1 and "parts in it already" in err, err)
    (base / "new" / "part_0099").write_bytes(b"x" * 100)
    code, _, err = sort_into(base / "new", "--replace")
    well("has parts, --replace: a whole new set", code == 0 and parts_of(base / "new") == ordered, err)
    (base / "there").mkdir()
    old(base / "there" / "readme")
    code, _, err = sort_into(base / "there/")
    well("is there: parts and a manifest in it", code == 0 and parts_of(base / "there") == ordered and
         (base / "there" / "readme").read_bytes() == OLD and (base / "there" / ".part_manifest").exists(), err)
    os.unlink(base / "there" / "readme")
    code, out, err = run(programs["external_sort"], "check", base / "there")
    well("its manifest agrees", code == 0, err)
    os.unlink(base / "there" / "part_0000")
    code, out, err = run(programs["external_sort"], "check", base / "there")
    well("a part is missing: told by the manifest", code == 1 and "no whole set" in err, err)
    (base / "link").symlink_to("nothing")
    code, _, err = sort_into(base / "link")
    well("symlink to nothing: its target is made", code == 0 and (base / "link").is_symlink() and
         parts_of(base / "nothing") == ordered, err)
    old(base / "file")
    code, _, err = sort_into(base / "file")
    well("file: refused", code == 1 and (base / "file").read_bytes() == OLD, err)
    code, _, err = sort_into(base / ("n" * 300))
    well("too long a name: refused", code == 1 and err.count("\n") == 1, err)
    code, _, err = sort_into(other_fs / "parts")
    well("another file system", code == 0 and parts_of(other_fs / "parts") == ordered, err)
    (base / "mounted").mkdir()
    mount("tmpfs", base / "mounted", "tmpfs", 0, "size=1m,mode=755")
    code, _, err = sort_into(base / "mounted")
    well("a mount point: parts in it", code == 0 and parts_of(base / "mounted") == ordered, err)
    libc.umount2(str(base / "mounted").encode(), 2)
    mount("tmpfs", base / "mounted", "tmpfs", 0, "size=4k,mode=755")
    code, _, err = sort_into(base / "mounted" / "parts")
    well("no room there: refused", code == 1 and "needed" in err, err)
    libc.umount2(str(base / "mounted").encode(), 2)
    (base / "inputs").mkdir()
    shutil.copy(sort_input, base / "inputs" / "in")
    code, _, err = run(programs["external_sort"], "sort", "-q", "-o", base / "inputs", base / "inputs")
    well("a directory of inputs: refused", code == 1 and "input" in err, err)
    closed = base / "closed"
    closed.mkdir(mode=0o755)
    code, _, err = sort_into(closed / "parts", user=OTHER)
    well("in a directory of somebody else's: refused", code == 1 and err.count("\n") == 1, err)
    os.chown(base, -1, 12)
    base.chmod(0o2755)
    code, _, err = sort_into(base / "group")
    well("setgid directory: its group", code == 0 and os.stat(base / "group" / "part_0000").st_gid == 12, err)
    metrics = run(programs["external_sort"], "sort", "-q", "-o", base / "kept", "--metrics", "/nowhere/m", sort_input)
    well("a wrong --metrics: refused before the work", metrics[0] == 1 and not (base / "kept").exists(), metrics[2])


def own_dev():
    """A /dev of this namespace: a program that replaces what it should write through must not harm the machine's."""
    shared = os.open("/dev/shm", os.O_PATH)
    mount("tmpfs", pathlib.Path("/dev"), "tmpfs", 0, "size=1m,mode=755")
    for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
        os.mknod(f"/dev/{name}", 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        os.chmod(f"/dev/{name}", 0o666)
    for name, to in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink("/proc/self/fd" + to, f"/dev/{name}")
    os.mkdir("/dev/shm")
    mount(f"/proc/self/fd/{shared}", pathlib.Path("/dev/shm"), "none", 4096)
    os.close(shared)


own_dev()
with common.Work() as work:
    # A file system of its own below everything: nothing here is the machine's.
    top = work.path / "fs"
    mount("tmpfs", top, "tmpfs", 0, "size=64m,mode=755")
    other_fs = work.path / "other"
    mount("tmpfs", other_fs, "tmpfs", 0, "size=16m,mode=777")
    third_fs = work.path / "third"
    mount("tmpfs", third_fs, "tmpfs", 0, "size=16m,mode=1777")
    for at in (top / "place", top / "their"):
        at.mkdir()
    os.environ["SCRATCH_DIR"] = str(top / "place")
    os.chmod(top / "place", 0o1777)
    work.place = top / "place"
    os.chdir(top)
    for option in options(top):
        for name, function in TARGETS.items():
            here = top / "cell"
            here.mkdir(mode=0o755)
            cell = Cell(option, here)
            try:
                result = function(cell)
            except (OSError, subprocess.TimeoutExpired) as error:
                result = repr(error)
            shown = "ok" if result is True else result if result in ("cannot be", "not here") else "FAILED"
            print(f"{str(option):34}{name:58}{shown}", flush=True)
            check(shown != "FAILED", option, name, result, cell.code, cell.err)
            left = [n for n in os.listdir(here) if n.startswith(".scratch")]
            check(not left, option, name, "left", left)
            for session in work.sessions():
                check(cell.code == 1 and "it is kept as" in cell.err, option, name, "left a session")
                shutil.rmtree(session)
            shutil.rmtree(here)
            for rest in other_fs.iterdir():
                shutil.rmtree(rest) if rest.is_dir() else rest.unlink()
    base = top / "directories"
    base.mkdir()
    directories(base, b"".join(sorted((top / sort_input).read_bytes().splitlines(True))))
    check(not work.sessions(), "sessions are left:", work.sessions())
    # Several results: what is delivered stays, what is not is kept and said.
    small = top / "small"
    mount("tmpfs", small, "tmpfs", 0, "size=128k,mode=755")
    run(programs["external_sort"], "generate", "-n", "3", "--text", "-o", small / "three")
    (small / "hog").write_bytes(b"x" * 100000)
    genome = "".join(random.Random(1).choices("ACGT", k=200000))
    (top / "long.fa").write_text(">a\n" + genome + "\n")
    code, out, err = run(programs["kmer_frequency"], "-q", "-k", "12", "--canonical", "-o", small / "o.tsv", "--table", top / "table",
                         "long.fa")
    check(code == 1 and (top / "table").exists() and not (small / "o.tsv").exists() and "it is kept as" in err, "one result without room",
          code, err)
    kept = err.rsplit("it is kept as ", 1)[-1].strip()
    check(os.path.isfile(kept) and os.path.getsize(kept) > 0, "nothing is kept at", kept)
common.finish()
