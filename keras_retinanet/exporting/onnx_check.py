"""An .onnx file, read as bytes of protocol buffers: its facts, its digest, what ours never hold.

No library builds anything of it, and none has to be installed. Numbers of the fields:
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from keras_retinanet.exporting.facts import FACTS_KEY, MAX_FACTS

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
# Of a file; a network has some 10,000.
MAX_FIELDS = 2_000_000
METADATA_PROPS = 14
KEY, VALUE = 1, 2
NODE_OPERATOR, NODE_DOMAIN = 4, 7
EXTERNAL_DATA, DATA_LOCATION = 13, 14
# Message -> number of a field -> the message in it.
MESSAGES = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        **{5: "tensor", 10: "tensor", 6: "graph", 11: "graph"},
        **{22: "sparse", 23: "sparse"},
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
# Of operators: ONNX's own. Others' run engines from files, or ask servers.
DOMAINS = {b"", b"ai.onnx"}


class Field(NamedTuple):
    """A field of a message: its number, its value where that has a length, and all its bytes."""

    number: int
    value: memoryview
    raw: memoryview


def onnx_facts(path: Path) -> bytes:
    """Return the text of the facts in an .onnx file; nothing if there is none."""
    found = b""
    for field in _fields(memoryview(path.read_bytes())):
        if field.number == METADATA_PROPS:
            entry = {part.number: part.value for part in _fields(field.value)}
            if entry.get(KEY) == FACTS_KEY.encode() and len(entry.get(VALUE, b"")) <= MAX_FACTS:
                found = bytes(entry.get(VALUE, b""))
    return found


def model_digest(content: bytes) -> str:
    """Return the SHA-256 of a model without its properties."""
    digest = hashlib.sha256()
    for field in _fields(memoryview(content)):
        if field.number != METADATA_PROPS:
            digest.update(field.raw)
    return digest.hexdigest()


def strange_parts(path: Path) -> list[str]:
    """Return what an .onnx file has and no export of ours: foreign operators, data elsewhere."""
    found: dict[str, None] = {}
    waiting, count = [("model", memoryview(path.read_bytes()))], 0
    while waiting:
        message, content = waiting.pop()
        operator, domain = b"", b""
        for field in _fields(content):
            count += 1
            if count > MAX_FIELDS:
                raise ValueError("more fields than any model's")
            inner = MESSAGES[message].get(field.number)
            if inner is not None:
                waiting.append((inner, field.value))
            elif message == "tensor" and _is_elsewhere(field):
                found["data in other files"] = None
            elif message == "node" and field.number == NODE_OPERATOR:
                operator = bytes(field.value)
            elif message == "node" and field.number == NODE_DOMAIN:
                domain = bytes(field.value)
        if domain not in DOMAINS:
            found[f"the operator {(domain + b'.' + operator).decode(errors='replace')}"] = None
    return list(found)


def _is_elsewhere(field: Field) -> bool:
    """Return whether a tensor's field says that its numbers are in another file."""
    is_set = field.number == DATA_LOCATION and bytes(field.value) != b"\0"
    return is_set or field.number == EXTERNAL_DATA


def _fields(content: memoryview) -> Iterator[Field]:
    """Give the fields of a message in turn.

    Raises:
        ValueError: the bytes are no message.
    """
    place = 0
    while place < len(content):
        start = place
        tag, place = _varint(content, place)
        kind, value_start = tag & 7, place
        if kind == VARINT:
            _, place = _varint(content, place)
        elif kind == LENGTH_DELIMITED:
            length, value_start = _varint(content, place)
            place = value_start + length
        elif kind in FIXED_SIZES:
            place += FIXED_SIZES[kind]
        else:
            raise ValueError("no message of ONNX")
        if place > len(content):
            raise ValueError("it is cut off")
        yield Field(tag >> 3, content[value_start:place], content[start:place])


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    """Return an integer and the place after it; seven bits a byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(content):
            break
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("it is cut off")
