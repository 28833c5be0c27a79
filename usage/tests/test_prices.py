"""S-54: prices with validity in time, cost in events and sums at the price then in force, whole numbers."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections

from accounts.models import AuditRecord
from usage.drain import drain, journal_folder
from usage.journal.writer import Journal
from usage.models import Price, UsageEvent
from usage.tariff import PriceRow, Rates, Tariff, cost
from usage.tests.books import event, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("folder")]
PRICES = "/api/auth/admin/prices"


def test_s54_cost_is_exact_in_billionths():
    rates = Rates(prompt=150, cached_prompt=75, completion=600, unit=6000)

    assert cost(rates, prompt=1_000_000, cached=0, completion=0) == 150_000_000  # 0.15 a million
    assert cost(rates, prompt=3, cached=1, completion=1) == 2 * 150 + 75 + 600
    assert cost(rates, prompt=0, cached=0, completion=0, units=1500) == 9000  # one and a half


def test_the_price_in_force_is_the_latest_that_has_begun():
    tariff = Tariff([PriceRow("m", 100, Rates(1, 1, 1, 0)), PriceRow("m", 200, Rates(2, 2, 2, 0))])

    assert [tariff.rates("m", at).prompt for at in (99, 100, 199, 200, 10**12)] == [0, 1, 1, 2, 2]
    assert tariff.rates("other", 150).prompt == 0


def test_a_price_is_set_listed_and_withdrawn(as_alice):
    made = as_alice.post(PRICES, {"model": "m", "prompt": "0.15", "completion": 0.6})
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    future = as_alice.post(PRICES, {"model": "m", "prompt": 1, "valid_from": later}).json()["price"]

    assert made.status_code == 201
    price = made.json()["price"]
    assert {k: float(price[k]) for k in ("prompt", "cached_prompt", "completion", "unit")} == {
        "prompt": 0.15,
        "cached_prompt": 0.15,
        "completion": 0.6,
        "unit": 0,
    }
    assert [p["id"] for p in as_alice.get(PRICES).json()["prices"]] == [future["id"], price["id"]]
    assert as_alice.delete(f"{PRICES}/{price['id']}").status_code == 409
    assert as_alice.delete(f"{PRICES}/{future['id']}").status_code == 200
    assert as_alice.delete(f"{PRICES}/{future['id']}").status_code == 404
    trail = AuditRecord.objects.filter(action__startswith="price").values_list("action", flat=True)
    assert list(trail.order_by("pk")) == ["price_set", "price_set", "price_withdrawn"]


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": 1},
        {"model": "m", "prompt": -1},
        {"model": "m", "prompt": "0.0001"},
        {"model": "m", "prompt": "NaN"},
        {"model": "m", "prompt": "1e400"},
        {"model": "m", "prompt": True},
        {"model": "m", "prompt": [1]},
        {"model": "m", "completion": "a lot"},
        {"model": "m", "unit": "0.0000001"},
        {"model": "m", "prompt": 1, "valid_from": "2020-01-01T00:00:00Z"},
        {"model": "m", "prompt": 1, "valid_from": "tomorrow"},
    ],
)
def test_what_is_no_price_is_400(as_alice, body):
    assert as_alice.post(PRICES, body).status_code == 400
    assert not Price.objects.exists()


def test_an_event_costs_what_it_cost_when_it_was_admitted(as_alice, as_bob, bob):
    mine = {"u": str(bob.pk), "un": "bob"}
    before = record(**mine, p=1000, cp=400, c=10)
    as_alice.post(PRICES, {"model": "m", "prompt": 2, "cached_prompt": 1, "completion": 10})
    after = record(**mine, p=1000, cp=400, c=10)
    failed = record(**mine, n=False, st=502, p=0, c=0)
    journal = Journal(journal_folder())
    for each in (before, after, failed):  # drained only now: what counts is when they began
        journal.write(each)
    drain()
    as_alice.post(PRICES, {"model": "m", "prompt": 1000})
    wanted = 600 * 2000 + 400 * 1000 + 10 * 10_000

    costs = {str(pk): cost for pk, cost in UsageEvent.objects.values_list("pk", "cost")}
    assert costs == {before["id"]: 0, after["id"]: wanted, failed["id"]: 0}
    body = as_bob.get("/api/auth/usage?period=day").json()
    assert (body["totals"]["cost"], body["totals"]["cached_tokens"], body["currency"]) == (
        wanted,
        800,
        "USD",
    )
    sources = as_alice.get("/api/auth/admin/usage/sources?period=day").json()
    assert sources["totals"]["grand_total"]["cost"] == wanted
    journal.close()


def test_a_price_set_beside_a_running_drain_splits_events_at_its_moment(as_alice):
    """Events of before cost nothing, events of after cost: whichever of the two commits first."""
    journal = Journal(journal_folder())
    stop = threading.Event()

    def keep_draining():
        try:
            while not stop.is_set():
                drain()
        finally:
            connections.close_all()

    thread = threading.Thread(target=keep_draining)
    thread.start()
    made = None
    for i in range(400):
        journal.write(record(p=1, c=0))
        if i == 200:
            made = as_alice.post(PRICES, {"model": "m", "prompt": 1}).json()["price"]
    stop.set()
    thread.join()
    drain()

    from usage.buckets import milliseconds

    start = milliseconds(datetime.fromisoformat(made["valid_from"]))
    rows = list(UsageEvent.objects.order_by("pk").values_list("pk", "cost"))
    assert len(rows) == 400
    assert [cost for pk, cost in rows] == [1000 if pk.int >> 80 >= start else 0 for pk, _ in rows]
    assert 150 <= sum(cost == 0 for _, cost in rows) <= 250
    journal.close()


def test_only_admins_see_or_set_prices(as_bob):
    assert as_bob.get(PRICES).status_code == 403
    assert as_bob.post(PRICES, {"model": "m", "prompt": 1}).status_code == 403


def test_events_of_other_models_cost_nothing(as_alice):
    as_alice.post(PRICES, {"model": "m", "prompt": 1})
    event(datetime.now(UTC) + timedelta(seconds=1), m="free")

    assert UsageEvent.objects.get().cost == 0
