"""Operations in the sidebar: on every admin's page, told once, cancelled and dismissed from there."""

import re

import pytest
from django.utils import timezone

from accounts.tests.test_pages import form
from inference.models import Operation, OperationState

PANEL = "/app/operations"


def operation(target="qwen3-8b", **fields):
    return Operation.objects.create(kind="model", action="install", target=target, **fields)


def panel(api, path=PANEL):
    answer = api.get(path, accept="text/html")
    assert answer.status_code == 200
    html = answer.content.decode()
    return html[html.index('id="ops"') :].partition("</nav>")[0]


def test_every_page_of_an_admin_shows_what_is_under_way(as_alice, as_bob):
    operation(state=OperationState.RUNNING, progress=42)

    for path in ("/app", "/app/system", PANEL):
        shown = panel(as_alice, path)
        assert "qwen3-8b" in shown
        assert 'value="42"' in shown
        assert 'data-every="1000"' in shown
    assert b"qwen3-8b" not in as_bob.get("/app", accept="text/html").content
    assert as_bob.get(PANEL, accept="text/html").status_code == 302


def test_nothing_under_way_is_asked_slowly(as_alice):
    assert 'data-every="15000"' in panel(as_alice)


def test_what_has_just_ended_comes_along_to_be_said(as_alice):
    now = timezone.now()
    done = operation("a", state=OperationState.DONE, finished_at=now)
    operation("b", state=OperationState.DONE, finished_at=now - timezone.timedelta(minutes=2))

    shown = panel(as_alice)

    assert re.findall(r'data-op="([^"]+)" data-stage="done"', shown) == [str(done.pk)]
    assert 'class="ops"' not in shown


def test_cancel_and_dismiss_work_as_plain_forms(as_alice):
    queued = operation("a")
    failed = operation("b", state=OperationState.FAILED, message="the disk is full")
    assert "the disk is full" in panel(as_alice)

    answer = form(as_alice, f"{PANEL}/{queued.pk}/cancel", "/app")
    assert (answer.status_code, answer.headers["location"]) == (302, "/app")
    form(as_alice, f"{PANEL}/{failed.pk}/dismiss", "/app")

    queued.refresh_from_db()
    failed.refresh_from_db()
    assert queued.state == OperationState.CANCELLED
    assert failed.dismissed


@pytest.mark.parametrize("step", ["cancel", "dismiss"])
def test_a_user_may_neither(as_bob, step):
    queued = operation("a")
    assert form(as_bob, f"{PANEL}/{queued.pk}/{step}", "/app").status_code == 403
    queued.refresh_from_db()
    assert queued.state == OperationState.QUEUED


def test_an_unknown_one_is_no_error(as_alice):
    for step in ("cancel", "dismiss"):
        assert form(as_alice, f"{PANEL}/nothing/{step}", "/app").status_code == 302


def test_many_operations_are_one_query_and_a_hostile_name_is_text(
    as_alice, django_assert_num_queries
):
    for i in range(60):
        operation(f"<script>{i}", state=OperationState.RUNNING)

    with django_assert_num_queries(3):  # session, user, operations
        shown = panel(as_alice)

    assert "<script>" not in shown
    assert shown.count('class="ops"') == 3
    assert "47 more" in shown
