"""A worker's parts under quotas, without a server around them."""

import time

import pytest

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
