"""Headers and bodies of a traced request, where `tracing_bodies` has them kept (R-11).

Secrets are taken out, and what was asked and answered where `tracing_redact_prompts` is on, before
anything is written: neither the journal nor the database ever has them.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import orjson

from core.redaction import redacted
from usage.journal.lines import TRACE
from usage.traces.terms import TraceTerms

REDACTED = "[redacted]"
SPARE_BYTES = 4096  # kept past the cut while secrets are looked for, so that none is cut in two
MAX_PARSED_BYTES = 1024 * 1024
MAX_HEADERS, MAX_HEADER_CHARS, MIN_SECRET = 100, 2000, 8
# Deny by default: whatever sounds like a credential is one. Cookies have the session's in them.
_SECRET = re.compile(r"auth|cookie|token|secret|key|session|passw|credential|signature")
_PUBLIC = frozenset({"sec-websocket-key"})
# What a body says besides what was asked and answered; texts under any other name are not kept.
_PLAIN = frozenset(
    {"model", "role", "type", "object", "id", "finish_reason", "stop_reason", "encoding_format"}
    | {"reasoning_effort", "service_tier", "status", "detail", "code"}
)
# Their keys, too, are the caller's or the model's own words.
_OPAQUE = frozenset(
    {"tools", "functions", "response_format", "metadata", "arguments", "logit_bias"}
    | {"logprobs", "prompt_logprobs"}
)
_MAX_PLAIN = 64


class BodyKeeper:
    """`core.trace.Content`: of the answer no more is held than is kept."""

    __slots__ = ("_left", "_pieces", "_request", "_sent", "_terms")

    def __init__(self, terms: TraceTerms, request: bytes) -> None:
        self._terms = terms
        self._request = request
        self._pieces: list[bytes] = []
        self._sent = 0
        self._left = MAX_PARSED_BYTES if terms.redact_prompts else terms.body_bytes + SPARE_BYTES

    def take(self, piece: bytes) -> None:
        self._sent += len(piece)
        if self._left > 0:
            self._pieces.append(piece[: self._left])
            self._left -= len(piece)

    def line(self, event_id: bytes, headers: Mapping[bytes, bytes], user_id: str) -> bytes:
        secrets = secrets_in(headers)
        answer = b"".join(self._pieces)
        record = {
            "k": TRACE,
            "id": event_id.decode("ascii"),
            "u": user_id,
            "qh": shown_headers(headers),
            "q": self._kept(self._request, len(self._request), secrets),
            "a": self._kept(answer, self._sent, secrets),
        }
        return orjson.dumps(record)

    def _kept(self, raw: bytes, n_bytes: int, secrets: list[bytes]) -> dict[str, Any]:
        """A body as it is kept: base64, its length as it was, and whether it was cut."""
        limit = self._terms.body_bytes
        if self._terms.redact_prompts:
            raw = without_prompts(raw)
        raw = without_secrets(raw[: limit + SPARE_BYTES], secrets)
        is_cut = len(raw) > limit or n_bytes > limit + SPARE_BYTES
        return {"b": b64encode(raw[:limit]).decode(), "n": n_bytes, "cut": is_cut}


def secrets_in(headers: Mapping[bytes, bytes]) -> list[bytes]:
    """What a caller proved itself with, so that it is found in a body, too."""
    found: list[bytes] = []
    for name, value in headers.items():
        if _is_secret(name.decode("latin-1")):
            parts = re.split(rb"[\s;,=]+", value)
            found += [part for part in parts if len(part) >= MIN_SECRET]
    return found


def shown_headers(headers: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Headers as LocalAI shows them: canonical names, a list each, `[redacted]` for secrets."""
    shown = {}
    for name, value in list(headers.items())[:MAX_HEADERS]:
        text = name.decode("latin-1")
        kept = REDACTED if _is_secret(text) else redacted(value.decode("latin-1"))
        shown[text.title()] = [kept[:MAX_HEADER_CHARS]]
    return shown


def _is_secret(name: str) -> bool:
    return name not in _PUBLIC and _SECRET.search(name) is not None


def without_secrets(raw: bytes, secrets: list[bytes]) -> bytes:
    """A body without the caller's own credentials, nor what looks like one."""
    for secret in secrets:
        raw = raw.replace(secret, REDACTED.encode())
    text = raw.decode("utf-8", "surrogateescape")
    return redacted(text).encode("utf-8", "surrogateescape")


def without_prompts(raw: bytes) -> bytes:
    """A JSON body, or a stream of JSON events, without texts and lists of numbers; its form stays."""
    if raw.startswith((b"data:", b"event:")):
        return b"\n".join(_event_line(line) for line in raw.split(b"\n"))
    return _shape_of(raw)


def _event_line(line: bytes) -> bytes:
    name, colon, value = line.partition(b":")
    value = value.strip()
    if name != b"data" or value == b"[DONE]":
        return line if name in {b"", b"event", b"data"} else b""
    return name + colon + b" " + _shape_of(value)


def _shape_of(raw: bytes) -> bytes:
    if not raw:
        return raw
    if len(raw) >= MAX_PARSED_BYTES:
        return REDACTED.encode()
    try:
        return orjson.dumps(_shape(orjson.loads(raw), ""))
    except (orjson.JSONDecodeError, TypeError, RecursionError):
        return REDACTED.encode()


def _shape(value: Any, name: str) -> Any:
    if isinstance(value, dict) and name not in _OPAQUE and name != "input":
        return {key: _shape(each, key) for key, each in value.items()}
    if isinstance(value, list) and name not in _OPAQUE:
        if all(isinstance(each, dict | list) for each in value):
            return [_shape(each, "") for each in value]
        return REDACTED
    if isinstance(value, str):
        return value if name in _PLAIN and len(value) <= _MAX_PLAIN else REDACTED
    return REDACTED if isinstance(value, dict | list) else value
