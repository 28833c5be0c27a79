"""The lines of the journal: one record each, with its checksum (docs/journal.md)."""

import zlib
from typing import Any

import orjson

VERSION = b"1"
LINE = VERSION + b" %x %b\n"  # checksum of the JSON, JSON
OPEN, PROGRESS, FINAL, CLOSED, RESPONSE, NAMES, TRACE = "o", "p", "f", "c", "r", "d", "t"
Record = dict[str, Any]


def encode(record: Record) -> bytes:
    """`1 <crc32 of the JSON, hex> <JSON>`, ended by a newline."""
    return line_of(orjson.dumps(record))


def line_of(body: bytes) -> bytes:
    """The line of a record that is JSON already."""
    return LINE % (zlib.crc32(body), body)


def decode(line: bytes) -> Record | None:
    """The record of one line without its newline, or None where it is torn or not ours."""
    version, _, rest = line.partition(b" ")
    checksum, _, body = rest.partition(b" ")
    if version != VERSION:
        return None
    try:
        if int(checksum, 16) != zlib.crc32(body):
            return None
        record = orjson.loads(body)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


CLOSING = encode({"k": CLOSED})
