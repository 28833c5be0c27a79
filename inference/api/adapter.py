"""The slow door of an inference endpoint: Django's request in, the same handler, a response out.

Used where a request does not come through the lane, as with Django's test client. A test holds both
doors to the same bytes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit

from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.csrf import own_netlocs
from accounts.middleware import host_rules, raw_headers
from accounts.runtime import env
from accounts.runtime_settings.in_force import origin_rules
from core.call import Answer, Call, ClientGoneError, Message
from core.envelopes import Family
from core.errors import GatehouseError
from core.http import GatedRequest
from inference.engine_rows import local_targets
from inference.engine_table import EngineTable, names_of
from inference.models import Model
from inference.remote_engines import RemoteEngine, all_targets
from inference.runtime import Runtime
from inference.stored_responses import load
from usage.drain import journal_folder
from usage.journal.writer import Journal
from usage.metering import Meter
from usage.quotas.limiter import Limiter
from usage.quotas.service import terms_in_force
from usage.quotas.store import counters
from usage.traces.settings import terms_in_force as trace_terms_in_force

Work = Callable[[Call, Answer, Runtime], Awaitable[None]]


@cache
def _meter() -> Meter:
    return Meter(Journal(journal_folder()))


def with_database(work: Callable[..., Any], *arguments: Any) -> Any:
    """`work(*arguments)` in a thread of its own, whose connection does not outlive it."""
    try:
        return work(*arguments)
    finally:
        connections.close_all()


def remote_engines() -> list[RemoteEngine]:
    """The remote engines of the settings, not yet asked."""
    return [RemoteEngine(name, url, env().engines_key) for name, url in env().engine_items]


async def make_runtime() -> Runtime:
    """What the lane's worker has, made for one request: by who closes its `engines` afterwards."""

    async def nobody(_headers: dict[bytes, bytes]) -> None:
        return None

    async def load_stored(response_id: str, user_id: str) -> dict[str, object] | None:
        return await asyncio.to_thread(with_database, load, response_id, user_id)

    table = EngineTable(engines_key=env().engines_key)
    remote = remote_engines()
    await asyncio.gather(*(engine.ask() for engine in remote))
    for engine in remote:
        engine.close()
    local = await asyncio.to_thread(with_database, local_targets, env().local_models)
    limiter = Limiter(counters(), away=env().quota_when_away, currency=env().currency)
    limiter.terms = await asyncio.to_thread(with_database, terms_in_force)
    table.replace([*local, *all_targets(remote, known=names_of(local))])
    meter = _meter()
    meter.traces = trace_terms_in_force()
    return Runtime(
        resolve=nobody,
        meter=meter,
        limiter=limiter,
        engines=table,
        load_stored=load_stored,
        want_model=_want_from_loop,
        hosts=host_rules(),
        origins=origin_rules(),
        body_limit=env().upload_limit * 1024 * 1024,
        opaque_errors=env().opaque_errors,
        own_netlocs=own_netlocs(),
    )


def want_model(name: str) -> None:
    """Ask the engine process to load a model that is not loaded."""
    Model.objects.filter(pk=name).update(wanted_at=timezone.now())


def _want_from_loop(name: str) -> None:
    """The same in a thread, as the event loop may not ask the database; nobody waits for it."""
    loop = asyncio.get_running_loop()
    _asked = loop.run_in_executor(None, with_database, want_model, name)


def serve(request: HttpRequest, work: Work, family: Family, kwargs: dict[str, str]) -> HttpResponse:
    """Run an inference handler to its end and return what it wrote."""
    return asyncio.run(_serve(request, work, family, kwargs))


async def _serve(
    request: HttpRequest, work: Work, family: Family, kwargs: dict[str, str]
) -> HttpResponse:
    body = request.body
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        messages.append(message)

    call = Call(
        method=request.method or "",
        path=request.path_info,
        query=urlsplit(request.get_full_path()).query.encode(),
        headers=raw_headers(request),
        receive=receive,
        client=request.META.get("REMOTE_ADDR", ""),
    )
    call.kwargs = kwargs
    call.principal = cast("GatedRequest", request).principal
    runtime = await make_runtime()
    answer = Answer(send, [])
    try:
        await work(call, answer, runtime)
    except ClientGoneError:
        return HttpResponse(status=499)
    except GatehouseError as exc:
        await answer.fail(exc, family, opaque=runtime.opaque_errors)
    finally:
        runtime.engines.close()
    return _response(messages)


def _response(messages: list[Message]) -> HttpResponse:
    start = next(m for m in messages if m["type"] == "http.response.start")
    parts = [m.get("body", b"") for m in messages if m["type"] == "http.response.body"]
    response = HttpResponse(b"".join(parts), status=start["status"])
    for name, value in start["headers"]:
        response[name.decode()] = value.decode("latin-1")
    return response
