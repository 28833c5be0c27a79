"""What only one of several may get, with real parallel clients: on SQLite and on PostgreSQL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from accounts import invites, people
from accounts.audit import CLI
from accounts.models import Invite, Role, SignUpLock, Status, User
from accounts.registration import Registration, register
from core.errors import GatehouseError

pytestmark = pytest.mark.django_db(transaction=True)
N = 6


def together(work: Callable[[int], Any]) -> list[Any]:
    """Run `work(i)` N times at the same moment; its result, or the GatehouseError it raised."""
    barrier = Barrier(N)

    def one(i: int) -> Any:
        barrier.wait(10)
        try:
            return work(i)
        except GatehouseError as exc:
            return exc
        finally:
            connections.close_all()

    with ThreadPoolExecutor(N) as pool:
        return list(pool.map(one, range(N)))


def asked(i: int, **more: Any) -> Registration:
    return Registration(email=f"p{i}@example.org", password="a long enough pass phrase", **more)


def test_w02_of_several_first_registrations_one_becomes_admin():
    outcomes = together(lambda i: register(asked(i), now=timezone.now(), by=CLI))

    assert not [each for each in outcomes if isinstance(each, Exception)]
    assert User.objects.filter(role=Role.ADMIN).count() == 1
    assert User.objects.count() == N


def test_w02_of_several_registrations_of_one_address_one_account_comes():
    register(asked(99), now=timezone.now(), by=CLI)

    together(lambda _: register(asked(1), now=timezone.now(), by=CLI))

    assert User.objects.filter(email="p1@example.org").count() == 1


def test_w03_an_invite_serves_one_of_several():
    register(asked(99), now=timezone.now(), by=CLI)
    _, code = invites.create(created_by=None, hours=1, now=timezone.now(), by=CLI)

    outcomes = together(lambda i: register(asked(i, invite_code=code), now=timezone.now(), by=CLI))

    assert sum(isinstance(each, GatehouseError) for each in outcomes) == N - 1
    assert Invite.objects.get().used_by is not None
    assert User.objects.filter(status=Status.ACTIVE, role=Role.USER).count() == 1


def test_s08_two_admins_who_disable_each_other_leave_one():
    SignUpLock.objects.get_or_create(id=1)
    admins = [
        User.objects.create(email=f"a{i}@x.org", role="admin", status="active") for i in range(N)
    ]

    together(lambda i: people.set_status(admins[i].pk, Status.DISABLED, by=CLI))

    assert User.objects.filter(role=Role.ADMIN, status=Status.ACTIVE).count() == 1
