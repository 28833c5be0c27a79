"""Drives a running server by its own OpenAPI document with schemathesis, and lists what is wrong.

The same examples every time: hypothesis is derandomised and keeps no database. Nothing is raised on
the way, so that one fault does not hide the next.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tests.servers import PASSWORD, Server

TIMEOUT_S = 20
_CHECKS = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
_ON_PURPOSE = {501}  # what is not built is told so; every other 5xx is a fault
# Not driven, and why.
LEFT_OUT = {
    ("GET", "/ws/backend-logs/{model}"): "a WebSocket; as plain HTTP it is 426, tested elsewhere",
}
# Ends the very session it is called with, so each call gets one of its own.
_ENDS_ITS_SESSION = {("POST", "/api/auth/logout")}
_SIGNS_SOMEBODY_IN = "/api/auth/"


class Caller:
    """Sends as one kind of person; the admin has a key and, where a route wants one, a session."""

    def __init__(self, server: Server, *, admin: bool) -> None:
        self.server, self.admin = server, admin
        self._browser = self._sign_in() if admin else requests.Session()

    def _sign_in(self) -> requests.Session:
        session = requests.Session()
        body = {"email": "admin@example.org", "password": PASSWORD}
        answer = session.post(f"{self.server.url}/api/auth/login", json=body, timeout=TIMEOUT_S)
        assert answer.status_code == 200, answer.text
        return session

    def send(self, case: Any, where: tuple[str, str], operation: dict[str, Any]) -> Any:
        headers, session = {}, requests.Session()
        if self.admin:
            case.cookies = {}  # those that were made up would hide the real one
        if self.admin and operation["x-requirement"].endswith("session"):
            session = self._browser
        elif self.admin and where in _ENDS_ITS_SESSION:
            session = self._sign_in()
        elif self.admin:
            headers = {"Authorization": f"Bearer {self.server.key}"}
        return case.call(
            base_url=self.server.url,
            headers=headers,
            session=session,
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )


def findings(
    document: dict[str, Any],
    caller: Caller,
    *,
    examples: int,
    real: Callable[[str, str], Iterator[dict[str, Any]]],
    check: Callable[[Any, dict[str, Any]], str] = lambda _response, _operation: "",
) -> list[str]:
    """Every way in which the server did not do as its document says, once per operation.

    `real` gives path parameters that name something, taken for half of the examples; `check` is one
    more look at each answer.
    """
    load_all_checks()
    checks = [CHECKS.get_one(name) for name in _CHECKS]
    found: dict[str, str] = {}
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = result.ok()
        where = (operation.method.upper(), operation.path)
        if where in LEFT_OUT:
            continue
        declared = document["paths"][operation.path][operation.method]
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _drive(
                operation.as_strategy(generation_mode=mode),
                lambda case, ids, where=where, declared=declared: _look(
                    case, ids, where, declared, caller, checks, check, found
                ),
                examples,
                real(*where),
            )
    return [f"{name}\n    {words}" for name, words in sorted(found.items())]


def _drive(
    strategy: Any, look: Callable[[Any, Any], None], examples: int, ids: Iterator[dict[str, Any]]
) -> None:
    @hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=strategy, is_real=strategies.booleans())
    def run(case: Any, is_real: bool) -> None:
        look(case, next(ids, None) if is_real else None)

    with suppress(hypothesis.errors.Unsatisfiable):  # nothing to get wrong: no parameters, no body
        run()


def _look(  # noqa: PLR0917
    case: Any,
    ids: dict[str, Any] | None,
    where: tuple[str, str],
    declared: dict[str, Any],
    caller: Caller,
    checks: list[Any],
    check: Callable[[Any, dict[str, Any]], str],
    found: dict[str, str],
) -> None:
    """Send one example and note what is wrong with its answer, the first of each kind."""
    if ids:
        case.path_parameters = {**(case.path_parameters or {}), **ids}
    name = f"{where[0]} {where[1]}"
    try:
        response = caller.send(case, where, declared)
    except requests.RequestException as exc:
        found.setdefault(f"{name}: no answer", f"{type(exc).__name__}: {exc}"[:300])
        return
    sent = f"{case.formatted_path}?{case.query} {str(case.body)[:300]} -> {response.status_code}"
    got = f"{sent} {response.text[:300]}"
    if response.status_code >= 500 and response.status_code not in _ON_PURPOSE:
        found.setdefault(f"{name}: {response.status_code}", got)
    if words := check(response, declared):
        found.setdefault(f"{name}: {words}", got)
    try:
        case.validate_response(response, checks=checks)
    except BaseExceptionGroup as group:
        for each in group.exceptions:
            found.setdefault(
                f"{name}: {type(each).__name__} {response.status_code}", f"{each}\n{got}"[:1500]
            )


def _made(answer: Any) -> Any:
    assert answer.is_success, f"{answer.request.url}: {answer.status_code} {answer.text[:300]}"
    return answer.json()


class Things:
    """Things that paths name: made anew for each operation that could change or delete them."""

    def __init__(self, server: Server) -> None:
        self._server, self._count = server, 0

    def __call__(self, method: str, path: str) -> Iterator[dict[str, Any]]:
        while True:
            found = {
                name: make()
                for name, make in {
                    "user_id": self._user,
                    "quota_id": lambda: "",
                    "key_id": self._key,
                    "invite_id": self._invite,
                    "price_id": self._price,
                    "model": lambda: "m",
                    "job_id": self._job,
                    "session_id": self._session_id,
                    "response_id": self._response,
                    "model_id": self._entry,
                    "chat_id": self._chat,
                    "message_id": lambda: "",
                }.items()
                if f"{{{name}}}" in path
            }
            if "quota_id" in found:
                found["quota_id"] = self._quota(found["user_id"])
            if "message_id" in found:
                found["message_id"] = self._answer(found["chat_id"])
            yield found
            if method == "GET":
                while True:
                    yield found

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        with self._server.client() as client:
            return _made(client.request(method, path, json=body))

    def _session(self, method: str, path: str, body: Any = None) -> Any:
        with self._server.admin_browser() as browser:
            return _made(browser.request(method, path, json=body))

    def _user(self) -> str:
        self._count += 1
        code = self._ask("POST", "/api/auth/admin/invites", {})["code"]
        body = {
            "email": f"person{self._count}@example.org",
            "password": PASSWORD,
            "inviteCode": code,
        }
        with self._server.client() as client:
            client.headers.pop("Authorization")
            made = client.post("/api/auth/register", json=body)
        assert made.status_code == 201, made.text
        return str(made.json()["user"]["id"])

    def _quota(self, user_id: str) -> str:
        path = f"/api/auth/admin/users/{user_id}/quotas"
        return str(self._ask("PUT", path, {"window": "1h", "max_requests": 5})["quota"]["id"])

    def _chat(self) -> str:
        """In a history that the run may have switched off."""
        self._ask("PUT", "/api/chats/preferences", {"history": True})
        return str(self._ask("POST", "/api/chats", {"model": "m"})["id"])

    def _answer(self, chat_id: str) -> str:
        """One that was given, of a conversation."""
        path = f"/api/chats/{chat_id}/messages"
        return str(self._ask("POST", path, {"content": "hi"})["answer"]["id"])

    def _session_id(self) -> str:
        """Of another browser of the admin's."""
        found = self._session("GET", "/api/auth/sessions")["sessions"]
        return str(next(each["id"] for each in found if each["current"]))

    def _response(self) -> str:
        body = {"model": "m", "input": "hi"}
        made = str(self._ask("POST", "/v1/responses", body)["id"])
        with self._server.client() as client:
            address = f"/v1/responses/{made}"
            self._server.until(lambda: client.get(address).status_code == 200, 10)
        return made

    def _key(self) -> str:
        return str(self._session("POST", "/api/auth/api-keys", {"name": "one"})["id"])

    def _invite(self) -> str:
        return str(self._ask("POST", "/api/auth/admin/invites", {})["id"])

    def _price(self) -> str:
        self._count += 1
        body = {"model": f"m{self._count}", "valid_from": "2099-01-01T00:00:00Z", "prompt": "1"}
        return str(self._ask("POST", "/api/auth/admin/prices", body)["price"]["id"])

    def _job(self) -> str:
        """An operation that waits: no engine process runs here."""
        return str(self._ask("POST", "/models/apply", {"id": self._entry()})["uuid"])

    def _entry(self) -> str:
        self._count += 1
        return f"gatehouse@no-such-model-{self._count}"
