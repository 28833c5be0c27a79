"""Django's admin as the approvers' place, also with ten thousand people (W-26)."""

import re
import time

import pytest
from django.utils import timezone

from accounts.models import ApiKey, AuditRecord, Invite, Session, User
from tests.people import Api, sign_in

pytestmark = pytest.mark.django_db


def post(api, path, **form):
    page = api.client.get(path)
    token = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', page.content)
    form["csrfmiddlewaretoken"] = token[1].decode()
    return api.client.post(path, form, follow=True)


def test_who_waits_comes_first_and_is_approved_and_declined_in_bulk(as_alice, bob, make_user):
    waiting = [make_user(f"w{i}@example.org", status="pending") for i in range(3)]
    page = as_alice.client.get("/admin/accounts/user/").content.decode()
    assert page.index("w0@example.org") < page.rindex("alice@example.org")

    chosen = [str(user.pk) for user in waiting]
    post(as_alice, "/admin/accounts/user/", action="approve", _selected_action=chosen[:2])
    post(
        as_alice,
        "/admin/accounts/user/",
        action="decline",
        _selected_action=[*chosen[2:], str(bob.pk)],
    )

    found = User.objects.filter(pk__in=chosen).values_list("status", flat=True)
    assert list(found) == ["active", "active"]
    assert User.objects.get(pk=bob.pk).status == "active"  # he did not wait
    assert AuditRecord.objects.filter(action="status_changed", source="web").count() == 2
    assert AuditRecord.objects.get(action="user_declined").subject_name == "w2@example.org"


def test_an_invite_is_made_and_its_link_shown_once(as_alice):
    page = post(as_alice, "/admin/accounts/invite/add/", hours="3").content.decode()

    link = re.search(r"http://localhost:8080/invite/([0-9a-f]{64})", page)
    body = {"email": "n@example.org", "password": "correct horse lamp", "inviteCode": link[1]}
    assert Api().post("/api/auth/register", body).status_code == 201
    assert link[1] not in as_alice.client.get("/admin/accounts/invite/").content.decode()
    assert Invite.objects.get().created_by.email == "alice@example.org"


def test_sessions_are_ended_there_and_never_shown(as_alice, bob):
    browser = sign_in(bob)
    row = Session.objects.get(user=bob)
    page = as_alice.client.get("/admin/accounts/session/").content.decode()
    assert row.session_key not in page.replace(f'value="{row.session_key}"', "")

    post(as_alice, "/admin/accounts/session/", action="end", _selected_action=[row.pk])

    assert browser.get("/api/auth/me").status_code == 401


def test_the_trail_is_read_and_nothing_else(as_alice):
    row = AuditRecord.objects.first()
    listed = as_alice.client.get("/admin/accounts/auditrecord/")
    assert listed.status_code == 200
    for what in ("add/", f"{row.pk}/delete/"):
        assert as_alice.client.get(f"/admin/accounts/auditrecord/{what}").status_code == 403
    shown = as_alice.client.get(f"/admin/accounts/auditrecord/{row.pk}/change/")
    assert b'name="_save"' not in shown.content


def test_rights_are_given_there_and_bite(as_alice, bob):
    as_bob = sign_in(bob)
    path = f"/admin/accounts/user/{bob.pk}/change/"

    post(
        as_alice,
        path,
        features=["chat", "agents"],
        models_restricted="on",
        only_these_models="m\n\n m \nn",
        role="admin",
    )

    user = User.objects.get(pk=bob.pk)
    assert (user.models_restricted, user.allowed_models, user.role) == (True, ["m", "n"], "user")
    rights = as_bob.get("/api/auth/me").json()["permissions"]
    assert (rights["chat"], rights["agents"], rights["embeddings"]) == (True, True, False)
    kinds = {row.action for row in AuditRecord.objects.filter(subject_id=str(bob.pk))}
    assert {"permissions_changed", "models_changed"} <= kinds
    before = AuditRecord.objects.count()
    post(
        as_alice,
        path,
        features=["chat", "agents"],
        models_restricted="on",
        only_these_models="m\nn",
    )
    assert AuditRecord.objects.count() == before


@pytest.fixture
def crowd(db):
    """Ten thousand people with five keys each."""
    people = [
        User(email=f"p{i:05}@example.org", status="active", password="!") for i in range(10_000)
    ]
    User.objects.bulk_create(people, batch_size=2000)
    keys = [
        ApiKey(
            user=user,
            name=f"k{j}",
            prefix="lai-00000000",
            digest=f"{i}-{j}",
            digest_key_id="x",
            role="user",
        )
        for i, user in enumerate(people)
        for j in range(5)
    ]
    ApiKey.objects.bulk_create(keys, batch_size=5000)


@pytest.mark.slow
def test_w26_a_page_of_ten_thousand_people_is_quick_and_asks_a_fixed_number_of_queries(
    crowd, as_alice, django_assert_num_queries
):
    with django_assert_num_queries(4):  # session, caller, people, quotas
        page = as_alice.get("/api/auth/admin/users?limit=100&offset=5000").json()["users"]
    assert len(page) == 100
    assert page[0]["email"].startswith("p0")

    times = []
    for offset in (0, 4000, 9900):
        began = time.perf_counter()
        as_alice.get(f"/api/auth/admin/users?limit=100&offset={offset}")
        times.append(time.perf_counter() - began)
    assert min(times) < 0.1, times
    began = time.perf_counter()
    listed = as_alice.client.get("/admin/accounts/user/")
    assert listed.status_code == 200
    assert time.perf_counter() - began < 2
    assert len(as_alice.get("/api/auth/admin/users").json()["users"]) == 10_001


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "offset=-1"])
def test_pages_that_make_no_sense_are_400(as_alice, query):
    assert as_alice.get(f"/api/auth/admin/users?{query}").status_code == 400


def test_s44_a_group_admin_whom_nothing_shows_any_more_is_none_after_a_day(alice, make_user):
    from accounts.people import expire_group_admins

    now = timezone.now()
    fresh, stale = (
        make_user("f@example.org", role="admin"),
        make_user("s@example.org", role="admin"),
    )
    User.objects.filter(pk=fresh.pk).update(role_source="groups", groups_seen_at=now)
    old = now - timezone.timedelta(hours=25)
    User.objects.filter(pk=stale.pk).update(role_source="groups", groups_seen_at=old)

    assert expire_group_admins(now) == 1
    assert User.objects.get(pk=stale.pk).role == "user"
    assert User.objects.get(pk=fresh.pk).role == "admin"
    assert User.objects.get(pk=alice.pk).role == "admin"
