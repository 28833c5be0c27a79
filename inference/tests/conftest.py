"""What several modules here need: a worker's parts under quotas, a place for models, a bad server."""

import time

import pytest

from accounts.runtime import env
from core import fetcher as fetcher_module
from core.tests.hostile_server import Hostile
from inference import model_install, operation_work
from inference.tests.rig import Rig
from usage.quotas.limiter import Limiter, Terms
from usage.quotas.local_counters import LocalCounters


@pytest.fixture
async def make_limited(tmp_path, stub):
    made = []

    def rig(*rules, tariff=None, away="refuse", counters=None):
        one = Rig(tmp_path / "journal", stub.url, context_length=2000)
        counters = counters or LocalCounters(tmp_path / "quotas")
        for rule in rules:
            counters.fill(rule, [], time.time())
        one.counters = counters
        one.runtime.limiter = Limiter(counters, away=away, spawn=one.runtime.spawn)
        one.runtime.limiter.terms = Terms(rules, tariff)
        made.append(one)
        return one

    yield rig
    for one in made:
        await one.runtime.finish()


@pytest.fixture
def server():
    """A server on loopback that answers as it is told."""
    one = Hostile()
    yield one
    one.close()


@pytest.fixture
def home(settings, tmp_path, server, monkeypatch):
    """An empty models path, with `server` as the hub and the one address inside that is let through."""
    monkeypatch.setattr(fetcher_module, "PAUSE_S", 0.01)
    monkeypatch.setattr(model_install, "MAX_BYTES", 16 * 1024 * 1024)
    monkeypatch.setattr(operation_work, "value", lambda _name: False)  # no backend comes with it
    changed = {
        "models_path": tmp_path / "models",
        "backends_path": tmp_path / "backends",
        "fetch_allow": ["127.0.0.1/32"],
        "hf_endpoint": server.url,
        "galleries": None,
    }
    (tmp_path / "models").mkdir()
    settings.GATEHOUSE = env().model_copy(update=changed)
    return tmp_path / "models"
