"""Invites and the audit trail as admins see them (E-30 to E-32, S-22, S-25, W-18)."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import audit_words, invites
from accounts.audit import CLI, Action
from accounts.models import AuditRecord, Invite, User
from accounts.tests.test_pages import form
from tests.people import Api, sign_in

HOSTILE = "<script>alert(1)</script>\u202e"
INVITES, TRAIL = "/app/users/invites", "/app/users/audit"


def text_of(answer):
    return answer.content.decode()


@pytest.fixture
def strict(alice):
    api = sign_in(alice)
    api.client.handler.enforce_csrf_checks = True
    return api


def test_e30_a_link_is_shown_once(strict, alice):
    made = form(strict, INVITES, hours="72")

    (code,) = re.findall(r"/invite/([0-9a-f]{64})", text_of(made))
    invite = Invite.objects.get()
    assert (invite.created_by_id, invite.expires_at - invite.created_at) == (
        alice.pk,
        timedelta(hours=72),
    )
    assert code not in text_of(strict.get(INVITES))
    assert Api().get(f"/api/auth/invite/{code}/check").json() == {"valid": True}


@pytest.mark.parametrize("hours", ["", "0", "8761", "x", "-1", "9" * 23, "9" * 5000])
def test_s22_how_long_is_within_bounds(strict, hours):
    answer = form(strict, INVITES, hours=hours)

    assert answer.status_code == 422
    assert not Invite.objects.exists()


def test_e31_and_e32_states_and_revoking(strict, alice, bob):
    now = timezone.now()
    User.objects.filter(pk=bob.pk).update(name=HOSTILE)
    made = [
        invites.create(created_by=alice, hours=24, now=now - timedelta(days=days), by=CLI)[0]
        for days in (0, 0, 9)
    ]
    invites.consume(made[1], user=bob, now=now)
    shown = text_of(strict.get(INVITES))
    assert all(word in shown for word in ("Available", "Used", "Expired", "1 available"))
    assert "<script>alert" not in shown

    form(strict, f"{INVITES}/{made[0].pk}/revoke", INVITES)
    form(strict, f"{INVITES}/{made[1].pk}/revoke", INVITES)

    assert set(Invite.objects.values_list("pk", flat=True)) == {made[1].pk, made[2].pk}
    assert "It cannot be revoked any more." in text_of(strict.get(INVITES))


def test_invites_come_in_pages_with_a_fixed_number_of_queries(strict, alice, bob):
    now = timezone.now()
    invites.create(created_by=alice, hours=24, now=now, by=CLI)
    strict.get(INVITES)
    with CaptureQueriesContext(connection) as few:
        strict.get(INVITES)
    for n in range(60):
        invite = invites.create(created_by=alice, hours=24, now=now, by=CLI)[0]
        if n % 2:
            invites.consume(invite, user=bob, now=now)

    with CaptureQueriesContext(connection) as many:
        shown = text_of(strict.get(INVITES))

    assert len(many) == len(few)
    assert "1 to 50 of 61" in shown


def records(n, **fields):
    now = timezone.now()
    base = {"action": "sign_in", "source": "web", "actor_name": "bob@example.org"}
    rows = [AuditRecord(at=now - timedelta(minutes=i), **{**base, **fields}) for i in range(n)]
    AuditRecord.objects.bulk_create(rows)


def rows_of(answer):
    return re.findall(r'<time datetime="[^"]+">(\d\d:\d\d:\d\d)</time>', text_of(answer))


def links_of(answer):
    shown = text_of(answer).replace("&amp;", "&")
    return dict(re.findall(r'rel="(next|prev)" href="([^"]+)"', shown))


def test_s25_the_trail_is_paged_by_a_cursor_there_and_back(strict):
    records(120)
    seen, query = [], "?period=all"
    for _ in range(3):
        answer = strict.get(TRAIL + query)
        seen += rows_of(answer)
        query = links_of(answer).get("next", "")
    assert len(seen) == AuditRecord.objects.count()
    assert not query

    back = links_of(answer)["prev"]
    records(3)  # what comes meanwhile moves nothing
    assert rows_of(strict.get(TRAIL + back)) == seen[50:100]


@pytest.mark.parametrize(
    "query",
    [
        "before=x_1",
        "before=_",
        "after=2026-01-01_9999999999999999999999",
        "before=2026-13-01T00:00:00Z_1",
        "action=nothing",
        "period=nothing",
        "q=%27%25_",
        "before=2026-01-01T00:00:00+00:00_5",
        "before=0001-01-01T00:00:00%2B14:00_5",
        "after=9999-12-31T23:59:59-14:00_5",
    ],
)
def test_what_an_address_may_hold_breaks_nothing(strict, query):
    assert strict.get(f"{TRAIL}?{query}").status_code == 200


def test_s25_filters(strict, alice, bob):
    records(1, action="quota_set", subject_name="bob@example.org", actor_name="alice@example.org")
    records(1, action="sign_in_failed", subject_name="eve@example.org", actor_name="")
    old = timezone.now() - timedelta(days=20)
    AuditRecord.objects.bulk_create([AuditRecord(at=old, action="model_loaded", source="cli")])

    def what(query):
        return re.findall(r'class="strong">([^<]+)</span>', text_of(strict.get(f"{TRAIL}?{query}")))

    assert what("action=users") == ["Changed quota"]
    assert what("q=eve@") == ["Refused sign-in"]
    assert what("q=changed+quota") == ["Changed quota"]
    assert "Loaded model" not in what("period=week")
    assert "Loaded model" in what("period=month")
    assert what("action=models&period=all") == ["Loaded model"]


def test_w18_hostile_records_are_text(strict):
    records(
        1,
        action=HOSTILE[:40],
        actor_name=HOSTILE,
        subject_name=HOSTILE,
        address="<b>",
        before={HOSTILE: HOSTILE},
        after={HOSTILE: [HOSTILE], "x": {"y": HOSTILE}},
    )

    shown = text_of(strict.get(TRAIL))

    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert" in shown


def test_the_trail_costs_the_same_however_long_it_is(strict):
    records(3)
    strict.get(TRAIL)
    with CaptureQueriesContext(connection) as few:
        strict.get(TRAIL)
    records(2000)
    with CaptureQueriesContext(connection) as many:
        strict.get(f"{TRAIL}?period=all&q=bob")
    assert len(many) == len(few)


def test_every_action_has_words_and_a_group():
    """A new kind of record says in the page what it is."""
    known = set(Action.__args__)

    assert known <= set(audit_words.ACTIONS)
    grouped = [name for _key, _label, names in audit_words.GROUPS for name in names]
    assert sorted(grouped) == sorted(audit_words.ACTIONS)


def test_what_changed_in_one_line():
    assert audit_words.brief({"role": "user"}, {"role": "admin"}) == "role: user to admin"
    assert audit_words.brief(None, {"method": "password"}) == "method: password"
    assert audit_words.brief({"a": 1, "b": {}}, {"a": 1, "b": {"c": 2}}) == "b"
    assert audit_words.brief({"prefix": "x", "y": None}, None) == "prefix: x"
    assert len(audit_words.brief(None, {"x": "y" * 500})) < 100
