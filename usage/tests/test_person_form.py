"""The form of one person's role, features, models and quotas (E-18, E-22 to E-27)."""

import html
import re
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
from django.db import connections, transaction

from accounts.features import features_of
from accounts.models import AuditRecord, SignUpLock, User
from accounts.tests.test_pages import form
from tests.people import sign_in
from usage.models import QuotaRule
from usage.quotas import service

LIST = "/app/users"


def text_of(answer):
    return answer.content.decode()


def stamp_in(answer):
    """What the form says it showed."""
    return html.unescape(re.search(r'name="shown" value="([^"]*)"', text_of(answer))[1])


@pytest.fixture
def strict(alice):
    """Alice, an admin, in a browser whose forms are checked for their token."""
    api = sign_in(alice)
    api.client.handler.enforce_csrf_checks = True
    return api


def save(api, path, *, shown=None, **fields):
    """Send the form as it was when its stamp was `shown`; as it is now without one."""
    return form(api, path, shown=shown or stamp_in(api.get(path)), **fields)


def drawer(user, **changed):
    """What the drawer sends for `user` as they are, but for `changed`."""
    given = {
        "role": user.role,
        "feature": sorted(features_of("user", user.permissions)),
        "model": user.allowed_models,
        **({"restricted": "on"} if user.models_restricted else {}),
    }
    return {**given, **changed}


def test_e22_to_e24_the_drawer_saves_what_differs(strict, bob):
    path = f"{LIST}/{bob.pk}"
    assert "Chat completions" in text_of(strict.get(path))

    save(strict, path, **drawer(bob))
    assert not AuditRecord.objects.filter(action__in=["permissions_changed", "models_changed"])

    save(strict, path, **drawer(bob, feature=["chat", "agents"], restricted="on", model=["m", "m"]))

    bob.refresh_from_db()
    assert {name for name, has in bob.permissions.items() if has} == {"chat", "agents"}
    assert (bob.models_restricted, bob.allowed_models) == (True, ["m"])
    assert AuditRecord.objects.filter(action="permissions_changed").count() == 1
    assert "Not installed" in text_of(strict.get(path))


def test_e25_to_e27_quotas_are_added_changed_and_removed(strict, bob):
    path = f"{LIST}/{bob.pk}"
    new = {"quota-new-model": "", "quota-new-window": "7d", "quota-new-tokens": "1,000,000"}
    save(strict, path, **drawer(bob), **new)
    rule = QuotaRule.objects.get(user=bob)
    assert (rule.window_s, rule.max_total_tokens, rule.max_requests) == (604800, 1_000_000, None)
    assert "0 of 1,000,000 tokens" in text_of(strict.get(path))

    QuotaRule.objects.filter(pk=rule.pk).update(max_concurrent=4)
    row = {"quota-0-id": str(rule.pk), "quota-0-model": "", "quota-0-window": "7d"}
    save(strict, path, **drawer(bob), **row, **{"quota-0-requests": "0", "quota-0-tokens": ""})
    rule.refresh_from_db()
    assert (rule.max_requests, rule.max_total_tokens, rule.max_concurrent) == (0, None, 4)
    assert "100" in text_of(strict.get(LIST))  # 0 allows nothing: it is full (S-16)

    save(strict, path, **drawer(bob), **{**row, "quota-0-window": "1h", "quota-0-requests": "5"})
    moved = QuotaRule.objects.get(user=bob)
    assert (moved.window_s, moved.max_requests, moved.max_concurrent) == (3600, 5, 4)

    save(strict, path, **drawer(bob), **{"quota-0-id": str(moved.pk), "quota-0-remove": "on"})
    assert not QuotaRule.objects.filter(user=bob).exists()


