"""Invariants live in the database: these rows cannot be written, whoever tries."""

import pytest
from django.db import IntegrityError, transaction

from accounts.models import Invite, User


def refused(**fields):
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create(**{"email": "x@y.org", **fields})


def test_one_account_per_address_in_lower_case(bob):
    refused(email=bob.email)
    refused(email="Upper@example.org")


def test_one_account_per_provider_and_subject(db):
    User.objects.create(email="a@x.org", provider="oidc", subject="s1")
    refused(provider="oidc", subject="s1")
    User.objects.create(email="b@x.org", provider="github", subject="s1")


@pytest.mark.parametrize("fields", [{"role": "root"}, {"status": "gone"}, {"provider": "x"}])
def test_only_known_roles_states_and_providers(db, fields):
    refused(**fields)


def test_used_by_means_used_at(bob):
    from django.utils import timezone

    with pytest.raises(IntegrityError), transaction.atomic():
        Invite.objects.create(
            prefix="x", digest="d", digest_key_id="k", expires_at=timezone.now(), used_by=bob
        )
