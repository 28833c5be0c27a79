"""Fixtures for every test. (The environment is set by `tests.environment`, loaded before Django.)"""

from collections.abc import Iterator
from typing import Any

import pytest

pytest_plugins = ["tests.people", "tests.stub"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL only what asks a database: all else said the same beside SQLite."""
    from django.conf import settings

    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        return
    left_out = [item for item in items if not _asks_a_database(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if _asks_a_database(item)]


def _asks_a_database(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    return bool(item.get_closest_marker("django_db") or {"db", "transactional_db"} & {*fixtures})


@pytest.fixture(autouse=True, scope="session")
def _light_hashes() -> Iterator[dict[str, int]]:
    """Argon2 with little to do: thousands of people sign in here. Servers that tests start hash as ever."""
    from accounts.passwords import BoundedArgon2Hasher

    real = {name: getattr(BoundedArgon2Hasher, name) for name in ("time_cost", "memory_cost")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BoundedArgon2Hasher, "time_cost", 1)
        patch.setattr(BoundedArgon2Hasher, "memory_cost", 64)
        yield real


@pytest.fixture(autouse=True, scope="session")
def _static_files_as_asked() -> Iterator[None]:
    """Every test client starts the middleware anew: it would look through all static files each time."""
    from django.conf import settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "WHITENOISE_AUTOREFRESH", True, raising=False)
        yield


@pytest.fixture
def real_hashes(_light_hashes: dict[str, int], monkeypatch: Any) -> None:
    """Passwords are hashed as in a server."""
    from accounts.passwords import BoundedArgon2Hasher

    for name, value in _light_hashes.items():
        monkeypatch.setattr(BoundedArgon2Hasher, name, value)
