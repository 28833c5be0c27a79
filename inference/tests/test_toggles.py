"""Models switched off or pinned, and what becomes of an engine whose configuration changed."""

import re

import pytest
from django.db import connection

from accounts.models import AuditRecord
from accounts.runtime import generations
from inference.engine_rows import local_targets
from inference.models import Engine, EngineState, Model
from inference.tests.configured import make, on_disk


@pytest.mark.django_db(transaction=True)
def test_r15_a_model_is_disabled_and_enabled(as_alice, home):
    """PUT /models/toggle-state/:name/:action."""
    row = make(home)
    Engine.objects.create(model=row, state=EngineState.READY)

    answer = as_alice.put("/models/toggle-state/little/disable")

    assert answer.json()["success"] is True
    assert "its engine stops once its callers are served" in answer.json()["message"]
    row.refresh_from_db()
    assert (row.enabled, row.unload_asked_at is None) == (False, False)
    assert on_disk(home)["enabled"] is False
    refused = as_alice.post(
        "/v1/chat/completions", {"model": "little", "messages": [{"role": "user", "content": "x"}]}
    )
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "model_disabled")
    assert as_alice.get("/v1/models").json()["data"] == []
    (listed,) = as_alice.get("/api/models/capabilities").json()["data"]
    assert (listed["id"], listed["disabled"]) == ("little", True)

    assert as_alice.put("/models/toggle-state/little/enable").status_code == 200
    row.refresh_from_db()
    assert row.enabled


@pytest.mark.django_db(transaction=True)
def test_r15_a_model_is_pinned_and_unpinned(as_alice, home):
    """PUT /models/toggle-pinned/:name/:action."""
    make(home, "owner/model")
    assert as_alice.put("/models/toggle-pinned/owner/model/pin").json()["success"] is True
    assert Model.objects.get().pinned
    (listed,) = as_alice.get("/api/models/capabilities").json()["data"]
    assert listed["pinned"] is True
    assert as_alice.put("/models/toggle-pinned/owner%2Fmodel/unpin").status_code == 200
    assert not Model.objects.get().pinned


@pytest.mark.parametrize(
    "path", ["/models/toggle-state/little/explode", "/models/toggle-pinned/little/enable"]
)
def test_r15_an_unknown_action_is_400(as_alice, home, path):
    make(home)
    assert as_alice.put(path).status_code == 400


@pytest.mark.parametrize(
    ("given", "state", "outcome"),
    [
        ({"options": {"max_model_len": 256}}, "ready", ("restarting", True, True)),
        ({"options": {"max_model_len": 256}}, "starting", ("restarting", True, True)),
        ({"options": {"max_model_len": 256}}, "failed", ("restarting", False, True)),
        ({"options": {"max_model_len": 256}}, "stopped", ("next load", False, False)),
        ({"description": "x"}, "ready", ("unchanged", False, False)),
        ({"pinned": True, "idle_timeout": 60}, "ready", ("unchanged", False, False)),
        ({"enabled": False, "options": {"max_model_len": 1}}, "ready", ("unloading", True, False)),
        ({"enabled": False}, "stopped", ("unchanged", False, False)),
    ],
)
def test_changed_options_start_a_running_engine_anew(as_alice, home, given, state, outcome):
    row = make(home)
    Model.objects.update(memory_bytes=5)
    Engine.objects.create(model=row, state=state)

    answer = as_alice("PATCH", "/api/models/config-json/little", given)

    row.refresh_from_db()
    assert row.memory_bytes == (None if "options" in given else 5)  # as measured with others
    unloads, loads = row.unload_asked_at is not None, row.wanted_at is not None
    assert (answer.json()["engine"], unloads, loads) == outcome


def test_what_changes_nothing_is_not_recorded(as_alice, home):
    make(home)
    assert as_alice("PATCH", "/api/models/config-json/little", {"pinned": False}).status_code == 200
    assert not AuditRecord.objects.filter(action="model_changed").exists()


def test_the_admin_site_switches_a_model_off_as_the_api_does(as_alice, home):
    row = make(home)
    Engine.objects.create(model=row, state=EngineState.READY)
    page = "/admin/inference/model/little/change/"
    assert as_alice.get(page).status_code == 200
    token = (
        as_alice.client.cookies["csrftoken"].value if "csrftoken" in as_alice.client.cookies else ""
    )

    answer = as_alice.client.post(
        page,
        {
            "csrfmiddlewaretoken": token,
            "initial-enabled": "True",
            "load_at_start": "on",
            "initial-load_at_start": "True",
            "replicas": "1",
            "idle_timeout_s": "",
        },
    )

    assert answer.status_code == 302, answer.content
    row.refresh_from_db()
    assert (row.enabled, row.unload_asked_at is None) == (False, False)
    assert on_disk(home)["enabled"] is False
    record = AuditRecord.objects.get(action="model_changed")
    assert (record.actor_name, record.after) == ("alice@example.org", {"enabled": False})


def test_the_admin_site_leaves_what_was_left_as_it_is(as_alice, home):
    """Somebody else disables the model while the form is open; and all of it is recorded."""
    row = make(home)
    page = "/admin/inference/model/little/change/"
    shown = as_alice.get(page).content.decode()
    remembered = dict(re.findall(r'name="(initial-[a-z_]+)" value="([^"]*)"', shown))
    assert remembered["initial-enabled"] == "True"
    as_alice.put("/models/toggle-state/little/disable")

    answer = as_alice.client.post(
        page,
        {"enabled": "on", "pinned": "on", "replicas": "1", "idle_timeout_s": "", **remembered},
    )

    assert answer.status_code == 302, answer.content
    row.refresh_from_db()
    assert (row.enabled, row.pinned, row.load_at_start) == (False, True, False)
    lines = AuditRecord.objects.filter(action="model_changed").order_by("pk")
    assert [each.after for each in lines] == [
        {"enabled": False},
        {"pinned": True},
        {"load_at_start": False},
    ]


@pytest.mark.django_db(transaction=True)
def test_what_the_admin_site_changes_is_told_once_it_is_there(as_alice, home, monkeypatch):
    make(home)
    told = []
    monkeypatch.setattr(
        type(generations()), "bump", lambda *_: told.append(connection.in_atomic_block)
    )

    as_alice.client.post(
        "/admin/inference/model/little/change/",
        {"enabled": "on", "pinned": "on", "replicas": "1", "idle_timeout_s": ""},
    )

    assert Model.objects.get().pinned
    assert told[-1] is False


def test_a_name_that_was_given_to_a_model_later_blocks_no_switch(as_alice, home, settings):
    make(home)
    as_alice("PATCH", "/api/models/config-json/little", {"aliases": ["later"]})
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"models": ["later"]})

    assert as_alice.put("/models/toggle-state/little/disable").status_code == 200
    assert [target.name for target in local_targets(["later"])] == ["little"]  # nor its callers
