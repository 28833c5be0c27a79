"""What only one of several may get, with real parallel clients: on SQLite and on PostgreSQL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.db import connections
from django.utils import timezone

from accounts import invites, people
from accounts.audit import CLI
from accounts.models import Invite, Role, SignUpLock, Status, User
from accounts.registration import Registration, Terms, register
from accounts.runtime import stored_settings
from accounts.social.arrival import arrive
from accounts.social.identity import Identity, SignInRefusedError
from core.errors import GatehouseError

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
N = 50


def identity(i: int, provider: str = "github", **more: Any) -> Identity:
    fields = {"email": f"p{i}@example.org", "verified": True, "name": "", "avatar_url": ""}
    return Identity(provider=provider, subject=str(i), groups=frozenset(), **{**fields, **more})


def sign_up(i: int, *, who: int | None = None, code: str = "") -> User | None:
    """Sign up by one of the three ways, whichever is `i`'s turn; None where the address was taken."""
    person = i if who is None else who
    if i % 3 == 0:
        return register(asked(person, invite_code=code), now=timezone.now(), by=CLI).user
    known = identity(person, ("github", "oidc")[i % 3 - 1])
    return arrive(known, Terms(invite_code=code), now=timezone.now(), by=CLI).user


@pytest.fixture(autouse=True)
def _with_settings():
    """As in a server, they were read before anybody comes."""
    stored_settings().fresh()


def together(work: Callable[[int], Any]) -> list[Any]:
    """Run `work(i)` N times at the same moment; its result, or the GatehouseError it raised."""
    barrier = Barrier(N)

    def one(i: int) -> Any:
        barrier.wait(30)
        try:
            return work(i)
        except (GatehouseError, SignInRefusedError) as exc:
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


def test_w02_one_first_admin_over_all_ways_of_signing_up():
    """CVE-2026-45675: the other ways decide it, too, before the insert is seen."""
    outcomes = together(sign_up)

    assert not [each for each in outcomes if isinstance(each, Exception)]
    assert User.objects.filter(role=Role.ADMIN).count() == 1
    assert User.objects.count() == N


def test_w02_one_account_per_address_over_all_ways_of_signing_up():
    register(asked(99), now=timezone.now(), by=CLI)

    together(lambda i: sign_up(i, who=1))

    assert User.objects.filter(email="p1@example.org").count() == 1


def test_w02_the_same_new_identity_in_many_tabs_is_one_account():
    register(asked(99), now=timezone.now(), by=CLI)

    outcomes = together(lambda _: arrive(identity(1), Terms(), now=timezone.now(), by=CLI))

    refused = {each.code for each in outcomes if isinstance(each, SignInRefusedError)}
    assert refused <= {"try_again"}
    assert SocialAccount.objects.count() == 1
    assert User.objects.filter(provider="github").count() == 1


def test_w03_one_consumer_per_invite_over_all_ways_of_signing_up():
    register(asked(99), now=timezone.now(), by=CLI)
    _, code = invites.create(created_by=None, hours=1, now=timezone.now(), by=CLI)

    outcomes = together(lambda i: sign_up(i, code=code))

    assert sum(isinstance(each, Exception) for each in outcomes) == N - 1
    assert User.objects.filter(status=Status.ACTIVE, role=Role.USER).count() == 1
    assert Invite.objects.get().used_by is not None
