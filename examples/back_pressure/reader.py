# SPDX-License-Identifier: MIT
# reader.py SESSION: takes every chunk of a session as it comes, and removes its file. What another language needs to
# follow a running session is its lines of JSON; the quota notices what was removed.
import json, os, sys, time, urllib.parse

session = sys.argv[1]


def status():
    with open(session + "/metadata.json") as file:
        return json.load(file)["status"]


def lines():
    """Each line of chunks.jsonl once, as they come, until the session is no longer in progress."""
    log, rest = None, b""
    more = True
    while more:
        more = status() == "in_progress"  # before the look: what was written till then is seen below
        if log is None and os.path.exists(session + "/chunks.jsonl"):
            log = open(session + "/chunks.jsonl", "rb")
        *whole, rest = (rest + log.read()).split(b"\n") if log else [rest]
        yield from whole
        if not whole:
            time.sleep(0.005)


chunks = size = 0
for line in lines():
    try:
        record = json.loads(line)
    except ValueError:
        continue  # a line that somebody was killed over
    if "sums" not in record:
        continue  # a chunk that went, or is on its way to another name
    path = session + "/" + urllib.parse.unquote(record["file"], errors="surrogateescape")
    with open(path, "rb") as file:
        data = file.read()
    if len(data) != record["size"]:
        sys.exit(f"{path} has {len(data)} bytes, not {record['size']}")
    os.unlink(path)
    chunks += 1
    size += len(data)
print(f"read {chunks} chunks, {size} bytes")
sys.exit(0 if status() == "completed" else 1)
