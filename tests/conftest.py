"""How the tests of whole servers share the machine: file by file, on as many processes as `-n` says."""

from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.stub import StubEngine


@pytest.fixture(scope="module")
def engine() -> Iterator[StubEngine]:
    """A stub engine for a file of tests."""
    made = StubEngine()
    yield made
    made.stop()


class FileByFile(LoadScopeScheduling):
    """A file stays together, and so does all that shares the real engines: each starts its servers once.

    (xdist's own `loadgroup` writes groups where this pytest does not read them: each test went by itself,
    and both processes started every server.)
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", 1)[0]
        return "real" if path.startswith("tests/real/") else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileByFile | None:
    return FileByFile(config, log) if config.getvalue("dist") == "loadscope" else None
