"""The movable time-out: on time, only for what was set last, and without a timer left behind."""

import asyncio

import pytest

from core import deadline
from core.deadline import Deadline


@pytest.fixture
def run(monkeypatch):
    """Run `script(make, times)` with looks every 50 ms; returns when each deadline came."""
    monkeypatch.setattr(deadline, "TICK_S", 0.05)

    def go(script):
        async def main():
            loop = asyncio.get_running_loop()
            began, times = loop.time(), []
            due = Deadline(loop, lambda: times.append(loop.time() - began))
            await script(due)
            return times

        return asyncio.run(main())

    return go


def test_it_comes_once_and_on_time(run):
    async def script(due):
        due.set(0.12)
        await asyncio.sleep(0.4)

    (at,) = run(script)

    assert 0.12 <= at < 0.2


def test_the_last_time_counts_whether_later_or_earlier(run):
    async def later(due):
        due.set(0.06)
        due.set(0.2)
        await asyncio.sleep(0.4)

    async def earlier(due):
        due.set(5)
        due.set(0.02)
        await asyncio.sleep(0.2)

    assert 0.2 <= run(later)[0] < 0.3
    assert 0.02 <= run(earlier)[0] < 0.1


def test_one_that_is_renewed_comes_as_long_after_that_as_it_was_set_for_and_a_look_later_at_most(
    run,
):
    async def script(due):
        due.set(0.12)
        for _ in range(5):  # until 0.2
            await asyncio.sleep(0.04)
            due.renewed = True
        await asyncio.sleep(0.5)

    (at,) = run(script)

    assert 0.2 + 0.12 - 0.01 <= at < 0.2 + 0.12 + 0.05 + 0.08


def test_one_that_is_set_anew_forgets_that_it_was_renewed(run):
    async def script(due):
        due.set(0.06)
        due.renewed = True
        due.set(0.06)
        await asyncio.sleep(0.3)

    (at,) = run(script)

    assert 0.06 <= at < 0.1


def test_what_was_cleared_never_comes_and_can_be_set_again(run):
    async def cleared(due):
        due.set(0.06)
        due.clear()
        await asyncio.sleep(0.2)

    async def again(due):
        due.set(0.06)
        due.clear()
        due.set(0.1)
        await asyncio.sleep(0.3)

    assert run(cleared) == []
    assert 0.1 <= run(again)[0] < 0.2


def test_nothing_is_left_in_the_loop_after_close(run):
    async def script(due):
        due.set(0.06)
        due.close()
        assert due._timer is None
        await asyncio.sleep(0.2)

    assert run(script) == []
