"""A saturated engine, through the whole inference path: who is answered when, and who is refused."""

import asyncio
import dataclasses

import pytest

from bench import fairness
from core.call import Answer
from core.errors import (
    EngineFailedError,
    ModelLoadingError,
    ModelNotFoundError,
    QueueFullError,
    RateLimitedError,
)
from inference.endpoints import ENDPOINTS
from inference.engine_rows import local_targets
from inference.engine_table import EngineTable, Target
from inference.handlers import infer
from inference.models import Model
from inference.tests.rig import BOB, Rig
from inference.upstream import NotReachableError
from tests.stub import StubEngine

HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
async def make_rig(tmp_path, stub):
    made = []

    def make(*, concurrency=1, max_waiting=256, by_user=True):
        rig = Rig(tmp_path, stub.url, concurrency=concurrency)
        rig.runtime.engines.max_waiting = max_waiting
        rig.runtime.engines.by_user = by_user
        made.append(rig)
        return rig

    yield make
    for rig in made:
        await rig.runtime.finish()


class Person:
    """Sends requests as `user`, without waiting for their answers."""

    def __init__(self, rig, user):
        self.rig = rig
        self.principal = dataclasses.replace(BOB, user_id=user)
        self.calls = []
        self.tasks = []

    async def send(self, n=1, *, stream=False, **stub):
        for _ in range(n):
            call, answer = self.rig.call(
                "chat-completions",
                {"model": "m", "messages": HI, "stream": stream, "stub": {"tokens": 5, **stub}},
            )
            call.principal = self.principal
            self.calls.append(call)
            work = infer(call, answer, self.rig.runtime, ENDPOINTS["chat-completions"])
            self.tasks.append(asyncio.create_task(work))
        await asyncio.sleep(0.01)

    async def leave(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def places(rig):
    (desk,) = rig.runtime.engines._desks.values()
    return desk.places


@pytest.mark.parametrize(("by_user", "before_b_is_done"), [(True, range(4, 12)), (False, [40])])
async def test_who_comes_second_with_little_does_not_wait_for_a_long_backlog(
    make_rig, by_user, before_b_is_done
):
    rig = make_rig(concurrency=2, by_user=by_user)
    a, b = Person(rig, "a"), Person(rig, "b")
    await a.send(40, tick=0.02)
    await b.send(4, tick=0.02)

    await asyncio.gather(*a.tasks, *b.tasks)

    order = [event["u"] for event in rig.events()]
    last = max(i for i, user in enumerate(order) if user == "b")
    assert len(order) == 44
    assert order[:last].count("a") in before_b_is_done
    assert (places(rig).held, places(rig).waiting) == (0, 0)


async def test_the_engine_never_has_more_than_its_places(make_rig, stub):
    rig = make_rig(concurrency=3)
    a = Person(rig, "a")
    await a.send(12, tick=0.03)
    await a.send(12, stream=True, tick=0.01)
    seen = 0
    while not all(task.done() for task in a.tasks):
        seen = max(seen, (await asyncio.to_thread(stub.state))["active"])

    assert seen == 3
    assert [task.exception() for task in a.tasks] == [None] * 24


async def test_the_shares_of_a_saturated_engine_are_even_and_by_arrival_they_are_not(
    tmp_path, stub
):
    by_user = await fairness.shares(tmp_path / "u", stub.url, by_user=True, seconds=1)
    arrival = await fairness.shares(tmp_path / "a", stub.url, by_user=False, seconds=1)

    assert set(by_user) == set(fairness.APPETITES)
    assert fairness.jain(list(by_user.values())) > 0.98
    assert fairness.jain(list(arrival.values())) < 0.75


async def test_time_in_line_is_known_and_is_no_overhead_of_ours(make_rig):
    rig = make_rig()
    a = Person(rig, "a")
    await a.send(1, tick=0.3)
    await a.send(1)
    await asyncio.gather(*a.tasks)

    assert a.calls[0].queue_s == 0.0
    assert 0.2 < a.calls[1].queue_s < 0.6
    headers = dict(rig.sent[0]["headers"])
    assert float(headers[b"x-gatehouse-overhead-ms"]) < 100
    assert a.calls[1].engine_wait_s > a.calls[1].queue_s


async def test_one_user_who_floods_a_queue_is_429_and_the_others_get_in(make_rig):
    rig = make_rig(max_waiting=4)
    a, b, c = (Person(rig, name) for name in "abc")
    await a.send(1, hang=True)
    await a.send(5)
    assert isinstance(a.tasks[5].exception(), RateLimitedError)  # the queue was full of a's

    await b.send(1)
    await c.send(1)
    assert [task.done() for task in [*b.tasks, *c.tasks]] == [False, False]
    assert [task.done() for task in a.tasks] == [False, False, False, True, True, True]
    await Person(rig, "d").send(1)
    with pytest.raises(QueueFullError):
        await _ask(rig, "d")
    assert {event["st"] for event in rig.events()} == {429, 503}
    for person in (a, b, c):
        await person.leave()


async def _ask(rig, user):
    person = Person(rig, user)
    await person.send(1)
    await person.tasks[0]


async def test_a_hang_up_in_line_is_no_request_and_makes_room(make_rig, stub):
    rig = make_rig()
    a = Person(rig, "a")
    await a.send(1, hang=True)
    await a.send(3)
    a.tasks[2].cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert places(rig).waiting == 2

    a.tasks[0].cancel()
    await asyncio.gather(*a.tasks, return_exceptions=True)

    assert sorted((e["st"], e["n"]) for e in rig.events()) == [
        (200, True),
        (200, True),
        (499, False),
        (499, False),
    ]
    assert stub.state()["received"] == 3
    assert (places(rig).held, places(rig).waiting) == (0, 0)


async def test_a_hang_up_in_mid_stream_gives_the_place_to_the_next(make_rig):
    rig = make_rig()
    a = Person(rig, "a")
    await a.send(1, stream=True, tokens=1000, tick=0.02)
    await rig.until(lambda: b"token" in rig.body())
    await a.send(1)
    a.tasks[0].cancel()

    await asyncio.wait_for(a.tasks[1], 2)

    assert places(rig).held == 0


@pytest.mark.parametrize("told", [{"status": 500}, {"garbage": True}, {"die_after": 2}])
async def test_an_answer_that_fails_gives_its_place_back(make_rig, told):
    rig = make_rig()
    a = Person(rig, "a")
    await a.send(1, stream="die_after" in told, **told)
    await a.send(1)

    ends = await asyncio.gather(*a.tasks, return_exceptions=True)

    assert isinstance(ends[0], EngineFailedError)
    assert ends[1] is None
    assert places(rig).held == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_who_is_slow_to_take_its_last_bytes_holds_no_place(make_rig, stream):
    rig = make_rig()
    taken = asyncio.Event()

    async def send(message):
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await taken.wait()

    body = {"model": "m", "messages": HI, "stream": stream, "stub": {}}
    call, _ = rig.call("chat-completions", body)
    work = infer(call, Answer(send, []), rig.runtime, ENDPOINTS["chat-completions"])
    slow = asyncio.create_task(work)
    await rig.until(rig.events)

    assert places(rig).held == 0
    taken.set()
    await slow


async def test_an_engine_that_dies_takes_nobody_along_in_silence(make_rig, stub):
    rig = make_rig()
    people = [Person(rig, name) for name in "abc"]
    for person in people:
        await person.send(3, hang=True)

    stub.stop()
    async with asyncio.timeout(5):
        ends = await asyncio.gather(*(t for p in people for t in p.tasks), return_exceptions=True)

    assert [end for end in ends if not isinstance(end, EngineFailedError)] == []
    assert (places(rig).held, places(rig).waiting) == (0, 0)


async def test_r33_who_stands_in_line_goes_over_to_the_engine_that_took_over(make_rig, stub):
    rig = make_rig()
    a = Person(rig, "a")
    await a.send(1, hang=True)
    await a.send(3)
    other = StubEngine()
    try:
        fields = {"served_model": "m", "state": "ready", "concurrency": 2}
        rig.runtime.engines.replace([Target("m", address=other.url, **fields)])
        async with asyncio.timeout(5):
            await asyncio.gather(*a.tasks[1:])
        assert other.state()["received"] == 3
        assert (places(rig).held, places(rig).waiting) == (0, 0)
    finally:
        a.tasks[0].cancel()
        await asyncio.gather(a.tasks[0], return_exceptions=True)
        other.stop()


@pytest.mark.parametrize(
    ("now", "error"),
    [
        ([], ModelNotFoundError),
        ([{"state": "loading", "message": "starting"}], ModelLoadingError),
        ([{"state": "stopped", "address": ""}], ModelLoadingError),
        ([{"state": "failed", "address": ""}], EngineFailedError),
        ([{"address": "http://127.0.0.1:9"}], NotReachableError),
    ],
)
async def test_who_waits_at_an_engine_that_goes_learns_what_a_new_caller_would(
    make_rig, stub, now, error
):
    rig = make_rig()
    a = Person(rig, "a")
    await a.send(1, hang=True)
    await a.send(3)

    base = {"name": "m", "served_model": "m", "address": stub.url, "state": "ready"}
    rig.runtime.engines.replace([Target(**{**base, **fields}) for fields in now])
    async with asyncio.timeout(2):
        ends = await asyncio.gather(*a.tasks[1:], return_exceptions=True)

    assert [type(end) for end in ends] == [error] * 3
    assert not a.tasks[0].done()
    await a.leave()


@pytest.mark.parametrize(
    ("own", "default", "workers", "share"), [(0, 256, 1, 256), (0, 256, 3, 86), (5, 256, 2, 3)]
)
async def test_a_worker_has_its_share_of_what_an_engine_works_on_at_once(
    own, default, workers, share
):
    table = EngineTable(concurrency=default, workers=workers)
    target = Target("m", "m", "http://127.0.0.1:9", "ready", concurrency=own)
    table.replace([target])

    entered = table.desk(target).places

    assert sum(entered.enter() for _ in range(1000)) == share
    table.replace([dataclasses.replace(target, concurrency=(own or default) * 2)])
    assert entered.enter()
    table.close()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("backend", "options", "concurrency"),
    [
        ("vllm-cpu", {}, 64),
        ("vllm", {}, 256),
        ("vllm-cpu", {"max_num_seqs": 7}, 7),
        ("vllm-cpu", {"max_num_seqs": "many"}, 0),
        ("of-another-version", {}, 0),
    ],
)
def test_a_local_engines_places_are_what_its_recipe_starts_it_with(backend, options, concurrency):
    Model.objects.create(name="m", backend=backend, options=options)

    (target,) = local_targets([])

    assert target.concurrency == concurrency
