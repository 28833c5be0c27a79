"""Which of the addresses in `urls.py` the lane and the door of WebSockets serve themselves."""

import re
from typing import cast

from django.urls import URLPattern, get_resolver

from accounts.gate import GATE, requirement_for
from inference.api.views import LaneView
from inference.lane import ASGIApp, Route, Routes
from inference.socket_door import SocketRoute

# `models/<name>` is the lane's; `models/jobs` and its like stand before it and are Django's.
SHARED_FOLDER = "models/"


def lane_routes() -> Routes:
    """The inference views of `urls.py` with their lines of the gate: one matcher for both doors."""
    exact: dict[str, Route] = {}
    patterns: list[tuple[re.Pattern[str], Route | None]] = []
    for pattern in get_resolver().url_patterns:
        view = getattr(getattr(pattern, "callback", None), "cls", None)
        if not isinstance(pattern, URLPattern):
            continue
        if view is None or not issubclass(view, LaneView):
            if str(pattern.pattern).startswith(SHARED_FOLDER):
                patterns.append((pattern.pattern.regex, None))
            continue
        name = pattern.name or ""
        requirements = {method: line for (named, method), line in GATE.items() if named == name}
        label = f"/{pattern.pattern}"
        route = Route(name, view.family, view.lane_work(), requirements, label)
        if pattern.pattern.converters:
            patterns.append((pattern.pattern.regex, route))
        else:
            exact["/" + str(pattern.pattern)] = route
    return Routes(exact, patterns)


def socket_routes() -> list[SocketRoute]:
    """The views of `urls.py` that take WebSockets, with their lines of the gate."""
    found = []
    for pattern in get_resolver().url_patterns:
        view = getattr(getattr(pattern, "callback", None), "cls", None)
        if isinstance(pattern, URLPattern) and (consumer := getattr(view, "socket", None)):
            line = requirement_for(pattern.name or "", "GET")
            app = cast("ASGIApp", consumer.as_asgi())
            found.append(SocketRoute(pattern.pattern.regex, line, consumer.check, app))
    return found
