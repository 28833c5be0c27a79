"""What follows from a setting of the engines for others (surface, section 5), and what one does."""

from datetime import timedelta

import pytest
from django.utils import timezone

from inference import stored_responses
from inference.models import StoredResponse

URL = "/api/settings"
NAMES = (
    "watchdog_enabled",
    "watchdog_idle_enabled",
    "watchdog_busy_enabled",
    "max_active_backends",
    "single_backend",
)


def after(api, *bodies):
    """(watchdog, idle, busy, max, single) after these posts."""
    for body in bodies:
        assert api.post(URL, body).status_code == 200, body
    found = api.get(URL).json()
    return tuple(found[name] for name in NAMES)


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        ([{"watchdog_idle_enabled": True}], (True, True, False, 0, False)),
        ([{"watchdog_busy_enabled": True}], (True, False, True, 0, False)),
        (
            [{"watchdog_idle_enabled": True}, {"watchdog_idle_enabled": False}],
            (False, False, False, 0, False),
        ),
        ([{"watchdog_enabled": True}], (True, False, False, 0, False)),
        (
            [{"watchdog_enabled": True, "watchdog_idle_enabled": False}],
            (False, False, False, 0, False),
        ),
        ([{"memory_reclaimer_enabled": True}], (True, False, False, 0, False)),
        ([{"single_backend": True}], (False, False, False, 1, True)),
        ([{"max_active_backends": 1}], (False, False, False, 1, True)),
        ([{"single_backend": True}, {"single_backend": False}], (False, False, False, 0, False)),
        ([{"single_backend": True}, {"max_active_backends": 3}], (False, False, False, 3, False)),
        ([{"single_backend": True, "max_active_backends": 0}], (False, False, False, 1, True)),
    ],
)
def test_what_follows_from_watchdogs_and_from_the_old_name_of_a_limit(as_alice, bodies, expected):
    """SET:watchdog_enabled, SET:single_backend, SET:max_active_backends, SET:memory_reclaimer_enabled."""
    assert after(as_alice, *bodies) == expected


@pytest.mark.parametrize(("ttl", "left"), [("720h", 1), ("24h", 0), ("0", 2)])
def test_set_open_responses_store_ttl_decides_how_long_responses_are_kept(
    as_alice, alice, ttl, left
):
    """SET:open_responses_store_ttl."""
    for name, age in (("resp_new", 2), ("resp_old", 40)):
        at = timezone.now() - timedelta(days=age)
        StoredResponse.objects.create(
            id=name, user_id=str(alice.pk), created_at=at, response={}, input=[]
        )
    as_alice.post(URL, {"open_responses_store_ttl": ttl})

    found = [stored_responses.find(n, user_id=str(alice.pk)) for n in ("resp_new", "resp_old")]
    assert len([each for each in found if each]) == left
    stored_responses.sweep()
    assert StoredResponse.objects.count() == left
