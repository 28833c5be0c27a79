"""The audit trail (W-18): what is in it, who may read it, and that nobody changes it."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.audit import CLI, Subject, record
from accounts.models import AuditRecord
from tests.people import PASSWORD, Api


def trail(api, query=""):
    return api.get(f"/api/auth/admin/audit{query}").json()["records"]


def test_failures_of_sign_in_are_in_it_without_what_was_typed(as_alice, bob):
    Api().post("/api/auth/login", {"email": bob.email, "password": "hunter2-wrong"})
    Api().post("/api/auth/login", {"email": "my-password-by-mistake", "password": "x"})
    Api().post("/api/auth/token-login", {"token": "lai-" + "0" * 64})

    found = trail(as_alice, "?action=sign_in_failed")

    assert [row["after"]["reason"] for row in found] == [
        "invalid_token",
        "unknown_address",
        "wrong_password",
    ]
    assert found[2]["subject"] == {"id": str(bob.pk), "name": bob.email}
    assert found[2]["source"] == "anonymous"
    text = str(found)
    assert "hunter2" not in text
    assert "by-mistake" not in text
    assert "lai-" not in text


def test_s25_filters_and_pages(as_alice, alice, bob):
    for i in range(5):
        record("role_changed", CLI, Subject(bob.pk, bob.email), after={"i": i})
    now = timezone.now()
    AuditRecord.objects.filter(after={"i": 0}).update(at=now - timedelta(days=2))

    page = as_alice.get("/api/auth/admin/audit?action=role_changed&limit=2&offset=1").json()
    assert [row["after"]["i"] for row in page["records"]] == [3, 2]
    assert page["more"] is True
    since = (now - timedelta(days=1)).isoformat()
    assert len(trail(as_alice, f"?action=role_changed&from={since}")) == 4
    assert len(trail(as_alice, f"?action=role_changed&to={since.replace('+', '%2B')}")) == 1
    assert {row["action"] for row in trail(as_alice, f"?actor={alice.pk}")} == {"sign_in"}
    assert len(trail(as_alice, f"?actor={alice.email}")) == 1


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=1001", "offset=-1", "from=yesterday", "to=2026-13-01"]
)
def test_a_query_that_makes_no_sense_is_400(as_alice, query):
    assert as_alice.get(f"/api/auth/admin/audit?{query}").status_code == 400


def test_it_is_exported_as_json_lines(as_alice, bob):
    record("role_changed", CLI, Subject(bob.pk, bob.email))

    answer = as_alice.get("/api/auth/admin/audit?format=jsonl")

    lines = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert answer.headers["content-type"] == "application/jsonl"
    assert [row["action"] for row in lines] == ["role_changed", "sign_in"]


def test_only_admins_read_it(as_bob, anonymous):
    assert as_bob.get("/api/auth/admin/audit").status_code == 403
    assert anonymous.get("/api/auth/admin/audit").status_code == 401


def test_nobody_changes_or_deletes_a_record(alice):
    record("role_changed", CLI, Subject(alice.pk, alice.email))
    row = AuditRecord.objects.get()

    row.action = "sign_in"
    with pytest.raises(Exception, match=r"UNIQUE|unique|duplicate"):
        row.save()


def test_a_record_is_not_deleted(alice):
    record("role_changed", CLI, Subject(alice.pk, alice.email))

    with pytest.raises(TypeError):
        AuditRecord.objects.get().delete()
    assert AuditRecord.objects.exists()


def test_pages_of_the_trail_ask_a_fixed_number_of_queries(as_alice, django_assert_num_queries):
    for _ in range(50):
        record("sign_in", CLI, Subject("", ""))
    with django_assert_num_queries(3):
        trail(as_alice, "?limit=50")


def test_registration_and_invites_are_in_it(as_alice):
    made = as_alice.post("/api/auth/admin/invites").json()
    body = {"email": "n@example.org", "password": PASSWORD, "inviteCode": made["code"]}
    Api().post("/api/auth/register", body)

    found = trail(as_alice)

    assert [row["action"] for row in found] == ["sign_in", "register", "invite_created", "sign_in"]
    assert found[1]["after"] == {"role": "user", "status": "active", "provider": "local"}
    assert made["code"] not in str(found)
