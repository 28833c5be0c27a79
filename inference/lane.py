"""The fast door: paths of inference views go straight to their handler, the rest to Django.

Plain ASGI: no Django request, no middleware, no signal, no thread, no query (decision 001).
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from accounts.gate import Requirement, admit
from core import call_times, correlation
from core.call import (
    CONNECTION,
    Answer,
    BoundedBody,
    Call,
    ClientGoneError,
    Connection,
    Receive,
    Scope,
    Send,
)
from core.cross_site import refuse_foreign
from core.envelopes import Family, refusal_family
from core.errors import (
    ForbiddenError,
    GatehouseError,
    InvalidRequestError,
    MethodNotAllowedError,
    TooLargeError,
    UnavailableError,
)
from core.paths import canonical_path
from core.response_headers import PREFLIGHT_HEADERS
from inference.runtime import Runtime

log = logging.getLogger("gatehouse.lane")
Handler = Callable[[Call, Answer, Runtime], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """One path that the lane serves. `requirements` is the gate's line for each method, `pattern`
    the path as urls.py has it, with its slash.
    """

    name: str
    family: Family
    handler: Handler
    requirements: Mapping[str, Requirement]
    pattern: str = call_times.UNKNOWN


class Routes:
    """Exact paths first, then patterns, as `urls.py` has them; one with None is the slow door's."""

    def __init__(
        self, exact: dict[str, Route], patterns: list[tuple[re.Pattern[str], Route | None]]
    ) -> None:
        self._exact = exact
        # An exact path that is spelt exactly so needs no reading; most requests are of these.
        raw = {path.encode(): (path, route) for path, route in exact.items()}
        self.match_raw: Callable[[bytes], tuple[str, Route] | None] = raw.get
        self._patterns = patterns

    def match(self, path: str) -> tuple[Route, dict[str, str]] | None:
        route = self._exact.get(path)
        if route is not None:
            return route, {}
        for pattern, each in self._patterns:
            if found := pattern.match(path[1:]):
                return None if each is None else (each, found.groupdict())
        return None


class Lane:
    """The ASGI application in front of Django."""

    def __init__(self, django: ASGIApp, routes: Routes, runtime: Callable[[], Runtime]) -> None:
        self._django = django
        self._routes = routes
        self._runtime = runtime

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """As an ASGI application, though no coroutine of its own: each in the chain costs its share."""
        connection: Connection | None = scope.pop(CONNECTION, None)  # a cycle, if it stayed
        if connection is None:
            raise RuntimeError("this application runs on its own worker, inference.web_worker")
        runtime = self._runtime()
        raw_path = scope.get("raw_path") or scope["path"].encode()
        kwargs: dict[str, str] = {}
        if (plain := self._routes.match_raw(raw_path)) is not None:
            path, route = plain
        else:
            try:
                path = canonical_path(raw_path)
            except GatehouseError as exc:
                return self._not_a_path(exc, scope, send)
            found = self._routes.match(path)
            if found is None:
                return self._slow_door({**scope, "path": path}, receive, send, runtime)
            route, kwargs = found
        headers = request_headers(scope)
        client = scope.get("client")
        call = Call(
            method=scope["method"],
            path=path,
            query=scope["query_string"],
            headers=headers,
            receive=receive,
            client=client[0] if client else "",
            connection=connection,
        )
        call.kwargs = kwargs
        own_headers = runtime.origins.headers(headers.get(b"origin"))
        own_headers.append((b"x-correlation-id", call.correlation_id))
        answer = Answer(send, own_headers, connection)
        return self._serve(connection, call, answer, runtime, route)

    @staticmethod
    async def _not_a_path(error: GatehouseError, scope: Scope, send: Send) -> None:
        await Answer(send, []).fail(error, "openai")
        call_times.record(call_times.UNKNOWN, scope["method"], 0.0)

    async def _slow_door(
        self, scope: Scope, receive: Receive, send: Send, runtime: Runtime
    ) -> None:
        """Django, with the body bounded before it: its handler spools all of it ahead of any check."""
        body, began = BoundedBody(receive, runtime.body_limit), time.perf_counter()
        try:
            await self._django(scope, body, send)
        except (TooLargeError, UnavailableError) as exc:
            await Answer(send, []).fail(exc, "openai", opaque=runtime.opaque_errors)
            seconds = time.perf_counter() - began  # what Django answers it counts itself
            call_times.record(call_times.UNKNOWN, scope["method"], seconds)

    async def _serve(
        self, connection: Connection, call: Call, answer: Answer, runtime: Runtime, route: Route
    ) -> None:
        """Answer one call; the server cancels the task where its caller hangs up meanwhile."""
        if connection.gone:
            return
        task = connection.task = asyncio.current_task(connection.loop)
        correlation.current.set(call.correlation_id)  # the task is this request's alone
        if runtime.tracing is not None:
            call.trace = runtime.tracing.start(
                call.method, route.pattern, call.headers, call.correlation_id
            )
        try:
            await _admitted(call, answer, runtime, route)
        except asyncio.CancelledError:
            if not connection.gone or task is None:
                raise
            task.uncancel()
        except ClientGoneError:
            return
        except GatehouseError as exc:  # a flat view of the lane raises nothing of its own
            family = refusal_family(route.family, exc.http_status)
            await answer.fail(exc, family, opaque=runtime.opaque_errors)
        except Exception:
            log.exception("unexpected error on %s", route.name)
            error = UnavailableError("The server could not answer this request.", status=500)
            await answer.fail(error, route.family, opaque=runtime.opaque_errors)
        finally:
            connection.task = None
            call_times.record(route.pattern, call.method, time.perf_counter() - call.started)
            if call.trace is not None:
                call.trace.end(answer.status, answer.reason, complete=answer.ended)


async def _admitted(call: Call, answer: Answer, runtime: Runtime, route: Route) -> None:
    """Who is calling, may they, and then the handler. Raises GatehouseError."""
    if not runtime.hosts.permits(call.headers.get(b"host")):
        raise InvalidRequestError("This server does not answer to that host name.")
    if call.method == "OPTIONS":
        await _preflight(answer, runtime)
        return
    headers = call.headers
    call.principal = runtime.recall(headers) or await runtime.resolve(headers)
    method = "GET" if call.method == "HEAD" else call.method
    requirement = route.requirements.get(method)
    if requirement is None and call.principal is not None:
        raise MethodNotAllowedError
    if call.principal is None and method == "GET":
        call.principal = runtime.exemptions.principal_for(call.path, requirement)
    try:
        admit(call.principal, requirement)
    except ForbiddenError as exc:
        if method == "POST":  # whoever is known and refused is in the books as an error
            runtime.meter.refused(call, status=exc.http_status, error=exc)
        raise
    if method != "GET" and runtime.check_origin:
        refuse_foreign(call.headers, runtime.own_netlocs, even_without_cookie=False)
    await route.handler(call, answer, runtime)


def request_headers(scope: Scope) -> dict[bytes, bytes]:
    """The headers by name: the first of each counts, cookies are joined."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name not in headers:
            headers[name] = value
        elif name == b"cookie":
            headers[name] += b"; " + value
    return headers


async def _preflight(answer: Answer, runtime: Runtime) -> None:
    await answer.start(204, PREFLIGHT_HEADERS if runtime.origins.enabled else [])
    await answer.end()
