"""Traces for admins: pages, one in full, a summary (surface, section 2; R-12, R-30).

Each in a fixed number of queries. The bound of the settings counts at once, also before a drain has
trimmed the tables.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db.models import QuerySet

from usage.models import EngineTrace, RequestTrace, TraceContent, UsageSeries
from usage.traces.settings import max_items

MAX_ANSWER_BYTES = 32 * 1024 * 1024  # of bodies in one page; older ones are left out of it
N_BUCKETS, WORST_SHARE = 12, 0.95
MODEL_LOAD = "model_load"
# By the end of the path that was called.
_KINDS = {
    "embeddings": "embedding",
    "tokenize": "tokenize",
    "detokenize": "tokenize",
    "count_tokens": "tokenize",
    "transcriptions": "transcription",
    "translations": "transcription",
    "images/generations": "image_generation",
    "images/edits": "image_generation",
    "video": "video_generation",
    "videos": "video_generation",
    "tts": "tts",
    "speech": "tts",
    "sound-generation": "sound_generation",
    "rerank": "rerank",
    "detection": "detection",
    "vad": "vad",
}
Shape = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """What is asked for: `limit` rows (0: all), `offset` counted from the newest, and filters.

    Empty filters and a `status` of 0 leave everything in. A `status` below 10 is a class: 4 is 400 to
    499.
    """

    limit: int
    offset: int
    full: bool = False
    user: str = ""
    model: str = ""
    path: str = ""
    correlation_id: str = ""
    kind: str = ""
    status: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """`items` ascend in time; `total` is how many the filters leave."""

    items: list[Shape]
    total: int


def requests(page: Page) -> Found:
    """The request traces of one page."""
    rows = _of_status(_newest(RequestTrace), page.status)
    if page.correlation_id:
        rows = rows.filter(correlation_id=page.correlation_id)
    if page.path:
        rows = rows.filter(series_id__in=_series(endpoint=page.path))
    if page.user:
        rows = rows.filter(series_id__in=_series(user_id=page.user) | _series(user_name=page.user))
    if page.model:
        rows = rows.filter(series_id__in=_series(model=page.model)) | rows.filter(
            unknown_model=page.model
        )
    total, found = _page_of(rows, page)
    contents = _contents([row.pk for row in found]) if page.full else {}
    return Found(_shapes(found, contents), total)


def request(trace_id: UUID) -> Shape | None:
    """One request trace in full; None where there is none."""
    row = _newest(RequestTrace).filter(pk=trace_id).first()
    return None if row is None else _shapes([row], _contents([row.pk]))[0]


def engine_calls(page: Page) -> Found:
    """The engine traces of one page."""
    rows = _of_status(_newest(EngineTrace), page.status)
    if page.correlation_id:
        rows = rows.filter(correlation_id=page.correlation_id)
    if page.model:
        rows = rows.filter(model=page.model)
    if page.path:
        rows = rows.filter(endpoint=page.path)
    if page.kind:
        rows = _of_kind(rows, page.kind)
    total, found = _page_of(rows, page)
    return Found([_engine_shape(row) for row in found], total)


def engine_call(trace_id: UUID) -> Shape | None:
    """One engine trace; None where there is none."""
    row = _newest(EngineTrace).filter(pk=trace_id).first()
    return None if row is None else _engine_shape(row)


def kinds() -> list[str]:
    """What engine traces are of."""
    return sorted({"llm", MODEL_LOAD, *_KINDS.values()})


def summary(hours: int, now: datetime) -> Shape:
    """How many requests of the last `hours` there are traces of, by twelfths of them."""
    start = now - timedelta(hours=hours)
    start_us, span_us = _us(start), hours * 3600 * 1_000_000 // N_BUCKETS
    columns = ("ended_us", "total_us", "status")
    counts, errors = [0] * N_BUCKETS, [0] * N_BUCKETS
    times = []
    for ended_us, total_us, status in _newest(RequestTrace).values_list(*columns):
        bucket = (ended_us - total_us - start_us) // span_us
        if bucket < 0:
            continue
        bucket = min(bucket, N_BUCKETS - 1)
        counts[bucket] += 1
        errors[bucket] += status >= 500
        times.append(total_us)
    times.sort()
    worst = times[min(len(times) - 1, int(WORST_SHARE * len(times)))] if times else 0
    buckets = [
        {"start": _moment(start_us + i * span_us), "count": counts[i], "errors": errors[i]}
        for i in range(N_BUCKETS)
    ]
    found = {"total": sum(counts), "errors": sum(errors), "p95_ms": round(worst / 1000, 3)}
    return {**found, "window_hours": hours, "buckets": buckets}


def _newest(model: type[Any]) -> QuerySet[Any]:
    """What the bound leaves, newest first."""
    rows = model.objects.order_by("-ended_us", "-id")
    found: QuerySet[Any] = rows.filter(pk__in=rows.values("pk")[: max_items()])
    return found


def _page_of(rows: QuerySet[Any], page: Page) -> tuple[int, list[Any]]:
    """How many there are, and those of the page, the oldest first."""
    total = rows.count()
    end = page.offset + page.limit if page.limit else None
    found = list(rows[page.offset : end])
    found.reverse()
    return total, found


def _of_status(rows: QuerySet[Any], status: int) -> QuerySet[Any]:
    if not status:
        return rows
    if status < 10:
        return rows.filter(status__gte=100 * status, status__lt=100 * (status + 1))
    return rows.filter(status=status)


def _series(**names: str) -> QuerySet[UsageSeries, int]:
    return UsageSeries.objects.filter(**names).values_list("pk", flat=True)


def _of_kind(rows: QuerySet[EngineTrace], kind: str) -> QuerySet[EngineTrace]:
    if kind == MODEL_LOAD:
        return rows.filter(kind=kind)
    rows = rows.exclude(kind=MODEL_LOAD)
    endings = [ending for ending, each in _KINDS.items() if kind in {each, "llm"}]
    pattern = f"/({'|'.join(endings)})$"
    if kind == "llm":
        return rows.exclude(endpoint__regex=pattern)
    return rows.filter(endpoint__regex=pattern)


def _contents(ids: Iterable[UUID]) -> dict[UUID, Shape]:
    """Headers and bodies of these, the newest as long as they fit into one answer."""
    kept = TraceContent.objects.filter(pk__in=list(ids)).order_by("-kept_us", "-id")
    wanted, total = [], 0
    for pk, n_bytes in kept.values_list("pk", "n_bytes"):
        total += n_bytes
        if total > MAX_ANSWER_BYTES:
            break
        wanted.append(pk)
    found = TraceContent.objects.filter(pk__in=wanted).values_list("pk", "data")
    return {pk: orjson.loads(data) for pk, data in found}


def _shapes(rows: list[RequestTrace], contents: Mapping[UUID, Shape]) -> list[Shape]:
    series = UsageSeries.objects.in_bulk({row.series_id for row in rows})
    return [_request_shape(row, series.get(row.series_id), contents.get(row.pk)) for row in rows]


def _request_shape(row: RequestTrace, series: UsageSeries | None, content: Shape | None) -> Shape:
    kept = content or {}
    asked: Shape = {"method": "POST", "path": series.endpoint if series else ""}
    asked |= {"headers": kept.get("qh"), **_body(kept.get("q"), row.request_bytes)}
    answered: Shape = {"status": row.status, "headers": _answer_headers(row) if content else None}
    answered |= _body(kept.get("a"), row.response_bytes)
    found = {
        "id": str(row.pk),
        "timestamp": _moment(row.ended_us - row.total_us),
        "duration": row.total_us * 1000,
        "request": asked,
        "response": answered,
        "user_id": series.user_id if series else "",
        "user_name": series.user_name if series else "",
        "api_key_name": series.api_key_name if series else None,
        "client_ip": row.client_ip,
        "user_agent": row.user_agent,
        "model": row.unknown_model or (series.model if series else ""),
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "stages_ms": _stages(row),
        "correlation_id": row.correlation_id,
    }
    return {**found, "error": row.error} if row.error else found


def _answer_headers(row: RequestTrace) -> Shape:
    kind = "text/event-stream; charset=utf-8" if row.streamed else "application/json"
    return {"Content-Type": [kind], "X-Correlation-Id": [row.correlation_id]}


def _body(kept: Shape | None, n_bytes: int) -> Shape:
    """A body as LocalAI shows it: base64, null where none is kept."""
    if kept is None:
        return {"body": None, "body_bytes": n_bytes}
    found = {"body": kept["b"], "body_bytes": n_bytes}
    return {**found, "body_truncated": True} if kept["cut"] else found


def _stages(row: RequestTrace) -> Shape:
    """Where the time went; together they are the duration."""
    stages = {
        "gate": row.gate_us,
        "queue": row.queue_us,
        "first_token": row.first_us,
        "stream": row.rest_us,
    }
    stages["settle"] = max(0, row.total_us - sum(stages.values()))
    return {name: us / 1000 for name, us in stages.items()}


def _engine_shape(row: EngineTrace) -> Shape:
    kind = row.kind or _kind_of(row.endpoint)
    data: Shape = {"correlation_id": row.correlation_id}
    if not row.kind:
        data |= {"endpoint": row.endpoint, "streamed": row.streamed}
        data |= {"prompt_tokens": row.prompt_tokens, "completion_tokens": row.completion_tokens}
        data["first_token_ms"] = row.first_us / 1000
    found = {
        "id": str(row.pk),
        "timestamp": _moment(row.ended_us - row.total_us),
        "duration": row.total_us * 1000,
        "status": row.status,
        "type": kind,
        "model_name": row.model,
        "backend": row.backend,
        "summary": _said(row),
        "correlation_id": row.correlation_id,
        "data": data,
    }
    return {**found, "error": row.error} if row.error else found


def _kind_of(endpoint: str) -> str:
    found = (kind for ending, kind in _KINDS.items() if endpoint.endswith(f"/{ending}"))
    return next(found, "llm")


def _said(row: EngineTrace) -> str:
    seconds = f"{row.total_us / 1e6:.2f} s"
    if row.kind == MODEL_LOAD:
        return f"not loaded after {seconds}" if row.error else f"loaded in {seconds}"
    return f"{row.prompt_tokens} + {row.completion_tokens} tokens in {seconds}"


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


def _moment(us: int) -> str:
    found = datetime.fromtimestamp(us / 1e6, UTC)
    return found.isoformat(timespec="microseconds").replace("+00:00", "Z")