@pytest.mark.parametrize("tokens", ["-1", "1.5", "1,00", "1e9", "many", "9" * 30, "\uff11"])
def test_e26_a_quota_that_is_no_number_changes_nothing(strict, bob, tokens):
    new = {"quota-new-model": "", "quota-new-window": "7d", "quota-new-tokens": tokens}

    answer = save(strict, f"{LIST}/{bob.pk}", **drawer(bob, feature=["chat"]), **new)

    assert answer.status_code == 422
    assert "Quotas are whole numbers from 0 on." in text_of(answer)
    bob.refresh_from_db()
    assert bob.permissions == {}
    assert not QuotaRule.objects.exists()


def test_what_is_refused_at_the_end_leaves_nothing_half_done(strict, bob, monkeypatch):
    monkeypatch.setattr(service, "MAX_RULES_A_USER", 1)
    rule = QuotaRule.objects.create(user=bob, window_s=3600, max_requests=1)
    row = {"quota-0-id": str(rule.pk), "quota-0-window": "1d", "quota-0-requests": "1"}
    new = {"quota-new-window": "7d", "quota-new-tokens": "5"}

    answer = save(strict, f"{LIST}/{bob.pk}", **drawer(bob, role="admin", feature=[]), **row, **new)

    assert answer.status_code == 422
    bob.refresh_from_db()
    assert (bob.role, bob.permissions) == ("user", {})
    assert [each.window_s for each in QuotaRule.objects.filter(user=bob)] == [3600]
    assert not AuditRecord.objects.filter(subject_id=str(bob.pk), action="role_changed").exists()


@pytest.mark.parametrize(
    "given",
    [
        {"role": "owner"},
        {"model": ["x" * 256]},
        {"model": ["a\0b"]},
        {"quota-new-window": "1s0", "quota-new-tokens": "1"},
        {"quota-0-id": "x", "quota-0-window": "7d", "quota-0-tokens": "x"},
    ],
)
def test_a_forged_drawer_is_refused_in_words(strict, bob, given):
    answer = save(strict, f"{LIST}/{bob.pk}", **{**drawer(bob), **given})

    assert answer.status_code == 422
    assert 'role="alert"' in text_of(answer)


def test_e27_another_persons_rule_is_not_touched(strict, bob, mallory):
    rule = QuotaRule.objects.create(user=mallory, window_s=3600, max_requests=1)

    save(
        strict,
        f"{LIST}/{bob.pk}",
        **drawer(bob),
        **{"quota-0-id": str(rule.pk), "quota-0-remove": "on"},
    )

    assert QuotaRule.objects.filter(pk=rule.pk).exists()


@pytest.fixture
def opened(strict, bob):
    """(path, stamp) of bob's form as an admin has it open, with two quotas in it."""
    QuotaRule.objects.create(user=bob, window_s=3600, max_requests=10)
    QuotaRule.objects.create(user=bob, model="m", window_s=86400, max_total_tokens=500)
    path = f"{LIST}/{bob.pk}"
    return path, stamp_in(strict.get(path))


def rows_of(user, **changed):
    """The quotas as the form sends them."""
    sent = {}
    for n, status in enumerate(service.statuses_of(str(user.pk))):
        limits = {"requests": status["max_requests"], "tokens": status["max_total_tokens"]}
        names = {"id": status["id"], "model": status["model"], "window": status["window"]}
        for name, value in {**names, **limits}.items():
            sent[f"quota-{n}-{name}"] = "" if value is None else str(value)
    return {**sent, **changed}


def checked(answer, name):
    found = re.findall(rf'name="{name}" value="([^"]*)" checked', text_of(answer))
    return set(map(html.unescape, found))


