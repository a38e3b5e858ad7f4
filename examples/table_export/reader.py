# SPDX-License-Identifier: MIT
# reader.py SESSION: the chunks of a session, as they come and after; all that another language needs is json and mmap.
import json, mmap, os, sys, time, urllib.parse

session = sys.argv[1]
log, rest, more = None, b"", True
while more:
    more = json.load(open(session + "/metadata.json"))["status"] == "in_progress"  # what came before is read below
    if log is None and os.path.exists(session + "/chunks.jsonl"):
        log = open(session + "/chunks.jsonl", "rb")
    *lines, rest = (rest + log.read()).split(b"\n") if log else [rest]
    for line in lines:
        try:
            chunk = json.loads(line)
        except ValueError:
            continue  # somebody was killed while he wrote it
        if "sums" not in chunk:
            continue  # this one went, or has another name in a later line
        with open(session + "/" + urllib.parse.unquote(chunk["file"]), "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if chunk["size"] > 0 else b""
            print(chunk["file"], chunk["rows"], "rows", len(data), "bytes", chunk["checksum"], flush=True)
    if more and not lines:
        time.sleep(0.01)
