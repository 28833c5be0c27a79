"""Telling other machines that somebody's rights changed (design.md, "State that processes share").

Each machine keeps its own counters; this only carries the news that one moved. PostgreSQL's NOTIFY
does it where the database is PostgreSQL, Redis where LOCALAI_REDIS_URL is set. Whoever missed some
(a lost connection) forgets everybody, and nothing is remembered for more than a minute anyway (S-39).
"""

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
from django.db import connection, transaction

from accounts.runtime import env, generations
from core.generations import CREDENTIALS, RIGHTS, SETTINGS, SLOTS, TERMS
from core.stopping import Stop

if TYPE_CHECKING:
    import redis  # at run time only where it is used: it brings OpenTelemetry along

log = logging.getLogger("gatehouse.changes")
CHANNEL = "gatehouse_changes"
WAIT_S, AGAIN_S, TIMEOUT_S = 1.0, 2.0, 5.0


def _lost() -> tuple[type[Exception], ...]:
    """What a lost connection raises."""
    if not env().redis_url:
        return (psycopg.Error, OSError)
    import redis

    return (psycopg.Error, redis.RedisError, OSError)


def announce(slot: int) -> None:
    """Tell the others that `slot` moved, once the running transaction is committed."""
    if env().redis_url:
        transaction.on_commit(lambda: _publish(slot))
    elif connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(slot)])


def _publish(slot: int) -> None:
    try:
        with closing(_redis()) as client:
            client.publish(CHANNEL, str(slot))
    except _lost() as exc:
        log.warning("a change was not announced to other machines: %s", type(exc).__name__)


def _redis() -> "redis.Redis":
    import redis

    return redis.Redis.from_url(
        env().redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
    )


def is_needed() -> bool:
    """Whether there may be other machines to hear from."""
    return bool(env().redis_url) or connection.vendor == "postgresql"


def follow(stop: Stop) -> None:
    """Move this machine's counters as the others' move, until `stop`. Runs in a thread of its own."""
    while not stop.is_set():
        try:
            heard = _heard_by_redis(stop) if env().redis_url else _heard_by_postgresql(stop)
            for text in heard:
                _take(text)
        except _lost() as exc:
            log.warning("changes on other machines are not heard: %s", type(exc).__name__)
            stop.wait(AGAIN_S)


def _take(text: str) -> None:
    """An empty text says that listening has begun: what was missed before is forgotten, all of it."""
    bump = generations().bump
    if not text:
        bump(RIGHTS)
        bump(CREDENTIALS)
        bump(TERMS)
        bump(SETTINGS)
    elif text.isdigit() and int(text) < SLOTS:
        bump(int(text))


def _heard_by_postgresql(stop: Stop) -> Iterator[str]:
    settings = {
        k: v for k, v in connection.get_connection_params().items() if k != "cursor_factory"
    }
    settings.pop("context", None)
    with psycopg.connect(**settings, autocommit=True) as heard:
        heard.execute(f"LISTEN {CHANNEL}")
        yield ""
        while not stop.is_set():
            for notice in heard.notifies(timeout=WAIT_S):
                yield notice.payload


def _heard_by_redis(stop: Stop) -> Iterator[str]:
    with closing(_redis()) as client, client.pubsub(ignore_subscribe_messages=True) as heard:  # type: ignore[no-untyped-call]
        heard.subscribe(CHANNEL)
        heard.get_message(timeout=WAIT_S)
        yield ""
        while not stop.is_set():
            message = heard.get_message(timeout=WAIT_S)
            if message is not None:
                yield message["data"].decode("ascii", "replace")