def test_of_two_who_save_the_same_form_the_second_is_told_and_changes_nothing(strict, bob, opened):
    path, stamp = opened
    features, rows = sorted(features_of("user", {})), rows_of(bob)
    first = drawer(bob, role="admin", feature=[*features, "agents"], restricted="on", model=["m"])
    assert save(strict, path, shown=stamp, **first, **rows).status_code == 302
    before = AuditRecord.objects.count()

    second = drawer(bob, feature=[each for each in features if each != "vad"])
    answer = save(strict, path, shown=stamp, **second, **rows)

    assert answer.status_code == 422
    assert AuditRecord.objects.count() == before
    after = User.objects.get(pk=bob.pk)
    assert (after.role, after.models_restricted, after.allowed_models) == ("admin", True, ["m"])
    assert features_of("user", after.permissions) == {*features, "agents"}
    said = text_of(answer)
    assert "Somebody else changed this meanwhile, so nothing was saved." in said
    assert "<li>Role: <bdi>Administrator</bdi></li>" in said
    assert "<li>Features switched on: <bdi>Agents</bdi></li>" in said
    assert "<li>Restrict to specific models: <bdi>On</bdi></li>" in said
    assert "<li>Models added: <bdi>m</bdi></li>" in said


def test_what_each_changed_is_in_the_form_that_comes_again(strict, bob, opened):
    path, stamp = opened
    features, rows = sorted(features_of("user", {})), rows_of(bob)
    save(strict, path, **drawer(bob, role="admin", feature=[*features, "agents"]), **rows)

    mine = [each for each in features if each != "vad"]
    answer = save(strict, path, shown=stamp, **drawer(bob, feature=mine), **rows)

    assert checked(answer, "feature") == {*mine, "agents"}
    assert '<option value="admin" selected>' in text_of(answer)
    again = save(strict, path, shown=stamp_in(answer), role="admin", feature=[*mine, "agents"])
    assert again.status_code == 302
    after = User.objects.get(pk=bob.pk)
    assert after.role == "admin"
    assert features_of("user", after.permissions) == {*mine, "agents"}


def test_quotas_that_moved_meanwhile_are_shown_and_typed_ones_kept(strict, bob, opened):
    """One row is somebody else's change, one is ours, one went away under our hands, one is new."""
    path, stamp = opened
    hour, day = QuotaRule.objects.filter(user=bob).order_by("model")
    rows = rows_of(bob, **{"quota-1-tokens": "600"})
    new = {"quota-new-model": "", "quota-new-window": "7d", "quota-new-requests": "70"}
    QuotaRule.objects.filter(pk=hour.pk).update(max_requests=11)
    added = QuotaRule.objects.create(user=bob, window_s=60, max_requests=3)

    answer = save(strict, path, shown=stamp, **drawer(bob), **rows, **new)

    assert answer.status_code == 422
    said = text_of(answer)
    assert "<li>Quotas added: <bdi>3 requests in 1 minute</bdi></li>" in said
    assert "<li>Quotas changed: <bdi>11 requests in 1 hour</bdi></li>" in said
    values = {
        str(rule.pk): int(re.search(rf'name="quota-(\d)-id" value="{rule.pk}"', said)[1])
        for rule in (hour, day, added)
    }

    def field(n, name):
        return re.search(rf'name="quota-{n}-{name}"[^>]* value="([^"]*)"', said)[1]

    assert field(values[str(hour.pk)], "requests") == "11"
    assert field(values[str(day.pk)], "tokens") == "600"
    assert field(values[str(added.pk)], "requests") == "3"
    assert field(3, "requests") == "70"

    QuotaRule.objects.filter(pk=day.pk).delete()
    answer = save(strict, path, shown=stamp, **drawer(bob), **rows)
    said = text_of(answer)
    assert "<li>Quotas removed: <bdi>500 tokens in 1 day (m)</bdi></li>" in said
    assert str(day.pk) not in said
    assert field(2, "tokens") == "600"  # what was typed into it stays, as a new one


def test_a_tick_that_removes_a_quota_stays_where_the_form_comes_again(strict, bob, opened):
    path, stamp = opened
    save(strict, path, **drawer(bob, role="admin"), **rows_of(bob))

    answer = save(
        strict, path, shown=stamp, **drawer(bob), **rows_of(bob, **{"quota-0-remove": "on"})
    )

    assert re.search(r'name="quota-0-remove" checked', text_of(answer))
    assert not re.search(r'name="quota-1-remove" checked', text_of(answer))
    assert QuotaRule.objects.filter(user=bob).count() == 2


