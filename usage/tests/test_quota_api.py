"""E-07, E-25 to E-27, 4.4: rules, what is said of them, who may set them."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import AuditRecord
from usage.models import QuotaRule
from usage.quotas import service, store
from usage.tests.books import event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("folder")]


@pytest.fixture
def quotas(bob):
    return f"/api/auth/admin/users/{bob.pk}/quotas"


def test_e07_e25_e26_q01_a_rule_is_made_shown_and_changed(as_alice, as_bob, bob, quotas):
    made = as_alice.put(quotas, {"model": "", "max_requests": 100, "window": "1h"})

    assert made.status_code == 200
    assert made.json()["message"] == "quota rule saved"
    shown = made.json()["quota"]
    assert {k: shown[k] for k in ("model", "max_requests", "max_total_tokens", "window")} == {
        "model": "",
        "max_requests": 100,
        "max_total_tokens": None,
        "window": "1h",
    }
    assert (shown["current_requests"], shown["current_total_tokens"]) == (0, 0)
    as_alice.put(quotas, {"max_requests": 5, "max_total_tokens": 1000, "window": "60m"})
    as_alice.put(quotas, {"model": "m", "max_concurrent": 2, "max_cost": 10**9, "window": "2h"})
    found = as_alice.get(quotas).json()["quotas"]
    assert [(q["model"], q["window"], q["max_requests"]) for q in found] == [
        ("", "1h", 5),
        ("m", "2h0m0s", None),
    ]
    assert found[0]["id"] == shown["id"]
    assert as_bob.get("/api/auth/quota").json()["quotas"] == found
    assert as_bob.get("/api/auth/me").json()["quotas"] == found
    users = as_alice.get("/api/auth/admin/users").json()["users"]
    assert [user.get("quotas") for user in users] == [None, found]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"max_requests": 1}, "window is required"),
        ({"max_requests": 1, "window": ""}, "window is required"),
        ({"max_requests": 1, "window": "0"}, "invalid window duration: 0"),
        ({"max_requests": 1, "window": "0s"}, "invalid window duration: 0s"),
        ({"max_requests": 1, "window": "-1h"}, "invalid window duration: -1h"),
        ({"max_requests": 1, "window": "soon"}, "invalid window duration: soon"),
        ({"max_requests": 1, "window": "1.5s"}, "invalid window duration: 1.5s"),
        ({"max_requests": 1, "window": "9000d"}, "invalid window duration: 9000d"),
        ({"max_requests": -1, "window": "1h"}, "max_requests must be"),
        ({"max_requests": True, "window": "1h"}, "max_requests must be"),
        ({"max_requests": 1.5, "window": "1h"}, "max_requests must be"),
        ({"max_total_tokens": "many", "window": "1h"}, "max_total_tokens must be"),
        ({"max_cost": 2**60, "window": "1h"}, "max_cost must be"),
        ({"max_concurrent": -3, "window": "1h"}, "max_concurrent must be"),
        ({"model": 5, "window": "1h"}, "invalid request body"),
        ({"model": "x" * 300, "window": "1h"}, "invalid request body"),
        ({"api_key_id": "not-a-key", "window": "1h"}, "invalid request body"),
        ([], "invalid request body"),
    ],
)
def test_e26_w12_s16_what_is_refused(as_alice, quotas, body, words):
    answer = as_alice.put(quotas, body)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith(words)
    assert not QuotaRule.objects.exists()


def test_s16_zero_blocks_and_never_opens(as_alice, as_bob, quotas):
    as_alice.put(quotas, {"max_requests": 0, "window": "1h"})

    (quota,) = as_bob.get("/api/auth/quota").json()["quotas"]

    assert (quota["limited_by"], quota["resets_at"]) == ("requests", None)


def test_e25_e26_e27_unknown_people_and_rules_are_404(as_alice, quotas, mallory):
    nobody = "/api/auth/admin/users/00000000-0000-4000-8000-000000000000/quotas"
    assert as_alice.get(nobody).json() == {"error": "user not found"}
    assert as_alice.put(nobody, {"window": "1h"}).json() == {"error": "user not found"}
    made = as_alice.put(quotas, {"max_requests": 1, "window": "1h"}).json()["quota"]
    others = f"/api/auth/admin/users/{mallory.pk}/quotas/{made['id']}"
    answer = as_alice.delete(others)
    assert (answer.status_code, answer.json()) == (404, {"error": "quota rule not found"})
    assert as_alice.delete(f"{quotas}/{made['id']}").json() == {"message": "quota rule deleted"}
    assert as_alice.get(quotas).json() == {"quotas": []}
    assert as_alice.delete(f"{quotas}/{made['id']}").status_code == 404


def test_w18_each_change_of_a_rule_is_in_the_trail(as_alice, alice, quotas):
    made = as_alice.put(quotas, {"max_requests": 1, "window": "1h"}).json()["quota"]
    as_alice.put(quotas, {"max_requests": 2, "window": "1h"})
    as_alice.delete(f"{quotas}/{made['id']}")

    rows = AuditRecord.objects.filter(action__startswith="quota").order_by("pk")

    assert [row.action for row in rows] == ["quota_set", "quota_set", "quota_deleted"]
    assert {row.actor_id for row in rows} == {str(alice.pk)}
    assert (rows[1].before["max_requests"], rows[1].after["max_requests"]) == (1, 2)


def test_s51_a_rule_on_a_key_belongs_to_its_owner(as_alice, quotas, bob, mallory, make_key):
    mine, others = make_key(bob)[0], make_key(mallory)[0]

    refused = as_alice.put(
        quotas, {"api_key_id": str(others.pk), "max_requests": 1, "window": "1h"}
    )
    made = as_alice.put(quotas, {"api_key_id": str(mine.pk), "max_requests": 1, "window": "1h"})
    as_alice.put(quotas, {"max_requests": 9, "window": "1h"})

    assert (refused.status_code, refused.json()) == (404, {"error": "API key not found"})
    assert made.json()["quota"]["api_key_id"] == str(mine.pk)
    assert QuotaRule.objects.count() == 2


def test_q04_s17_a_new_rule_counts_what_was_used_before_it(as_alice, bob, quotas):
    """From single events within a week, by the hour beyond; failures count nothing (S-17)."""
    now = datetime.now(UTC)
    mine = {"u": str(bob.pk), "un": "bob"}
    for ago in (
        timedelta(seconds=30),
        timedelta(minutes=50),
        timedelta(hours=3),
        timedelta(days=9),
    ):
        event(now - ago, **mine, p=100, c=10)
    event(now, **mine, m="other", p=1, c=1)
    event(now, **mine, n=False, st=502, p=0, c=0)
    event(now, u="somebody-else", p=5000)

    def used(window, model=""):
        body = {"model": model, "max_requests": 100, "window": window}
        quota = as_alice.put(quotas, body).json()["quota"]
        return quota["current_requests"], quota["current_total_tokens"]

    assert used("1m") == (2, 112)
    assert used("1h") == (3, 222)
    assert used("1d") == (4, 332)
    assert used("30d") == (5, 442)
    assert used("1h", "m") == (2, 220)


def test_q08_changing_a_rule_keeps_what_was_used(as_alice, as_bob, bob, quotas):
    event(datetime.now(UTC), u=str(bob.pk))
    first = as_alice.put(quotas, {"max_requests": 5, "window": "1h"}).json()["quota"]
    again = as_alice.put(quotas, {"max_requests": 1, "window": "1h"}).json()["quota"]

    assert (first["current_requests"], again["current_requests"]) == (1, 1)
    assert (first["limited_by"], again["limited_by"]) == (None, "requests")


def test_s15_w12_resets_at_is_when_the_next_call_is_let_through(as_alice, bob, quotas):
    """W-12: never just now, never simply the whole window."""
    now = datetime.now(UTC)
    for minutes in (50, 40, 5):
        event(now - timedelta(minutes=minutes), u=str(bob.pk))

    def opens_in(most):
        body = {"max_requests": most, "window": "1h"}
        quota = as_alice.put(quotas, body).json()["quota"]
        return (datetime.fromisoformat(quota["resets_at"]) - now).total_seconds() / 60

    assert opens_in(3) == pytest.approx(10, abs=0.3)
    assert opens_in(2) == pytest.approx(20, abs=0.3)
    assert opens_in(1) == pytest.approx(55, abs=0.3)
    assert opens_in(4) == pytest.approx(0, abs=0.3)


def test_counters_that_were_lost_are_made_from_the_books(as_alice, as_bob, bob, quotas):
    event(datetime.now(UTC), u=str(bob.pk))
    made = as_alice.put(quotas, {"max_requests": 5, "window": "1h"}).json()["quota"]
    store.counters().forget(made["id"])

    (quota,) = as_bob.get("/api/auth/quota").json()["quotas"]

    assert quota["current_requests"] == 1


def test_counters_of_before_a_reboot_are_not_believed(tmp_path, monkeypatch):
    """A loss of power may have torn them without showing it."""
    (tmp_path / "one.quota").write_bytes(b"x")
    store.forget_after_boot(tmp_path)
    assert not list(tmp_path.glob("*.quota"))

    (tmp_path / "two.quota").write_bytes(b"x")
    store.forget_after_boot(tmp_path)
    assert len(list(tmp_path.glob("*.quota"))) == 1
    other = tmp_path / "other-boot"
    other.write_text("another")
    monkeypatch.setattr(store, "BOOT_ID", other)
    store.forget_after_boot(tmp_path)
    assert not list(tmp_path.glob("*.quota"))


def test_what_a_killed_worker_left_is_charged_or_taken_back(as_alice, bob, quotas):
    """Its requests were counted at admission; what it delivered is known once it is in the books."""
    from usage.drain import drain, journal_folder
    from usage.journal.table import progress
    from usage.journal.writer import Journal
    from usage.quotas.terms import Hold
    from usage.tests.books import admit

    made = as_alice.put(quotas, {"max_requests": 5, "max_total_tokens": 10_000, "window": "1h"})
    rule = service.rule_of(QuotaRule.objects.get(pk=made.json()["quota"]["id"]))
    for _ in range(2):
        assert isinstance(store.counters().reserve([rule], 1000, 0, time.time()), Hold)
    journal = Journal(journal_folder())
    mine = {"u": str(bob.pk), "un": "bob"}
    streamed, _ = admit(journal, **mine), admit(journal, **mine)
    journal.note(streamed, progress(10, 0, 7, 0, 0, 0, flags=0))
    journal.close()  # its lock goes as with a kill

    drain()

    (quota,) = as_alice.get(quotas).json()["quotas"]
    assert (quota["current_requests"], quota["current_total_tokens"]) == (1, 17)


def test_rules_go_with_their_user_and_their_key(as_alice, quotas, bob, make_key):
    key = make_key(bob)[0]
    as_alice.put(quotas, {"api_key_id": str(key.pk), "max_requests": 1, "window": "1h"})
    key.delete()
    assert not QuotaRule.objects.exists()
    as_alice.put(quotas, {"max_requests": 1, "window": "1h"})
    as_alice.delete(f"/api/auth/admin/users/{bob.pk}")
    assert not QuotaRule.objects.exists()


def test_counters_of_rules_that_are_gone_are_swept(as_alice, quotas, folder):
    made = as_alice.put(quotas, {"max_requests": 1, "window": "1h"}).json()["quota"]
    kept = as_alice.put(quotas, {"max_requests": 1, "window": "2h"}).json()["quota"]
    QuotaRule.objects.filter(pk=made["id"]).delete()  # as with its user

    store.forget_counters_without_rule()

    assert store.counters().exists(service.rule_of(QuotaRule.objects.get(pk=kept["id"])))
    rule = service.rule_of(QuotaRule(pk=made["id"], user_id=kept["id"], window_s=3600))
    assert not store.counters().exists(rule)


def test_approvers_see_rules_in_djangos_admin(as_alice, quotas):
    as_alice.put(quotas, {"max_requests": 7, "window": "2h"})

    assert b"2h0m0s" in as_alice.get("/admin/usage/quotarule/").content
    assert as_alice.get("/admin/usage/price/").status_code == 200


def test_legacy_and_local_callers_have_no_rules(alice):
    from tests.people import Api

    assert Api(key="legacy-key-one").get("/api/auth/quota").json() == {"quotas": []}
