"""What several modules here need."""

import pytest

from accounts import runtime


@pytest.fixture
def limited(settings, tmp_path):
    def set_to(**fields):
        settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"data_path": tmp_path, **fields})
        for cached in (runtime.attempts, runtime.trusted_networks):
            cached.cache_clear()

    yield set_to
    for cached in (runtime.attempts, runtime.trusted_networks):
        cached.cache_clear()
