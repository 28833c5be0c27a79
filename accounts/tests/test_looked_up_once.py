"""A credential that many requests bring at once is looked up once, and never as it was before a change."""

import asyncio

import pytest

from accounts.credentials import KnownPrincipals
from core.errors import UnavailableError
from core.generations import CHANGES, Generations
from core.keyring import Keyring
from core.principal import Principal

ALICE = Principal("a", "A", "a@x", "user", "apikey", key_id="1")


class Database:
    """Answers when it is let; `answers` are taken one by one, an exception is raised."""

    def __init__(self, *answers):
        self.asked, self._answers = 0, list(answers)
        self.let = asyncio.Event()

    async def load(self, _kind, _secret):
        self.asked += 1
        answer = self._answers.pop(0)
        await self.let.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def generations(tmp_path):
    return Generations(tmp_path / "generations")


def known(database, generations):
    return KnownPrincipals(
        database.load, generations=generations, keyring=Keyring(["s" * 40], "session")
    )


def ask(principals, n, secret="lai-a"):
    return [asyncio.create_task(principals.find("api-key", secret)) for _ in range(n)]


async def soon():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_who_ask_meanwhile_wait_for_one_look_up(generations):
    database = Database(ALICE)
    principals = known(database, generations)
    asking = ask(principals, 50)
    await soon()
    database.let.set()

    assert await asyncio.gather(*asking) == [ALICE] * 50
    assert database.asked == 1
    assert principals.recall("api-key", "lai-a") == (ALICE,)
    assert not principals._under_way


async def test_another_credential_is_looked_up_by_itself(generations):
    database = Database(ALICE, None)
    principals = known(database, generations)
    asking = [*ask(principals, 3), *ask(principals, 3, "lai-b")]
    await soon()
    database.let.set()

    assert await asyncio.gather(*asking) == [ALICE] * 3 + [None] * 3
    assert database.asked == 2


async def test_who_asks_after_a_change_is_not_told_what_was_read_before_it(generations):
    database = Database(ALICE, None)
    principals = known(database, generations)
    before = ask(principals, 2)
    await soon()
    generations.bump(CHANGES)
    after = ask(principals, 2)
    await soon()
    database.let.set()

    assert await asyncio.gather(*before) == [ALICE] * 2
    assert await asyncio.gather(*after) == [None] * 2
    assert database.asked == 2
    assert not principals._under_way


async def test_the_first_who_asked_may_hang_up(generations):
    database = Database(ALICE)
    principals = known(database, generations)
    first, *others = ask(principals, 3)
    await soon()
    first.cancel()
    await soon()
    database.let.set()

    assert await asyncio.gather(*others) == [ALICE] * 2
    assert database.asked == 1


async def test_a_failure_is_told_to_all_and_asked_again_by_the_next(generations):
    database = Database(UnavailableError("away"), ALICE)
    principals = known(database, generations)
    asking = ask(principals, 3)
    await soon()
    database.let.set()

    told = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in told] == [UnavailableError] * 3
    assert await principals.find("api-key", "lai-a") == ALICE
