"""R-29: when people were here last, as a column that costs one row a minute."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts import migrations
from accounts.lookup import LAST_USED_GRAIN
from accounts.models import ApiKey, Session, ShownName, Status, User
from accounts.presence import last_seen
from tests.people import Api

LATEST = max(path.stem for path in Path(migrations.__file__).parent.glob("0*.py"))


def test_r29_a_key_that_is_used_shows_its_owner_here(bob, make_key):
    key, secret = make_key(bob)
    assert last_seen(bob) is None

    assert Api(key=secret).get("/api/auth/me").status_code == 200

    bob.refresh_from_db()
    key.refresh_from_db()
    assert last_seen(bob) == key.last_used_at


def test_r29_many_keys_at_once_write_one_row_a_minute(bob, make_key):
    for _ in range(3):
        _key, secret = make_key(bob)
        Api(key=secret).get("/api/auth/me")
        bob.refresh_from_db()
    first = ApiKey.objects.order_by("last_used_at").first().last_used_at
    assert bob.last_seen_at == first

    User.objects.filter(pk=bob.pk).update(last_seen_at=first - 2 * LAST_USED_GRAIN)
    ApiKey.objects.update(last_used_at=first - 2 * LAST_USED_GRAIN)
    Api(key=secret).get("/api/auth/me")
    bob.refresh_from_db()
    assert bob.last_seen_at >= first


def test_r29_who_signs_out_was_here_all_the_same(as_bob, bob):
    Session.objects.filter(user=bob).update(last_used_at=timezone.now() - timedelta(hours=1))
    as_bob.get("/api/auth/me")
    Session.objects.filter(user=bob).delete()

    bob.refresh_from_db()
    assert last_seen(bob) > timezone.now() - timedelta(minutes=1)


def migrate(name):
    executor = MigrationExecutor(connection)
    executor.migrate([("accounts", name)])


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_what_sessions_and_keys_know_is_carried_over(make_user, make_key, monkeypatch):
    carry_over = __import__("accounts.migrations.0005_last_seen", fromlist=["x"])
    monkeypatch.setattr(carry_over, "PART", 2)
    now = timezone.now()
    people = [make_user(f"p{i}@example.org") for i in range(5)]
    for i, user in enumerate(people[1:]):
        for hours in (i, i + 5):
            key, _ = make_key(user)
            ApiKey.objects.filter(pk=key.pk).update(last_used_at=now - timedelta(hours=hours))
    make_key(people[0])  # never used
    at = now + timedelta(hours=1)
    Session.objects.create(session_key="s", expire_date=at, user=people[2], last_used_at=at)
    try:
        migrate("0004_preferences")
        migrate(LATEST)
    finally:
        migrate(LATEST)

    found = [User.objects.get(pk=user.pk).last_seen_at for user in people]
    assert found == [None, now, at, now - timedelta(hours=2), now - timedelta(hours=3)]


@pytest.mark.parametrize("down", [False, True])
def test_a_page_of_people_by_name_is_read_from_an_index(make_user, down):
    User.objects.bulk_create(
        User(email=f"p{n:04}@example.org", name=f"Person {n}", status=Status.ACTIVE)
        for n in range(3000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_user")
    order = (ShownName().desc(), "-pk") if down else (ShownName().asc(), "pk")

    plan = User.objects.exclude(status=Status.PENDING).order_by(*order)[:25].explain()

    assert "user_by_shown_name" in plan, plan
    assert not any(sorting in plan for sorting in ("TEMP B-TREE", "Sort")), plan
