"""Damage to files: by bytes, and by structure so that what is damaged is still parsed."""

import copy
import json
import random
import re
import struct
import zlib
from collections.abc import Callable

# What breaks readers: limits of numbers, other types, names that lead astray, brackets.
TOKENS = (
    b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"1e38", b"-1e39", b"9" * 400, b"9" * 5000,
    b"18446744073709551616", b"null", b"true", b"{}", b"[]", b'"', b"'", b"<", b">", b"&", b"&#0;",
    b"&#xFFFFFF;", b"]]>", b"<!DOCTYPE a [", b"<![CDATA[", b"\0", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\\ud800", b"../", b"/etc/passwd", b"C:\\", b",", b"\n", b"\r", b" ", b"\t", b"\x1b[2J",
    "\u732b".encode(), b"\xe9", b"[" * 2000, b"<a>" * 200,
)  # fmt: skip
VALUES = (
    None, True, False, 0, -1, 1, 2, 0.5, 1e300, -1e300, float("nan"), float("inf"), 10**30, 10**400,
    "", "1", "nan", "cat", "a.png", "../a.png", "\ud800", "\0", "\u732b", [], {}, [1, 2, 3],
    [1, 2, 3, 4], ["1", "2", "3", "4"], [None] * 4, {"id": 1}, [[]], "x" * 10_000,
)  # fmt: skip


def mutate_bytes(content: bytes, random: random.Random) -> bytes:
    """Returns `content` with one to four places changed, or cut off."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(changed) + 1)
        end = min(len(changed), start + random.choice((0, 1, 1, 2, 4, 16, 64)))
        how = random.randrange(7)
        if how == 0:
            changed[start:end] = b""
        elif how == 1:
            changed[start:start] = changed[start:end]
        elif how == 2:
            changed[start:end] = random.randbytes(end - start)
        elif how == 3:
            changed[start:end] = random.choice(TOKENS)
        elif how == 4 and random.random() < 0.3:
            del changed[start:]
        elif start < len(changed):
            changed[start] ^= 1 << random.randrange(8)
    return bytes(changed)


def mutate_tokens(content: bytes, random: random.Random) -> bytes:
    """Returns a text with some of its words or numbers replaced, left out or doubled."""
    parts = re.split(rb"([\w.+-]+|\n)", content)
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(parts))
        how = random.randrange(4)
        if how == 0:
            parts[place] = b""
        elif how == 1:
            parts[place] *= 2
        elif how == 2:
            parts[place] = random.choice(parts)
        else:
            parts[place] = random.choice(TOKENS)
    return b"".join(parts)


def mutate_json(content: bytes, random: random.Random) -> bytes:
    """Returns a JSON file with some of its values, at any depth, replaced, left out or doubled."""
    root = json.loads(content)
    for _ in range(random.randint(1, 3)):
        parent, key = _any_place(root, random)
        how = random.randrange(4)
        if key is None:
            continue
        if how == 0:
            del parent[key]
        elif how == 1 and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        elif how == 2:
            other, other_key = _any_place(root, random)
            parent[key] = copy.deepcopy(other[other_key]) if other_key is not None else None
        else:
            parent[key] = copy.deepcopy(random.choice(VALUES))
    return json.dumps(root).encode()


def _any_place(root, random: random.Random):
    """Returns (list or object, key in it) of a random value; key None in an empty root."""
    found, node = (root, None), root
    while isinstance(node, list | dict) and node:
        key = random.choice(list(node)) if isinstance(node, dict) else random.randrange(len(node))
        found = (node, key)
        if random.random() < 0.2:
            break
        node = node[key]
    return found


def mutate_png(content: bytes, random: random.Random) -> bytes:
    """Returns a PNG with one chunk changed, whose checksum is right again."""
    chunks, place = [], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    chosen = random.randrange(len(chunks))
    name, data = chunks[chosen]
    chunks[chosen] = (name, mutate_bytes(data, random) if data else data)
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


Mutation = Callable[[bytes, random.Random], bytes]
# Source -> what is done to its annotation file; of `tfrecord` to one Example of the shard.
MUTATIONS: dict[str, tuple[Mutation, ...]] = {
    "coco": (mutate_bytes, mutate_tokens, mutate_json, mutate_json),
    "voc": (mutate_bytes, mutate_tokens),
    "csv": (mutate_bytes, mutate_tokens),
    "yolo": (mutate_bytes, mutate_tokens),
    "kitti": (mutate_bytes, mutate_tokens),
    "openimages": (mutate_bytes, mutate_tokens),
    "tfrecord": (mutate_bytes,),
}
