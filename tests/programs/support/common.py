# SPDX-License-Identifier: MIT
"""What the tests of all programs share: common.programs(argv) and a directory to work in."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

MARK = "SCRATCH_TEST_MARK"
failures = []


def check(condition, *words):
    if not condition:
        failures.append(" ".join(str(word) for word in words))
        print("FAILED:", failures[-1], flush=True)
    return condition


def finish():
    if failures:
        sys.exit(f"{len(failures)} failed")


def skip(why):
    print("skipped:", why)
    sys.exit(77)


class Work:
    """A directory with a place for sessions; everything in it goes in the end."""

    def __init__(self, where=None):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="programs.", dir=where))
        os.chmod(self.path, 0o755)
        # ext4 passes over each inode that somebody let go of in the last five seconds, one by one: with this, directories
        # made here lie apart from each other and from those of other tests.
        if shutil.which("chattr"):
            subprocess.run(["chattr", "+T", self.path], stderr=subprocess.DEVNULL, check=False)
        self.place = self.path / "place"
        self.place.mkdir()
        os.chmod(self.place, 0o1777)
        os.chdir(self.path)
        os.environ.pop("SCRATCH_KEEP", None)
        os.environ.pop("TMPDIR", None)
        os.environ.setdefault("SCRATCH_IO", "best")  # on a disk past the page cache, however few the bytes
        os.environ.update(SCRATCH_DIR=str(self.place), LC_ALL="C")
        os.environ[MARK] = str(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.chdir("/")
        shutil.rmtree(self.path, ignore_errors=True)

    def sessions(self):
        return sorted(str(p) for p in self.place.glob("*/session_*"))

    def processes(self):
        """Which of the programs still run: pids."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                environment = pathlib.Path("/proc", entry, "environ").read_bytes()
                state = pathlib.Path("/proc", entry, "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if f"{MARK}={self.path}".encode() in environment and state != "Z" and int(entry) != os.getppid():
                found.append(int(entry))
        return found


def run(*command, user=None, **options):
    """(exit code, stdout, stderr); as another user where one is given."""
    command = [str(word) for word in command]
    if user is not None:
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] + command
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(command, capture_output=True, timeout=60, **options)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def programs(argv):
    return {pathlib.Path(path).name: os.path.abspath(path) for path in argv}
