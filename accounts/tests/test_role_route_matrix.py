"""Family 1: every route as everybody, generated from the gate's table (CVE-2026-35029, -45397).

A route without a row fails in test_gate.py; a row without an expectation fails here.
"""

import re

import pytest
from django.urls import get_resolver

from accounts.gate import GATE
from accounts.models import User
from accounts.tests.test_gate import routes
from tests.people import Api, sign_in

SOME_ID = "00000000-0000-4000-8000-000000000000"
# Who meets a requirement. `pending` and `disabled` hold a key and a session from better days.
MEETS = {
    "public": {"anonymous", "pending", "disabled", "user", "admin", "legacy"},
    "user": {"user", "admin", "legacy"},
    "feature": {"user", "admin", "legacy"},
    "account": {"user", "admin"},
    "session": {"user", "admin"},
    "admin": {"admin", "legacy"},
}
CALLERS = ("anonymous", "pending", "disabled", "user", "admin", "legacy")

pytestmark = pytest.mark.slow


def addresses():
    """(name, method, kind of requirement, a path) for every row of the table."""
    found = dict(
        reversed([(name, str(each.pattern)) for name, each in routes(get_resolver().url_patterns)])
    )
    for (name, method), line in sorted(GATE.items()):
        path = re.sub(r"<uuid:\w+>", SOME_ID, "/" + found[name])
        path = re.sub(r"<int:\w+>", "1", path)
        path = re.sub(r"<\w+:\w+>", "x", path)
        kind = line.removeprefix("duty:").partition(":")[0]
        yield pytest.param(name, method, kind, path, id=f"{method} {path}")


@pytest.fixture
def callers(make_user, alice, bob, make_key):
    gone = {status: make_user(f"{status}@example.org") for status in ("pending", "disabled")}
    made = {"anonymous": Api(), "user": sign_in(bob), "admin": sign_in(alice)}
    made["legacy"] = Api(key="legacy-key-one")
    for status, user in gone.items():
        made[status] = sign_in(user)
        made[status].headers = {"x-api-key": make_key(user)[1]}
        User.objects.filter(pk=user.pk).update(status=status)
    return made


def is_refused(answer):
    """The gate's 401 or 403 (in an envelope; a handler's own are flat, G-01), or a page's way of saying so.

    `/api/usage/all` (E-39) refuses a user in its handler, flat.
    """
    target = answer.headers.get("location", "")
    if answer.status_code in {401, 403}:
        is_json = answer.headers["content-type"] == "application/json"
        error = answer.json()["error"] if is_json else {}
        return isinstance(error, dict) or error == "admin access required"
    return target.startswith(("/login?next", "/app?notice"))


@pytest.mark.parametrize(("name", "method", "kind", "path"), list(addresses()))
def test_who_gets_past_the_gate(callers, name, method, kind, path):
    for who in CALLERS:
        api = callers[who]
        api.client.cookies.pop("csrftoken", None)
        answer = api(method, path, {} if method in {"POST", "PUT"} else None)

        if who in MEETS[kind]:
            own_page_check = answer.status_code == 403 and b"form" in answer.content
            assert own_page_check or not is_refused(answer), (who, answer.status_code)
        else:
            assert is_refused(answer), (who, answer.status_code, answer.headers)
        assert answer.status_code != 500, (who, answer.content)
        if name in {"logout", "auth-logout"} and who in {"user", "admin"}:
            api.client = sign_in(
                User.objects.get(email={"user": "bob", "admin": "alice"}[who] + "@example.org")
            ).client


@pytest.mark.parametrize("path", ["/admin/", "/admin/accounts/user/", "/admin/accounts/apikey/"])
def test_djangos_admin_is_for_admins(callers, path):
    for who in CALLERS:
        answer = callers[who].get(path)
        if who == "admin":
            assert answer.status_code == 200
        else:
            assert answer.status_code in {302, 403}, who


def test_anonymous_callers_cannot_tell_unknown_paths_from_closed_ones(db):
    unknown, closed = Api().get("/api/nothing"), Api().get("/api/auth/me")

    assert unknown.status_code == closed.status_code == 401
    assert unknown.content == closed.content
