"""How the tests of whole servers share the machine: file by file, on as many processes as `-n` says."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.stub import StubEngine


@pytest.fixture(scope="module")
def engine() -> Iterator[StubEngine]:
    """A stub engine for a file of tests."""
    made = StubEngine()
    yield made
    made.stop()


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """For `--dist loadgroup`: a file stays together, and so does all that shares the real engines."""
    for item in items:
        path = str(item.path)
        group = "real" if "tests/real/" in path else path
        item.add_marker(pytest.mark.xdist_group(group))
