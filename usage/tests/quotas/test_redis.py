"""What is Redis's alone: nobody there, a client that leaves, one prefix."""

import asyncio
import socket
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import redis

from tests.postgresql import free_port
from usage.quotas.redis_counters import PREFIX, AsyncRedisCounters, RedisCounters
from usage.quotas.terms import CountersAwayError, CountersMissingError, Hold
from usage.tests.quotas.conftest import a_rule

NOW = 1_800_000_000.0


def everything(rule):
    """Each method with arguments that fit, but `settle`."""
    return [
        ("reserve", [rule], 1, 1, NOW),
        ("charge", rule, NOW, 1, 1, 1, NOW),
        ("fill", rule, [], NOW),
        ("standing", rule, NOW),
        ("exists", rule),
        ("forget", rule.id),
    ]


def test_without_a_redis_every_call_says_so():
    counters = RedisCounters(f"redis://127.0.0.1:{free_port()}/0")

    for name, *arguments in everything(a_rule()):
        with pytest.raises(CountersAwayError):
            getattr(counters, name)(*arguments)
    counters.beat(NOW)  # nothing is held: nothing to ask
    counters.close()


async def test_without_a_redis_every_coroutine_says_so():
    counters = AsyncRedisCounters(f"redis://127.0.0.1:{free_port()}/0")

    for name, *arguments in everything(a_rule()):
        with pytest.raises(CountersAwayError):
            await getattr(counters, name)(*arguments)
    await counters.close()


@pytest.fixture
def silent(redis_url):
    """Makes Redis answer nobody for a little longer than anybody waits."""
    with redis.Redis.from_url(redis_url) as client:
        yield lambda: client.client_pause(1300, all=True)
        client.ping()


def test_a_redis_that_does_not_answer_is_away_after_a_second(redis_url, silent):
    counters, rule = RedisCounters(redis_url), a_rule()
    counters.fill(rule, [], NOW)
    hold = counters.reserve([rule], 0, 0, NOW)
    silent()
    started = time.monotonic()

    with pytest.raises(CountersAwayError):
        counters.settle(hold, True, 5, 0, NOW)

    assert 0.9 < time.monotonic() - started < 2
    assert not hold.settled
    counters.close()


async def test_nor_does_a_coroutine_wait_longer(redis_url, silent):
    counters, rule = AsyncRedisCounters(redis_url), a_rule()
    await counters.fill(rule, [], NOW)
    hold = await counters.reserve([rule], 0, 0, NOW)
    silent()
    started = time.monotonic()

    with pytest.raises(CountersAwayError):
        await counters.settle(hold, True, 5, 0, NOW)

    assert 0.9 < time.monotonic() - started < 2
    assert not hold.settled
    await counters.close()


class Mute:
    """A way to Redis that lets each script through and loses its answer with the connection."""

    def __init__(self, url):
        self._behind = urlsplit(url).port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._door.getsockname()[1]}/0"
        self._thread = threading.Thread(target=self._serve)

    def _serve(self):
        with suppress(OSError):  # the door is shut at the end
            while True:
                caller, _ = self._door.accept()
                with caller, socket.create_connection(("127.0.0.1", self._behind)) as behind:
                    caller.settimeout(5)
                    while asked := caller.recv(65536):
                        behind.sendall(asked)
                        answer = behind.recv(65536)
                        if b"EVALSHA" in asked:
                            break
                        caller.sendall(answer)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._thread.join(10)


def test_a_reservation_whose_answer_is_lost_is_not_made_again(redis_url):
    rule = a_rule()
    with RedisReader(redis_url) as reader, Mute(redis_url) as way:
        reader.fill(rule, [], NOW)
        with RedisReader(way.url) as counters, pytest.raises(CountersAwayError):
            counters.reserve([rule], 0, 0, NOW)

        assert reader.standing(rule, NOW).requests == 1


async def test_nor_by_a_coroutine(redis_url):
    rule, reader = a_rule(), RedisCounters(redis_url)
    reader.fill(rule, [], NOW)
    with Mute(redis_url) as way:
        counters = AsyncRedisCounters(way.url)
        with pytest.raises(CountersAwayError):
            await counters.reserve([rule], 0, 0, NOW)
        await counters.close()

    assert reader.standing(rule, NOW).requests == 1
    reader.close()


def test_all_of_a_rule_is_under_one_prefix_and_goes_with_it(redis_url):
    counters, rule = RedisCounters(redis_url), a_rule(max_total_tokens=10)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        counters.fill(rule, [], NOW)
        counters.reserve([rule], 5, 0, NOW)

        names = client.keys()
        assert len(names) == 3
        assert all(name.startswith(f"{PREFIX}{rule.id}".encode()) for name in names)
        counters.forget(rule.id)
        assert client.keys() == []
    counters.close()


def test_a_redis_that_was_emptied_has_no_counters(redis_url):
    counters, rule = RedisCounters(redis_url), a_rule()
    counters.fill(rule, [], NOW)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        client.script_flush()

    with pytest.raises(CountersMissingError):
        counters.reserve([rule], 0, 0, NOW)
    counters.close()


async def test_a_reservation_that_is_cancelled_is_taken_back(redis_url):
    counters, rule = AsyncRedisCounters(redis_url), a_rule()
    await counters.fill(rule, [], NOW)
    for turns in range(12):  # from before it is sent to after it is answered
        task = asyncio.ensure_future(counters.reserve([rule], 0, 0, NOW))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            await counters.settle(await task, False, 0, 0, NOW)
            continue
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    while counters._tasks:
        await asyncio.sleep(0.005)

    standing = await counters.standing(rule, NOW)
    assert (standing.requests, standing.concurrent) == (0, 0)
    await counters.close()


async def test_a_settlement_that_is_cancelled_goes_on(redis_url):
    counters, rule = AsyncRedisCounters(redis_url), a_rule()
    await counters.fill(rule, [], NOW)
    hold = await counters.reserve([rule], 0, 0, NOW)
    task = asyncio.ensure_future(counters.settle(hold, True, 5, 6, NOW))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await counters.close()

    with RedisReader(redis_url) as reader:
        standing = reader.standing(rule, NOW)
    assert (standing.requests, standing.tokens, standing.concurrent) == (1, 5, 0)


async def test_more_calls_at_once_than_connections(redis_url):
    counters, rule = AsyncRedisCounters(redis_url), a_rule(max_requests=200)
    await counters.fill(rule, [], NOW)

    found = await asyncio.gather(*(counters.reserve([rule], 0, 0, NOW) for _ in range(300)))

    assert sum(isinstance(each, Hold) for each in found) == 200
    await counters.beat(NOW + 40)
    assert (await counters.standing(rule, NOW + 80)).concurrent == 200
    await counters.close()


class RedisReader:
    """A client for the length of a block."""

    def __init__(self, url):
        self.counters = RedisCounters(url)

    def __enter__(self):
        return self.counters

    def __exit__(self, *_exc):
        self.counters.close()


def test_counters_that_nobody_asks_for_go_by_themselves(redis_url):
    """After their window and a day: their rule may have gone with its user."""
    counters = RedisCounters(redis_url)
    rule = a_rule(window_s=3600, max_requests=5)
    counters.fill(rule, [(NOW, 1, 5, 0)], NOW)
    counters.reserve([rule], 10, 0, NOW)

    with redis.Redis.from_url(redis_url) as client:
        lives = {client.ttl(key) for key in client.scan_iter(f"*{rule.id}*")}
    counters.close()

    assert lives
    assert all(3600 + 86_400 - 5 < each <= 3600 + 86_400 for each in lives)
