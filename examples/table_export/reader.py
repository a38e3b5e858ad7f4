# SPDX-License-Identifier: MIT
# reader.py SESSION: the chunks of a session, as they come and after; all that another language needs is json and mmap.
import json, mmap, os, sys, time, urllib.parse

def metadata(session):
    return json.load(open(session + "/metadata.json"))

members = metadata(sys.argv[1]).get("set", {}).get("members", [])  # of a table in several places, a session in each
sessions = [urllib.parse.unquote(path) for path in members] or [sys.argv[1]]
logs, rests, more = {}, dict.fromkeys(sessions, b""), True
while more:
    more = any(metadata(session)["status"] == "in_progress" for session in sessions)  # what came before is read below
    lines = []
    for session in sessions:
        if session not in logs and os.path.exists(session + "/chunks.jsonl"):
            logs[session] = open(session + "/chunks.jsonl", "rb")
        if session in logs:
            *whole, rests[session] = (rests[session] + logs[session].read()).split(b"\n")
            lines += [(session, line) for line in whole]
    for session, line in lines:
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
