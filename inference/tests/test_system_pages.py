"""R-24, R-29: the System page: engines with what they do, machine, budgets, books; load and unload."""

import re

import pytest
from django.contrib.messages import get_messages
from django.utils import timezone

from accounts.models import AuditRecord
from inference import engine_listing, engine_requests, system_pages
from inference.models import Engine, EngineState, Model

pytestmark = pytest.mark.django_db
PAGE, LIVE = "/app/system", "/app/system/live"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def data_path(settings, tmp_path):
    names = ("data_path", "models_path", "backends_path")
    paths = {name: tmp_path / name for name in names}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=paths)
    return paths["data_path"]


@pytest.fixture
def engine():
    model = Model.objects.create(name="org/m", source="", backend="fake", directory="/x")
    return Engine.objects.create(
        model=model,
        state=EngineState.WAITING,
        tries=3,
        message=f"out of memory {HOSTILE}",
        next_try_at=timezone.now() + timezone.timedelta(seconds=90),
    )


def text(answer):
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def test_r29_an_engine_is_shown_with_its_state_and_what_comes_next(as_alice, engine):
    shown = text(as_alice.get(PAGE))

    assert "Failed" in shown
    assert "Next try in 1 min" in shown
    assert "/app/logs/org/m" in shown
    assert "Unload" in shown
    assert HOSTILE not in shown
    assert "&lt;script&gt;" in shown


def test_r24_manage_is_another_name_of_the_page(as_alice, engine):
    assert "org/m" in text(as_alice.get("/app/manage"))
    assert 'href="/app/system"' in text(as_alice.get("/app/manage"))


@pytest.mark.parametrize("path", [PAGE, LIVE, "/app/manage"])
def test_r24_it_is_the_admins_alone(anonymous, as_bob, path):
    assert anonymous.get(path).headers["location"].startswith("/login?next=")
    assert as_bob.get(path).headers["location"] == "/app?notice=admins_only"


@pytest.mark.parametrize("path", ["/app/system/load", "/app/system/unload"])
def test_who_is_no_admin_asks_nothing_of_an_engine(as_bob, anonymous, engine, path):
    assert as_bob.client.post(path, {"model": "org/m"}).status_code == 403
    assert anonymous.client.post(path, {"model": "org/m"}).status_code == 302
    engine.model.refresh_from_db()
    assert engine.model.wanted_at is engine.model.unload_asked_at is None


def test_an_empty_server_says_where_models_come_from(as_alice):
    assert "No model is installed" in text(as_alice.get(PAGE))


def test_the_live_part_says_when_it_is_fetched_again(as_alice, engine):
    part = text(as_alice.get(LIVE))

    assert re.search(r'id="live"[^>]*data-poll="/app/system/live" data-every="2000"', part)
    assert "<html" not in part
    assert "Accounting" not in part


def test_it_costs_the_same_queries_for_one_engine_and_for_thirty(
    as_alice, engine, django_assert_num_queries
):
    as_alice.get(LIVE)
    with django_assert_num_queries(4):  # session, user; models, their engines
        as_alice.get(LIVE)
    for i in range(30):
        model = Model.objects.create(name=f"m{i}", source="", backend="fake", directory="/x")
        Engine.objects.create(model=model, state=EngineState.STOPPED)
    with django_assert_num_queries(4):
        as_alice.get(LIVE)
    with django_assert_num_queries(7):  # and the frame's two, the books
        as_alice.get(PAGE)


def test_r31_budgets_are_shown_with_what_engines_have_of_them(as_alice, settings, monkeypatch):
    row = {
        **dict.fromkeys(("running", "tokens_per_second", "uptime_seconds", "started_at")),
        "model": "m",
        "backend": "fake",
        "state": "ready",
        "message": "",
        "host": "h",
        "waiting": 2,
        "kv_cache_usage": 0.5,
        "restarts": 0,
        "next_try_at": None,
        "memory": {"total": 2**30, "gpu": 0, "breakdown": {}},
        "replicas": [],
    }
    monkeypatch.setattr(system_pages, "engines_now", lambda _limit: [row])
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"ram_budget": "2GiB"})

    shown = text(as_alice.get(LIVE))

    assert "1\u202fGiB of 2\u202fGiB budget" in shown
    assert "2 waiting" in shown
    assert "50\u202f%" in shown


def test_loading_is_asked_for_and_recorded(as_alice, engine, monkeypatch):
    asked = []
    monkeypatch.setattr(
        engine_requests, "load", lambda name, *, wait_s: asked.append((name, wait_s))
    )

    answer = as_alice.client.post("/app/system/load", {"model": "org/m"})

    assert (answer.status_code, answer.headers["location"]) == (302, PAGE)
    assert [name for name, _ in asked] == ["org/m"]
    assert AuditRecord.objects.filter(action="model_loaded").count() == 1
    assert "org/m is loading." in text(as_alice.get(PAGE))


def test_what_is_refused_is_said_on_the_page(as_alice, engine):
    answer = as_alice.client.post("/app/system/unload", {"model": f"no such {HOSTILE}"})

    assert answer.status_code == 302
    (said,) = [str(each) for each in get_messages(answer.wsgi_request)]
    assert "not currently loaded" in said
    assert AuditRecord.objects.filter(action="model_unloaded").count() == 0
    assert HOSTILE not in text(as_alice.get(PAGE))


def test_a_remote_engine_that_hangs_does_not_hold_the_page_up(settings, monkeypatch):
    import asyncio

    class Hanging:
        url, targets = "http://far:1", []

        async def ask(self):
            await asyncio.sleep(30)

        def close(self):
            pass

    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"engines": ["far=http://far:1"]})
    monkeypatch.setattr(engine_listing, "remote_engines", lambda: [Hanging()])

    assert engine_listing.engines_now(0.05) == []
