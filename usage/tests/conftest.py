"""A data path of a test's own: what others left in the journal is not in its books."""

import pytest

from usage.reports import ranking


@pytest.fixture
def folder(settings, tmp_path):
    """The journal's folder below it."""
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"data_path": tmp_path})
    return tmp_path / "journal"


@pytest.fixture
def fresh_order(monkeypatch):
    """Found anew for every page, however slow the machine is."""
    monkeypatch.setattr(ranking, "KEPT_FROM_S", 60.0)
    ranking.forget()
    yield
    ranking.forget()
