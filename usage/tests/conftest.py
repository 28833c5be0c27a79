"""A data path of a test's own: what others left in the journal is not in its books."""

import pytest


@pytest.fixture
def folder(settings, tmp_path):
    """The journal's folder below it."""
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"data_path": tmp_path})
    return tmp_path / "journal"
