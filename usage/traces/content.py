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
MAX_PARSED_BYTES = 256 * 1024  # the loop waits while a body is taken apart
MAX_HEADERS, MAX_HEADER_CHARS, MIN_SECRET, MAX_SECRETS = 100, 2000, 8, 200
MIN_TOKEN = 16  # shorter ones are a model's, in `logprobs`
# Deny by default: whatever sounds like a credential is one. Cookies have the session's in them.
_SECRET = re.compile(
    r"auth|cookie|token|secret|key|session|passw|credential|signature|jwt|assertion|principal|bearer"
)
_FIELD = (
    r"[\w.-]{0,40}(?:authoriz|auth(?!or)|cookie|token(?=\\?\")|secret|[a-z][_-]key|apikey|passw|credential"
    r"|signature|bearer)[\w.-]{0,40}"
)
# Fields of a body, and of JSON in a text of it (a tool's arguments), that sound so.
_IN_FIELDS = re.compile(
    rf'("({_FIELD})"\s*+:\s*+")((?:[^"\\]++|\\.)++)'
    rf'|(\\"({_FIELD})\\"\s*+:\s*+\\")((?:[^"\\]++|\\[^"])++)',
    re.IGNORECASE | re.DOTALL,
)
# Looked for first, which is quick: most bodies have no such field.
_HINTS = (
    *("auth", "cookie", 'token"', 'token\\"', "secret", "_key", "-key", "apikey", "passw"),
    *("credential", "signature", "bearer"),
)
_PUBLIC = frozenset({"sec-websocket-key"})
# What a body says besides what was asked and answered; texts under any other name are not kept.
_PLAIN = frozenset(
    {"model", "role", "type", "object", "id", "finish_reason", "stop_reason", "encoding_format"}
    | {"reasoning_effort", "service_tier", "status", "detail", "code"}
)
# Objects and lists whose keys are the API's; those of all others are the caller's or the model's words.
_OPEN = frozenset(
    {"", "messages", "content", "choices", "message", "delta", "usage", "tool_calls", "function"}
    | {"prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "input"}
    | {"output_tokens_details", "response", "output", "item", "part", "error", "data", "summary"}
    | {"stream_options", "reasoning", "thinking", "text", "format", "image_url", "input_audio"}
    | {"source", "content_block", "incomplete_details", "annotations", "loading"}
)
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_EVENT = re.compile(rb"(?:event: ?[a-z_.]{1,64})?\r?")
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
        asked, answer = self._request, b"".join(self._pieces)
        n_asked = len(asked)
        if self._terms.redact_prompts:
            asked, answer = _shape_of(asked), without_prompts(answer)
        record = {
            "k": TRACE,
            "id": event_id.decode("ascii"),
            "u": user_id,
            "qh": shown_headers(headers),
            "q": self._kept(asked, n_asked, secrets),
            "a": self._kept(answer, self._sent, secrets),
        }
        return orjson.dumps(record)

    def _kept(self, raw: bytes, n_bytes: int, secrets: list[bytes]) -> dict[str, Any]:
        """A body as it is kept: base64, its length as it was, and whether it was cut."""
        limit = self._terms.body_bytes
        raw = without_secrets(raw[: limit + SPARE_BYTES], secrets)
        is_cut = len(raw) > limit or n_bytes > limit + SPARE_BYTES
        return {"b": b64encode(raw[:limit]).decode(), "n": n_bytes, "cut": is_cut}


def secrets_in(headers: Mapping[bytes, bytes]) -> list[bytes]:
    """What a caller proved itself with, so that it is found in a body, too; the longest first."""
    found: set[bytes] = set()
    for name, value in headers.items():
        if _is_secret(name.decode("latin-1")):
            parts = re.split(rb"[\s;,=]+", value)
            found.update(part for part in parts if len(part) >= MIN_SECRET)
    return sorted(found, key=lambda each: (-len(each), each))


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
    """A body without the caller's own credentials, nor what looks like one.

    Nothing of it where there are more than can be looked for in good time.
    """
    if len(secrets) > MAX_SECRETS:
        return REDACTED.encode()
    for secret in secrets:
        raw = raw.replace(secret, REDACTED.encode())
    text = redacted(raw.decode("utf-8", "surrogateescape"))
    lower = text.lower()
    if any(hint in lower for hint in _HINTS):
        text = _IN_FIELDS.sub(_without_value, text)
    return text.encode("utf-8", "surrogateescape")


def _without_value(found: re.Match[str]) -> str:
    begin, name, value = found.group(1, 2, 3) if found[1] else found.group(4, 5, 6)
    is_word = name.lower().endswith("token") and len(value) < MIN_TOKEN
    return found[0] if is_word else begin + REDACTED


def readable(text: str, headers: Mapping[bytes, bytes], limit: int) -> str:
    """A short text, an error's perhaps, as it may be kept: without credentials, valid, not too long."""
    raw = text[: limit + SPARE_BYTES].encode("utf-8", "replace")
    return without_secrets(raw, secrets_in(headers)).decode("utf-8", "replace")[:limit]


def without_prompts(raw: bytes) -> bytes:
    """A JSON body, or a stream of JSON events, without texts and lists of numbers; its form stays."""
    if raw.startswith((b"data:", b"event:")):
        return b"\n".join(_event_line(line) for line in raw.split(b"\n"))
    return _shape_of(raw)


def _event_line(line: bytes) -> bytes:
    name, _, value = line.partition(b":")
    value = value.strip()
    if name != b"data":
        return line if _EVENT.fullmatch(line) else b""
    return b"data: " + (value if value == b"[DONE]" else _shape_of(value))


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
    if isinstance(value, dict):
        if name not in _OPEN or name == "input":  # which is a tool's
            return REDACTED
        return {
            key if _KEY.fullmatch(key) else REDACTED: _shape(each, key)
            for key, each in value.items()
        }
    if isinstance(value, list):
        if name not in _OPEN or not all(isinstance(each, dict | list) for each in value):
            return REDACTED
        return [_shape(each, "") for each in value]
    if isinstance(value, str):
        return value if name in _PLAIN and len(value) <= _MAX_PLAIN else REDACTED
    return value
