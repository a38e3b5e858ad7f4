#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads a count table knowing nothing but the head comment of include/scratch/detail/count/format/layout.hpp.

count_reader.py TABLE    prints "key count" for every key, sorted by key, or says what is wrong and exits with 1. Keys
                         of 128 bits are 32 hexadecimal digits.
Checksums are checked where xxhsum is installed.
"""
import shutil
import struct
import subprocess
import sys


def xxh3(data):
    if not shutil.which("xxhsum"):
        return None
    out = subprocess.run(["xxhsum", "-H3", "-"], input=data, stdout=subprocess.PIPE, check=True).stdout.decode()
    return int(out.split()[0].removeprefix("XXH3_"), 16) if "=" not in out else int(out.split("= ")[1], 16)


def must(condition, what):
    if not condition:
        sys.exit("count_reader: " + what)


def check(data, stored, what, bits=64):
    found = xxh3(data)
    must(found is None or found & ((1 << bits) - 1) == stored, "checksum of " + what)


def unmix32(h):
    mask = (1 << 32) - 1
    h ^= h >> 16
    h = h * pow(0xC2B2AE35, -1, 1 << 32) & mask
    h ^= h >> 13 ^ h >> 26
    h = h * pow(0x85EBCA6B, -1, 1 << 32) & mask
    return h ^ h >> 16


def unmix64(h):
    mask = (1 << 64) - 1
    h ^= h >> 33
    h = h * pow(0xC4CEB9FE1A85EC53, -1, 1 << 64) & mask
    h ^= h >> 33
    h = h * pow(0xFF51AFD7ED558CCD, -1, 1 << 64) & mask
    return h ^ h >> 33


def mix64(k):
    mask = (1 << 64) - 1
    k &= mask
    k ^= k >> 33
    k = k * 0xFF51AFD7ED558CCD & mask
    k ^= k >> 33
    k = k * 0xC4CEB9FE1A85EC53 & mask
    return k ^ k >> 33


def unmix128(h):
    step = 0x9E3779B97F4A7C15
    high, low = h >> 64, h & (1 << 64) - 1
    high ^= mix64(low + 3 * step)
    low ^= mix64(high + 2 * step)
    high ^= mix64(low + step)
    return high << 64 | low


UNMIX = {32: unmix32, 64: unmix64, 128: unmix128}


def fields(data, bits, count):
    number = int.from_bytes(data, "little")
    return [number >> i * bits & ((1 << bits) - 1) for i in range(count)]


def block(data, first, n, w, c, bits):
    b = min(w, (n - 1).bit_length())
    l = w - b
    raw = 64 if bits == 128 and l >= 64 else 0
    raws = fields(data[:n * raw // 8], raw, n)
    data = data[n * raw // 8:]
    at = (n * (l - raw) + 7) // 8
    lows = fields(data[:at], l - raw, n)
    size = (n + (1 << b) + 7) // 8
    highs = int.from_bytes(data[at:at + size], "little") & ((1 << n + (1 << b)) - 1)
    at += size
    ones = [i for i in range(n + (1 << b)) if highs >> i & 1]
    must(len(ones) == n, "highs of a block")
    keys = [first + (bit - i << l | low << raw | rest) for i, (bit, low, rest) in enumerate(zip(ones, lows, raws))]
    if c == 0:
        must(at == len(data), "size of a block")
        return [(key, 1) for key in keys]
    size = (n * c + 7) // 8
    counts = fields(data[at:at + size], c, n)
    at += size
    entries = []
    for key, stored in zip(keys, counts):
        count = stored + 1
        if stored == (1 << c) - 1:
            rest = shift = 0
            while True:
                byte = data[at]
                at += 1
                rest |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            count = rest + (1 << c)
        entries.append((key, count))
    must(at == len(data), "size of a block")
    return entries


def small_table(body, entries):
    must(len(body) == 524288, "size of the body")
    table = {key: count for key, count in enumerate(struct.unpack("<65536Q", body)) if count}
    must(len(table) == entries, "entry_count")
    return table


def blocks(body, index, bits, content):
    check(index, content, "the index")
    table = {}
    at = 0
    last = -1
    record = 32 if bits == 128 else 24
    for i in range(0, len(index), record):
        first = int.from_bytes(index[i:i + record - 16], "little")
        stored, size, n, w, c = struct.unpack_from("<QIHBB", index, i + record - 16)
        if i < 5 * record:
            check(body[at:at + size], stored, "a block")
        must(1 <= n <= 512 and first % (1 << w) == 0 and first > last, "index record")
        for mixed, count in block(body[at:at + size], first, n, w, c, bits):
            must(last < mixed < first + (1 << w), "order of keys")
            last = mixed
            table[UNMIX[bits](mixed)] = count
        last = first + (1 << w) - 1
        at += size
    must(at == len(body), "body")
    return table


def read(data):
    magic, version, bits = struct.unpack_from("<III", data)
    must(bits == {0x4B4D5231: 16, 0x4B4D5232: 32, 0x4B4D5233: 64, 0x4B4D5234: 128}.get(magic), "magic, key bits")
    if version == 1 and bits == 16:
        entries, absorbed, checksum = struct.unpack_from("<QQI", data, 12)
        check(data[:28] + data[32:], checksum, "the table", 32)
        return small_table(data[32:], entries), bits
    must(version == 3 or version == 2 and bits in (32, 64), "version")
    size = 80 if version == 3 else 64
    must(len(data) >= size, "size of the file")
    record, entries, total = struct.unpack_from("<IQQ", data, 12)
    kept_total, at_least = struct.unpack_from("<QQ", data, 32) if version == 3 else (total, 1)
    absorbed, body, content, checksum = struct.unpack_from("<QQQQ", data, size - 32)
    check(data[:size - 8], checksum, "the header")
    must(record == {16: 0, 128: 32}.get(bits, 24), "size of an index record")
    must(at_least > 1 and total >= kept_total or at_least == 1 and total == kept_total, "totals")
    end = size + body
    if bits == 16:
        must(end == len(data), "size of the file")
        check(data[size:], content, "the counts")
        table = small_table(data[size:], entries)
    else:
        table = blocks(data[size:end], data[end:], bits, content)
    must(len(table) == entries, "entry_count")
    must(min(sum(table.values()), (1 << 64) - 1) == kept_total, "kept_total")
    must(not table or min(table.values()) >= at_least, "at_least")
    return table, bits


with open(sys.argv[1], "rb") as file:
    table, bits = read(file.read())
for key, count in sorted(table.items()):
    print(f"{key:032x}" if bits == 128 else key, count)
