"""Each store, clean and with as many clients as a test wants: a client stands for a process."""

import asyncio
import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.machines import redis_server
from usage.quotas.local_counters import LocalCounters
from usage.quotas.redis_counters import AsyncRedisCounters, RedisCounters
from usage.quotas.terms import Rule

_serial = itertools.count()


def a_rule(window_s: int = 3600, **limits: Any) -> Rule:
    """A rule with an id of its own."""
    return Rule(f"rule-{next(_serial)}", "bob", None, "", window_s, **limits)


class Blocking:
    """AsyncRedisCounters, called without `await`."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._counters = self._runner.run(self._make(url))

    @staticmethod
    async def _make(url: str) -> AsyncRedisCounters:
        return AsyncRedisCounters(url)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._counters, name)
        assert inspect.iscoroutinefunction(method)
        return lambda *args, **kwargs: self._runner.run(method(*args, **kwargs))

    def close(self) -> None:
        self._runner.run(self._counters.close())
        self._runner.close()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(params=["local", "redis", "async redis"])
def kind(request: Any) -> str:
    return request.param


@pytest.fixture
def make(kind: str, request: Any, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Makes a client of the store; all of a test's share their counters."""
    if kind == "local":
        factory, place = LocalCounters, tmp_path / "quotas"
    else:
        factory = RedisCounters if kind == "redis" else Blocking
        place = request.getfixturevalue("redis_url")
    made = []

    def client() -> Any:
        made.append(factory(place))
        return made[-1]

    yield client
    for each in made:
        each.close()


@pytest.fixture
def counters(make: Callable[[], Any]) -> Any:
    return make()


@pytest.fixture
def other(make: Callable[[], Any]) -> Any:
    """Another process, as far as the counters can tell."""
    return make()
