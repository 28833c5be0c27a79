"""R-30: what the engine process tells of a model's load: how long it took, or why it did not."""

import pytest

from accounts.runtime import stored_settings
from inference.models import EngineState
from inference.tests.test_supervisor import FAILS, WORKS, make_runner, until
from usage.models import EngineTrace

__all__ = ["make_runner"]  # a fixture
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _settings_are_known(transactional_db):
    """As the engine process sees to before it starts anything."""
    stored_settings().fresh()


def test_r30_a_load_is_an_engine_trace(make_runner):
    runner = make_runner(WORKS)
    runner.start()
    until(runner, lambda: runner.state == EngineState.READY)

    row = EngineTrace.objects.get()
    assert (row.kind, row.model, row.backend) == ("model_load", "m", "test")
    assert (row.status, row.error) == (200, "")
    assert 0 < row.total_us < 20_000_000


def test_r30_each_failed_try_is_one_with_its_reason(make_runner):
    runner = make_runner(FAILS)
    runner.start()
    until(runner, lambda: runner.state == EngineState.FAILED)

    rows = list(EngineTrace.objects.order_by("ended_us"))
    assert [row.status for row in rows] == [503] * 5
    assert all("ValueError" in row.error and "/root/secret" not in row.error for row in rows)
