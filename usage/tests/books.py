"""Events for tests: as journal records, or straight into the ledger at a moment of one's choice."""

import os
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import uuid_utils
from django.db import transaction

from usage import ledger
from usage.buckets import milliseconds
from usage.journal.lines import FINAL, OPEN
from usage.journal.writer import Journal
from usage.prices import tariff_in_force
from usage.records import row_of
from usage.series import Dictionary

NAMED = ("u", "un", "s", "ki", "kn", "m", "sm", "e")


def id_at(moment: datetime) -> str:
    """A UUIDv7 of that moment."""
    value = (milliseconds(moment) << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    return str(UUID(int=value & ~(0x3 << 62) | (0x2 << 62)))


def record(kind: str = FINAL, *, event_id: str | None = None, **more: Any) -> dict[str, Any]:
    """A journal record of a chat completion of 10 and 5 tokens, by key k1 of u1."""
    fields: dict[str, Any] = {
        "id": event_id or str(uuid_utils.uuid7()),
        "u": "u1",
        "un": "Bob",
        "s": "apikey",
        "ki": "k1",
        "kn": "key",
        "m": "m",
        "sm": "m",
        "e": "/v1/chat/completions",
        "cid": "c",
    }
    if kind != OPEN:
        fields |= {"p": 10, "c": 5, "st": 200, "n": True, "est": False, "d": 7}
    return {"k": kind, **fields, **more}


def admit(journal: Journal, **more: Any) -> int:
    """What `record` says is under way in this journal; its slot."""
    fields = record(OPEN, **more)
    named = journal.named(orjson.dumps({name: fields[name] for name in NAMED})[1:])
    return journal.open(fields["id"].encode(), named, fields["cid"].encode())


def event(moment: datetime, **more: Any) -> str:
    """Write one event of that moment into the ledger, sums included; its id."""
    event_id = more.pop("event_id", None) or id_at(moment)
    with transaction.atomic():
        ledger.write([row_of(record(event_id=event_id, **more))], Dictionary(), tariff_in_force())
    return event_id
