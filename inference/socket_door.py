"""The third door: WebSockets. The gate is asked at the handshake, with the same table as the others.

A handshake that is refused is answered as a request would be, with its status and envelope.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from accounts.gate import Requirement, admit
from core.call import Receive, Scope, Send, correlation_id_for
from core.cross_site import refuse_foreign_handshake
from core.envelopes import error_body, error_headers
from core.errors import GatehouseError, InvalidRequestError, NotFoundError, UnauthenticatedError
from core.paths import canonical_path
from core.principal import Principal
from core.response_headers import SECURITY_HEADERS
from inference.lane import ASGIApp, request_headers
from inference.runtime import Runtime

GATE = "gatehouse.gate"  # in the scope: an awaitable that raises once its caller may no longer


@dataclass(frozen=True, slots=True)
class SocketRoute:
    """One address that takes WebSockets, with the gate's line for it.

    `check` gets the query of an admitted caller, and raises GatehouseError to refuse the handshake.
    """

    pattern: re.Pattern[str]
    requirement: Requirement | None
    check: Callable[[bytes], None]
    app: ASGIApp


class SocketDoor:
    """Admits, then hands over to the route's application with `url_route` and the gate in its scope."""

    def __init__(self, routes: list[SocketRoute], runtime: Callable[[], Runtime]) -> None:
        self._routes = routes
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        runtime = self._runtime()
        headers = request_headers(scope)
        try:
            route, kwargs = await self._admitted(scope, headers, runtime)
        except GatehouseError as exc:
            await _refuse(scope, send, headers, exc, opaque=runtime.opaque_errors)
            return

        async def ask_again() -> None:
            admit(await runtime.resolve(headers), route.requirement)

        admitted = {**scope, "url_route": {"args": (), "kwargs": kwargs}, GATE: ask_again}
        await route.app(admitted, receive, send)

    async def _admitted(
        self, scope: Scope, headers: dict[bytes, bytes], runtime: Runtime
    ) -> tuple[SocketRoute, dict[str, Any]]:
        """The route of an admitted caller. Raises GatehouseError."""
        path = canonical_path(scope.get("raw_path") or scope["path"].encode())
        if not runtime.hosts.permits(headers.get(b"host")):
            raise InvalidRequestError("This server does not answer to that host name.")
        if b"\0" in scope["query_string"] or b"%00" in scope["query_string"]:
            raise InvalidRequestError("The query string is not valid.")
        principal: Principal | None = await runtime.resolve(headers)
        for route in self._routes:
            if found := route.pattern.match(path[1:]):
                if runtime.check_origin:
                    refuse_foreign_handshake(headers, runtime.own_netlocs)
                admit(principal, route.requirement)
                route.check(scope["query_string"])
                return route, found.groupdict()
        raise NotFoundError if principal is not None else UnauthenticatedError


async def _refuse(
    scope: Scope, send: Send, headers: dict[bytes, bytes], error: GatehouseError, *, opaque: bool
) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    body = error_body(error, "openai", opaque=opaque)
    correlation_id = correlation_id_for(headers.get(b"x-correlation-id", b""))
    own = [
        (b"content-type", b"application/json"),
        (b"x-correlation-id", correlation_id),
        *SECURITY_HEADERS,
        *error_headers(error),
    ]
    status = error.http_status
    await send({"type": "websocket.http.response.start", "status": status, "headers": own})
    await send({"type": "websocket.http.response.body", "body": body})