@pytest.mark.parametrize("forged", ["", "x", "x:y:z", "another's"])
def test_a_form_that_does_not_say_what_it_showed_saves_nothing(strict, bob, mallory, forged):
    if forged == "another's":
        forged = stamp_in(strict.get(f"{LIST}/{mallory.pk}"))

    answer = form(strict, f"{LIST}/{bob.pk}", shown=forged, **drawer(bob, role="admin"))

    assert answer.status_code == 422
    assert "Somebody else changed this meanwhile" in text_of(answer)
    assert '<option value="admin" selected>' in text_of(answer)
    assert User.objects.get(pk=bob.pk).role == "user"


def test_a_mistake_does_not_renew_what_the_form_showed(strict, bob, opened):
    """Who corrects it has not seen what changed in between."""
    path, stamp = opened
    wrong = {"quota-new-window": "7d", "quota-new-tokens": "many"}
    answer = save(strict, path, shown=stamp, **drawer(bob), **rows_of(bob), **wrong)
    assert (answer.status_code, stamp_in(answer)) == (422, stamp)


def test_the_dialog_says_it_too(strict, bob, opened):
    path, stamp = opened
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', text_of(strict.get(path)))[1]
    User.objects.filter(pk=bob.pk).update(role="admin")

    sent = {**drawer(bob), **rows_of(bob), "shown": stamp, "csrfmiddlewaretoken": token}
    answer = strict.client.post(path, sent, headers={"x-over": "1"})

    assert answer.status_code == 422
    assert text_of(answer).lstrip().startswith("<dialog")
    assert "Somebody else changed this meanwhile" in text_of(answer)


def test_hostile_names_are_text_in_what_changed(strict, bob, opened):
    path, stamp = opened
    name = "<img src=x onerror=alert(1)>"
    User.objects.filter(pk=bob.pk).update(allowed_models=[name])

    said = text_of(save(strict, path, shown=stamp, **drawer(bob)))

    assert "Models added: <bdi>&lt;img" in said
    assert name not in said


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_several_at_the_same_moment_one_saves(alice, bob):
    """Each has the form open that all have open; on PostgreSQL, too, the first alone is taken."""
    path, n = f"{LIST}/{bob.pk}", 8
    apis = [sign_in(alice) for _ in range(n)]
    stamp, barrier = stamp_in(apis[0].get(path)), Barrier(n)
    wanted = sorted(features_of("user", {}))

    def one(i):
        barrier.wait(30)
        try:
            new = {"quota-new-window": "7d", "quota-new-requests": str(i + 1)}
            sent = {"role": "user", "feature": wanted[i:], "shown": stamp, **new}
            return apis[i].client.post(path, sent).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(n) as pool:
        outcomes = sorted(pool.map(one, range(n)))

    assert outcomes == [302, *[422] * (n - 1)]
    assert QuotaRule.objects.filter(user=bob).count() == 1


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_form_takes_its_locks_in_the_order_of_every_change(alice, bob):
    """Who changes rights holds the count of admins first: the form waits for that without the row."""
    api, path, held = sign_in(alice), f"{LIST}/{bob.pk}", Event()
    SignUpLock.objects.get_or_create(id=1)
    sent = {"role": "admin", "shown": stamp_in(api.get(path))}

    def change():
        try:
            with transaction.atomic():
                SignUpLock.objects.select_for_update().get(id=1)
                held.set()
                time.sleep(1)  # the form has come as far as it comes
                User.objects.filter(pk=bob.pk).update(name="Robert")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(change)
        assert held.wait(30)
        assert api.client.post(path, sent).status_code == 302
        other.result()

    after = User.objects.get(pk=bob.pk)
    assert (after.name, after.role) == ("Robert", "admin")
