"""The cast: alice (an admin), bob (a user), mallory (a stranger with an account), and their clients."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

PASSWORD = "correct horse lamp"
# As `make test-full` does: every answer is held against the OpenAPI document.
CHECK_ANSWERS = bool(os.environ.get("GATEHOUSE_CHECK_ANSWERS"))


class Api:
    """A JSON client that speaks as one person, by session cookie or by key."""

    def __init__(self, *, key: str = "") -> None:
        self.client = Client(raise_request_exception=False, headers={"host": "localhost"})
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        extra: dict[str, Any] = {}
        if body is not None:
            extra = {"data": body, "content_type": "application/json"}
        merged = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        answer = self.client.generic(
            method,
            path,
            data=_encoded(extra.get("data")),
            content_type=extra.get("content_type", ""),
            headers=merged,
        )
        if CHECK_ANSWERS:
            from tests.conformance import unlike

            assert not (fault := unlike(method, path, answer)), fault
        return answer

    def get(self, path: str, **headers: str) -> Any:
        return self("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self("POST", path, {} if body is None else body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Any:
        return self("PUT", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self("DELETE", path, **headers)


def _encoded(data: Any) -> bytes:
    import orjson

    if data is None:
        return b""
    return data if isinstance(data, bytes) else orjson.dumps(data)


@pytest.fixture
def anonymous(db: None) -> Api:
    return Api()


@pytest.fixture
def make_user(db: None) -> Callable[..., Any]:
    from accounts.models import User

    def make(email: str, *, role: str = "user", status: str = "active", **fields: Any) -> Any:
        user = User(email=email, name=email.partition("@")[0], role=role, status=status, **fields)
        user.set_password(PASSWORD)
        user.save()
        return user

    return make


@pytest.fixture
def make_key(db: None) -> Callable[..., tuple[Any, str]]:
    from accounts import api_keys
    from accounts.audit import CLI

    def make(user: Any, *, name: str = "key", expires_at: Any = None) -> tuple[Any, str]:
        return api_keys.create(user, name=name, expires_at=expires_at, by=CLI)

    return make


@pytest.fixture(autouse=True)
def _settings_end_with_their_rows() -> Iterator[None]:
    """A test's rows are rolled back, which moves no counter: nobody may remember them."""
    from accounts import runtime

    yield
    if runtime.stored_settings.cache_info().currsize and runtime.stored_settings().holds_any:
        runtime.stored_settings().forget()


def sign_in(user: Any) -> Api:
    api = Api()
    answer = api.post("/api/auth/login", {"email": user.email, "password": PASSWORD})
    assert answer.status_code == 200, answer.content
    return api


@pytest.fixture
def alice(make_user: Callable[..., Any]) -> Any:
    return make_user("alice@example.org", role="admin")


@pytest.fixture
def bob(make_user: Callable[..., Any], alice: Any) -> Any:
    return make_user("bob@example.org")


@pytest.fixture
def mallory(make_user: Callable[..., Any], alice: Any) -> Any:
    return make_user("mallory@example.org")


@pytest.fixture
def as_alice(alice: Any) -> Api:
    return sign_in(alice)


@pytest.fixture
def as_bob(bob: Any) -> Api:
    return sign_in(bob)


@pytest.fixture
def as_mallory(mallory: Any) -> Api:
    return sign_in(mallory)
