"""What a process knows of the settings: never guessed, never asked for twice, soon true (R-21)."""

import asyncio

import pytest
from django.db import OperationalError

from accounts import runtime
from accounts.credentials import KnownPrincipals, Resolver
from accounts.runtime_settings import keeper as keeping
from accounts.runtime_settings.held import Held, Stored
from accounts.runtime_settings.keeper import SettingsKeeper
from core.errors import UnavailableError
from core.generations import SETTINGS, Generations
from core.principal import LEGACY
from tests.people import Api


class Table:
    """Something to read from, that may be away."""

    def __init__(self):
        self.reads, self.away, self.value = 0, False, 1

    def load(self):
        self.reads += 1
        if self.away:
            raise OperationalError
        return Stored({"threads": self.value})


@pytest.fixture
def generations(tmp_path):
    return Generations(tmp_path / "g")


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def held(table, generations):
    return Held(table.load, lambda: generations, lost=(OperationalError,))


def test_it_is_read_once_and_again_only_where_the_counter_moved(held, table, generations):
    for _ in range(3):
        assert held.fresh().values == {"threads": 1}
    assert table.reads == 1
    table.value = 2
    generations.bump(SETTINGS)

    assert held.known().values == {"threads": 1}
    assert held.fresh().values == {"threads": 2}
    assert table.reads == 2


def test_where_the_database_is_away_what_is_known_stays_true(held, table, generations, monkeypatch):
    held.fresh()
    table.away = True
    generations.bump(SETTINGS)
    for _ in range(5):
        assert held.fresh().values == {"threads": 1}
    assert table.reads == 2  # it is not asked again by every request
    table.away, table.value = False, 2
    monkeypatch.setattr(held, "_not_before", 0.0)

    assert held.fresh().values == {"threads": 2}


def test_a_server_that_never_read_its_settings_lets_nobody_in(held, table):
    """An open server could have got keys at run time: nobody can tell."""
    table.away = True

    with pytest.raises(UnavailableError):
        held.fresh()
    with pytest.raises(UnavailableError):
        held.known()


def test_the_slow_door_says_503_then(db, monkeypatch):
    def away():
        raise OperationalError

    monkeypatch.setattr(runtime.stored_settings(), "_load", away)
    runtime.stored_settings().forget()

    answer = Api(key="legacy-key-one").get("/v1/models")

    assert answer.status_code == 503
    assert "access-control-allow-origin" not in answer.headers
    runtime.stored_settings().forget()


async def until(check, limit_s=0.25):
    async with asyncio.timeout(limit_s):
        while not check():
            await asyncio.sleep(0.005)


@pytest.fixture
def applied():
    return []


@pytest.fixture
async def keeper(held, applied):
    async def load():
        await asyncio.to_thread(held.refresh)

    made = SettingsKeeper(
        held, load=load, apply=lambda: applied.append(held.known().values["threads"])
    )
    await made.refresh()
    return made


@pytest.fixture
async def following(keeper):
    task = asyncio.create_task(keeper.follow())
    yield
    task.cancel()


async def test_the_keeper_hands_a_change_over_within_250_ms(following, applied, table, generations):
    assert applied == [1]
    table.value = 2
    generations.bump(SETTINGS)

    await until(lambda: applied == [1, 2])


async def test_the_keeper_hands_over_what_the_slow_door_has_read(
    following, applied, held, table, generations
):
    table.value = 3
    generations.bump(SETTINGS)
    held.fresh()

    await until(lambda: applied == [1, 3])


async def test_the_keeper_lives_through_a_database_that_is_away(
    following, applied, table, generations, monkeypatch
):
    monkeypatch.setattr(keeping, "AGAIN_S", 0.01)
    table.away, table.value = True, 4
    generations.bump(SETTINGS)
    await until(lambda: table.reads > 3, 2)
    table.away = False

    await until(lambda: applied == [1, 4])


async def test_requests_that_find_a_change_wait_for_one_reading_of_it(keeper, table, generations):
    """R-01: a key that was revoked before a request came is refused to it, in every worker."""
    table.value, before = 5, table.reads
    generations.bump(SETTINGS)

    await asyncio.gather(*(keeper.catch_up() for _ in range(20)))

    assert table.reads == before + 1
    assert keeper._held.known().values == {"threads": 5}
    await keeper.catch_up()
    assert table.reads == before + 1


async def test_nobody_waits_long_for_a_database_that_is_away_or_slow(
    keeper, table, generations, monkeypatch
):
    table.away = True
    generations.bump(SETTINGS)
    async with asyncio.timeout(1):
        for _ in range(20):
            await keeper.catch_up()
    assert table.reads == 2

    async def slow():
        await asyncio.sleep(60)

    monkeypatch.setattr(keeper, "_not_before", 0.0)
    monkeypatch.setattr(keeper, "_load", slow)
    async with asyncio.timeout(1):
        await keeper.catch_up()
    keeper._reading.cancel()


def test_a_run_time_key_in_the_lane_costs_no_query(as_alice, django_assert_num_queries):
    """The inference path: neither a query nor a hop, whatever keys there are."""
    as_alice.post("/api/settings", {"api_keys": ["mine", "other"], "cors": True})

    async def nobody(_kind, _secret):
        raise AssertionError("the database was asked")

    ring = runtime.keyring("session")
    known = KnownPrincipals(nobody, generations=runtime.generations(), keyring=ring)
    resolver = Resolver(runtime.auth_mode, known, ring)
    with django_assert_num_queries(0):
        found = asyncio.run(resolver.resolve({b"authorization": b"Bearer mine"}))
        other = asyncio.run(resolver.resolve({b"authorization": b"Bearer nobodys"}))

    assert (found, other) == (LEGACY, None)
