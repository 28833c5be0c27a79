"""The line at a busy engine: whose turn it is, its bounds, and what hang-ups leave behind."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import EngineTimeoutError, QueueFullError, RateLimitedError
from inference import fair_queue
from inference.fair_queue import FairQueue


class Crowd:
    """Tasks that stand in line at `queue`; `served` is who was let in, in order."""

    def __init__(self, queue):
        self.queue = queue
        self.served = []
        self.tasks = []

    async def come(self, user, n=1):
        for _ in range(n):
            self.tasks.append(asyncio.create_task(self._stand(user)))
        await asyncio.sleep(0)

    async def _stand(self, user):
        if await self.queue.wait(user):
            self.served.append(user)
            return True
        return False

    async def serve_all(self):
        """Whoever holds a place gives it back, one after the other, until nobody waits."""
        while self.queue.waiting:
            self.queue.leave()
            await asyncio.sleep(0)
            await asyncio.sleep(0)


def full(capacity=1, max_waiting=100, **order):
    queue = FairQueue(capacity, max_waiting, **order)
    while queue.enter():
        pass
    return queue


async def test_three_users_with_unequal_backlogs_are_taken_in_turn():
    crowd = Crowd(full())
    for user, n in [("a", 5), ("b", 2), ("c", 1)]:
        await crowd.come(user, n)

    await crowd.serve_all()

    assert "".join(crowd.served) == "abcabaaa"


async def test_who_comes_later_waits_for_one_of_each_other_user_at_most():
    crowd = Crowd(full())
    await crowd.come("a", 5)
    await crowd.come("b", 5)
    crowd.queue.leave()
    await crowd.come("c", 2)

    await crowd.serve_all()

    assert "".join(crowd.served) == "abacbacbabab"


async def test_within_a_user_the_first_comes_first():
    queue = full()
    order = []

    async def stand(number):
        await queue.wait("a")
        order.append(number)

    tasks = [asyncio.create_task(stand(number)) for number in range(4)]
    await asyncio.sleep(0)
    for _ in tasks:
        queue.leave()
    await asyncio.gather(*tasks)

    assert order == [0, 1, 2, 3]


async def test_by_arrival_the_first_comes_first_whoever_it_is():
    crowd = Crowd(full(by_user=False))
    for user in "aabacba":
        await crowd.come(user)

    await crowd.serve_all()

    assert "".join(crowd.served) == "aabacba"


@pytest.mark.parametrize("by_user", [True, False])
async def test_a_full_queue_of_several_users_is_503(by_user):
    crowd = Crowd(full(max_waiting=4, by_user=by_user))
    await crowd.come("a", 2)
    await crowd.come("b", 2)

    with pytest.raises(QueueFullError) as caught:
        await crowd.queue.wait("c")

    assert (caught.value.http_status, caught.value.retry_after_s) == (503, 5)
    assert crowd.queue.waiting == 4
    crowd.queue.close()


async def test_one_user_may_have_the_whole_queue_while_nobody_else_wants_it_and_no_more():
    crowd = Crowd(full(max_waiting=4))
    await crowd.come("a", 4)
    assert crowd.queue.waiting == 4

    with pytest.raises(RateLimitedError) as caught:
        await crowd.queue.wait("a")

    assert (caught.value.http_status, caught.value.type) == (429, "rate_limit_error")
    assert caught.value.retry_after_s == 5
    assert "Wait for some of their answers" in caught.value.message
    crowd.queue.close()


async def test_while_others_wait_one_user_has_half_of_the_queue():
    crowd = Crowd(full(max_waiting=6))
    await crowd.come("b")
    await crowd.come("a", 3)

    with pytest.raises(RateLimitedError):
        await crowd.queue.wait("a")

    assert crowd.queue.waiting == 4
    crowd.queue.close()


@pytest.mark.parametrize("by_user", [True, False])
async def test_the_newest_of_who_filled_the_queue_makes_room_for_others(by_user):
    crowd = Crowd(full(max_waiting=4, by_user=by_user))
    await crowd.come("a", 4)
    await crowd.come("b", 1)
    await asyncio.sleep(0)

    assert crowd.queue.waiting == 4
    assert [task.done() for task in crowd.tasks] == [False, False, False, True, False]
    assert isinstance(crowd.tasks[3].exception(), RateLimitedError)
    await crowd.serve_all()
    assert "".join(crowd.served) == ("abaa" if by_user else "aaab")


async def test_a_caller_who_hangs_up_leaves_the_queue_at_once():
    crowd = Crowd(full(max_waiting=4))
    for user in "abcd":
        await crowd.come(user)

    crowd.tasks[1].cancel()
    await asyncio.sleep(0)

    assert crowd.queue.waiting == 3
    await crowd.come("e")
    await crowd.serve_all()
    assert "".join(crowd.served) == "acde"


async def test_a_caller_who_hangs_up_just_as_it_is_let_in_hands_the_place_on():
    crowd = Crowd(full())
    await crowd.come("a")
    await crowd.come("b")

    crowd.queue.leave()  # a's turn, and its task has not run yet
    crowd.tasks[0].cancel()
    await asyncio.gather(crowd.tasks[0], return_exceptions=True)
    await asyncio.sleep(0)

    assert crowd.tasks[0].cancelled()
    assert crowd.served == ["b"]
    assert crowd.queue.held == 1


async def test_a_caller_who_hung_up_a_moment_ago_is_not_let_in():
    crowd = Crowd(full())
    await crowd.come("a")
    await crowd.come("b")

    crowd.tasks[0].cancel()  # its task has not run yet
    crowd.queue.leave()
    await asyncio.gather(*crowd.tasks, return_exceptions=True)

    assert crowd.served == ["b"]
    assert (crowd.queue.held, crowd.queue.waiting) == (1, 0)


async def test_a_closed_queue_sends_everybody_away_and_keeps_its_places():
    crowd = Crowd(full(capacity=2))
    await crowd.come("a", 3)

    crowd.queue.close()

    assert await asyncio.gather(*crowd.tasks) == [False, False, False]
    assert (crowd.queue.held, crowd.queue.waiting) == (2, 0)
    crowd.queue.leave()
    assert crowd.queue.enter()


async def test_more_places_let_people_in_and_fewer_are_reached_as_requests_end():
    crowd = Crowd(full())
    await crowd.come("a", 3)

    crowd.queue.resize(3)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (crowd.queue.held, crowd.queue.waiting) == (3, 1)

    crowd.queue.resize(1)
    crowd.queue.leave()
    crowd.queue.leave()
    assert (crowd.queue.held, crowd.queue.waiting) == (1, 1)
    crowd.queue.leave()
    await crowd.tasks[2]
    assert (crowd.queue.held, crowd.queue.waiting) == (1, 0)


async def test_who_waits_too_long_is_told_so_and_the_others_stay(monkeypatch):
    monkeypatch.setattr(fair_queue, "MAX_WAIT_S", 0.2)
    crowd = Crowd(full())
    await crowd.come("a")
    await asyncio.sleep(0.1)
    await crowd.come("a")

    with pytest.raises(EngineTimeoutError):
        await crowd.tasks[0]
    assert crowd.queue.waiting == 1

    with pytest.raises(EngineTimeoutError):
        await crowd.tasks[1]
    assert (crowd.queue.held, crowd.queue.waiting) == (1, 0)


# what happens next: somebody comes, somebody hangs up, an answer ends, the loop runs
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from("abcd")),
        st.tuples(st.sampled_from(["hang up", "end"]), st.integers(0, 1000)),
        st.tuples(st.just("resize"), st.integers(1, 4)),
        st.tuples(st.sampled_from(["run", "close"]), st.none()),
    ),
    max_size=120,
)


class Storm:
    """Requests that come, end and are hung up on, with what must hold after each step."""

    def __init__(self, capacity, max_waiting, *, by_user):
        self.queue = FairQueue(capacity, max_waiting, by_user=by_user)
        self.capacity = self.peak = capacity
        self.max_waiting = max_waiting
        self.inside = {}
        self.tasks = []

    async def request(self, user):
        try:
            if not (self.queue.enter() or await self.queue.wait(user)):
                return
        except (QueueFullError, RateLimitedError):
            return
        try:
            end = self.inside[asyncio.current_task()] = asyncio.get_running_loop().create_future()
            assert len(self.inside) <= self.peak
            await end
        finally:
            del self.inside[asyncio.current_task()]
            self.queue.leave()

    async def step(self, what, which):
        alive = [task for task in self.tasks if not task.done()]
        if what == "come":
            self.tasks.append(asyncio.create_task(self.request(which)))
        elif what == "hang up" and alive:
            alive[which % len(alive)].cancel()
        elif what == "end" and self.inside:
            end = list(self.inside.values())[which % len(self.inside)]
            if not end.done():
                end.set_result(None)
        elif what == "resize":
            self.capacity = which
            self.peak = max(which, self.queue.held)
            self.queue.resize(which)
        elif what == "close":
            self.queue.close()
        elif what == "run":
            await self.settle()
        self.check()

    async def settle(self):
        for _ in range(5):
            await asyncio.sleep(0)
        assert self.queue.held == len(self.inside)  # none lost, none held by nobody
        waiting = sum(not task.done() for task in self.tasks) - len(self.inside)
        assert self.queue.waiting == waiting

    def check(self):
        queue = self.queue
        assert 0 <= queue.held <= self.peak
        self.peak = max(self.capacity, queue.held)
        assert 0 <= queue.waiting <= self.max_waiting
        assert not queue.waiting or queue.held >= self.capacity  # nobody waits beside a free place

    async def end(self):
        await self.settle()
        for task in self.tasks:
            task.cancel()
        ends = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert not [e for e in ends if isinstance(e, Exception)]
        assert (self.queue.held, self.queue.waiting, self.queue._lines) == (0, 0, {})


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, capacity=st.integers(1, 3), by_user=st.booleans())
def test_no_place_is_lost_or_given_twice_whatever_comes(steps, capacity, by_user):
    async def run():
        storm = Storm(capacity, 5, by_user=by_user)
        for what, which in steps:
            await storm.step(what, which)
        await storm.end()

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(3))
async def test_a_storm_of_hang_ups_loses_no_place(seed):
    chance = random.Random(seed)
    storm = Storm(4, 64, by_user=True)
    for _ in range(4000):
        what = chance.choices(["come", "hang up", "end", "run"], [6, 3, 3, 2])[0]
        await storm.step(
            what, chance.choice("abcdefgh") if what == "come" else chance.randrange(999)
        )
    await storm.end()
