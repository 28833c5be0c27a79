"""What a worker has under way: the table at the head of its journal segment (docs/journal.md).

One slot per open request, written in place and read only once the worker is dead; so what is being
written need not be told from what is whole. A slot is taken while its last field, a number, is not 0.
"""

import mmap
from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO, Final

MAGIC = b"GATEHOU2"
HEADER = Struct("@8sI4x")  # magic, number of slots
# Event id, the caller's correlation id, progress, number of the names.
SLOT = Struct("@36s128s28sI")
PROGRESS: Final = Struct(
    "@7I"
)  # prompt, cached, completion, ms: so far, to first token, in line; flags
NUMBER: Final = Struct("@I")
PROGRESS_AT, NUMBER_AT = 164, 192
SLOTS = 256  # at first; twice as many whenever they are all taken
_MOST = 2**32 - 1
NOTED, STREAMED, ESTIMATED, HAS_FIRST_TOKEN = 1, 2, 4, 8


def size(n_slots: int) -> int:
    """The bytes before the first line of a segment with so many slots."""
    return HEADER.size + n_slots * SLOT.size


def offsets(first: int, n_slots: int) -> list[int]:
    """Where the slots from `first` up to `n_slots` are in the file, the lowest last: it is used first."""
    return [HEADER.size + i * SLOT.size for i in range(n_slots - 1, first - 1, -1)]


def progress(*amounts: int, flags: int) -> bytes:
    """What goes into a slot at PROGRESS_AT, in the order of PROGRESS."""
    return PROGRESS.pack(*[min(amount, _MOST) for amount in amounts], flags | NOTED)


def numbers(segment: mmap.mmap, taken: Iterable[int]) -> set[int]:
    """The numbers of names that these slots refer to."""
    return {NUMBER.unpack_from(segment, slot + NUMBER_AT)[0] for slot in taken}


def lines_at(file: BinaryIO) -> int:
    """Where the lines of a segment begin; 0 in one of the first format, which has no table."""
    file.seek(0)
    head = file.read(HEADER.size)
    if len(head) < HEADER.size:
        return 0
    magic, n_slots = HEADER.unpack(head)
    return size(n_slots) if magic == MAGIC else 0


def left_open(path: Path) -> dict[str, dict[str, Any]]:
    """The records of what is in the table of a segment, by id: how far each request had come."""
    with path.open("rb") as file:
        end = lines_at(file)
        file.seek(HEADER.size)
        slots = file.read(max(0, end - HEADER.size))
    whole = len(slots) // SLOT.size * SLOT.size
    found = (_record(*fields) for fields in SLOT.iter_unpack(slots[:whole]) if fields[-1])
    return {record["id"]: record for record in found}


def _record(event_id: bytes, correlation_id: bytes, noted: bytes, number: int) -> dict[str, Any]:
    record: dict[str, Any] = {"id": event_id.decode("ascii", "replace"), "w": number}
    if given := correlation_id.rstrip(b"\0"):
        record["cid"] = given.decode("ascii", "replace")
    prompt, cached, completion, so_far_ms, first_ms, queue_ms, flags = PROGRESS.unpack(noted)
    if flags & NOTED:
        record |= {"p": prompt, "cp": cached, "c": completion, "d": so_far_ms, "q": queue_ms}
        record |= {"st": 200, "n": True, "sse": bool(flags & STREAMED)}
        record["est"] = bool(flags & ESTIMATED)
        if flags & HAS_FIRST_TOKEN:
            record["tt"] = first_ms
    return record
