# SPDX-License-Identifier: MIT
# reader.py SESSION: what another language needs to read the chunks of a session is json and mmap.
import json, mmap, sys
for chunk in json.load(open(sys.argv[1] + "/metadata.json"))["chunks"]:
    with open(sys.argv[1] + "/" + chunk["file"], "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        print(chunk["file"], chunk["rows"], "rows", len(data), "bytes", chunk["checksum"])
