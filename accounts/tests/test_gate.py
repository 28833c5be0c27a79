"""Every route has a line in the gate's table, and the lines hold for every kind of caller."""

import re

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, path

from accounts.gate import GATE, admit, requirement_for
from core.errors import ForbiddenError, UnauthenticatedError
from core.principal import LEGACY, LOCAL, Principal


def routes(patterns, namespace=""):
    """(URL name, pattern) of every route below."""
    for each in patterns:
        if isinstance(each, URLResolver):
            inner = f"{each.namespace}:" if each.namespace else namespace
            yield from routes(each.url_patterns, inner)
        elif isinstance(each, URLPattern):
            yield f"{namespace}{each.name or ''}", each


def view_of(pattern):
    return getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)


def methods_of_view(pattern):
    view = view_of(pattern)
    if view is None:
        return None
    names = ("get", "post", "put", "patch", "delete")
    return {n.upper() for n in names if hasattr(view, n) and n in view.http_method_names}


def without_a_line(patterns):
    missing = []
    for name, pattern in routes(patterns):
        methods = methods_of_view(pattern)
        lines = {method for (named, method) in GATE if named == name}
        if requirement_for(name, "GET") is None and not lines:
            missing.append(name or str(pattern.pattern))
        elif methods is not None and lines and not methods - {"HEAD", "OPTIONS"} <= lines:
            redirects = view_of(pattern).__name__ == "RedirectView"
            if not redirects:
                missing.append(f"{name} {sorted(methods - lines)}")
    return missing


def test_every_route_has_a_line():
    assert without_a_line(get_resolver().url_patterns) == []


def test_a_route_that_is_added_without_a_line_is_found():
    new = path("new", lambda request: None, name="something-new")

    assert without_a_line([*get_resolver().url_patterns, new]) == ["something-new"]


def test_every_line_belongs_to_a_route():
    names = {name for name, _ in routes(get_resolver().url_patterns)}

    assert {name for name, _ in GATE} - names == set()


USER = Principal("u", "U", "u@x.org", "user", "web", frozenset({"chat"}))
KEY = Principal("u", "U", "u@x.org", "user", "apikey", frozenset({"chat"}), key_id="k")
KEYED_SESSION = Principal("u", "U", "u@x.org", "user", "web", frozenset({"chat"}), key_id="k")
ADMIN = Principal("a", "A", "a@x.org", "admin", "web")
CALLERS = {
    "nobody": None,
    "user": USER,
    "key": KEY,
    "keyed": KEYED_SESSION,
    "admin": ADMIN,
    "legacy": LEGACY,
    "local": LOCAL,
}
MATRIX = {
    "public": {"nobody", "user", "key", "keyed", "admin", "legacy", "local"},
    "user": {"user", "key", "keyed", "admin", "legacy", "local"},
    "feature:chat": {"user", "key", "keyed", "admin", "legacy", "local"},
    "feature:agents": {"admin", "legacy", "local"},
    "account": {"user", "key", "keyed", "admin"},
    "account:chat": {"user", "key", "keyed", "admin"},
    "account:agents": {"admin"},
    "session": {"user", "admin"},
    "admin": {"admin", "legacy", "local"},
    "something-mistyped": set(),
    None: set(),
}


@pytest.mark.parametrize("requirement", MATRIX)
@pytest.mark.parametrize("who", CALLERS)
def test_who_meets_which_requirement(who, requirement):
    principal = CALLERS[who]
    if who in MATRIX[requirement]:
        admit(principal, requirement)
        return
    wanted = UnauthenticatedError if principal is None else ForbiddenError
    with pytest.raises(wanted):
        admit(principal, requirement)


EXPECTED = {"admin": 403, "public": 200}


def test_each_api_route_refuses_anonymous_and_plain_callers_as_its_line_says(as_bob, anonymous):
    some_id = "00000000-0000-4000-8000-000000000000"
    for (name, method), line in GATE.items():
        if not name.startswith("auth-") or line == "public" or name == "auth-logout":
            continue
        pattern = next(p for n, p in routes(get_resolver().url_patterns) if n == name)
        url = "/" + re.sub(r"<uuid:\w+>", some_id, str(pattern.pattern)).replace(
            "<int:passkey_id>", "1"
        )

        assert anonymous(method, url, {}).status_code == 401, (method, url)
        answer = as_bob(method, url, {})
        if line == "admin":
            assert answer.status_code == 403, (method, url)
            assert answer.json()["error"]["message"] == "Admin access required"
        else:
            refused = answer.status_code in {401, 403}  # a handler's own words are flat
            assert not refused or isinstance(answer.json()["error"], str), (method, url)
