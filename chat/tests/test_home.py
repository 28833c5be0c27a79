"""The home page and the API page (R-24, R-29; surface 6.3): what one may use, and nothing of others."""

import re

import pytest
from django.utils import timezone

from accounts.tests.test_pages import form
from chat.tests.conftest import conversation
from inference.models import Engine, Model, Operation
from inference.setup_steps import Step
from tests.people import Api
from usage.models import QuotaRule

pytestmark = pytest.mark.django_db
N_QUERIES = 15
HOSTILE = "<script>alert(1)</script>"


def shown(api, path="/app", **headers):
    answer = api.get(path, accept="text/html", **headers)
    assert answer.status_code == 200, answer.content[:500]
    return answer.content.decode()


def install(name="m", *, state="ready", **fields):
    can = fields.pop("capabilities", ["chat"])
    model = Model.objects.create(name=name, backend="vllm-cpu", capabilities=can, **fields)
    Engine.objects.create(
        model=model, state=state, message="no memory" if state == "failed" else ""
    )
    return model


def test_what_is_ready_and_what_loads_on_first_use(as_bob):
    install("a-ready", options={"max_model_len": 2048})
    install("b-asleep", state="stopped", capabilities=["embeddings"])
    install("c-loading", state="starting")

    html = shown(as_bob)

    assert re.search(r"a-ready.*?Chat, 2\u202fK context.*?>Ready<", html, re.DOTALL)
    assert re.search(r"c-loading.*?>Loading<", html, re.DOTALL)
    assert "<bdi>1</bdi> model ready" in html


def test_a_model_that_one_may_not_use_is_nowhere(as_bob, bob):
    """Contract 4.3: names of models are not told."""
    install("m")
    install("secret-model")
    bob.models_restricted, bob.allowed_models = True, ["m"]
    bob.save()

    for path in ("/app", "/app/api", "/app/home/models"):
        assert "secret-model" not in shown(as_bob, path)
    assert "secret-model" not in as_bob.get("/app/home/models").content.decode()


def test_why_a_model_failed_is_for_admins(as_alice, as_bob):
    install("m", state="failed")

    assert "no memory" in shown(as_alice)
    assert "no memory" not in shown(as_bob)


def test_models_that_load_are_looked_at_often(as_bob):
    model = install("m")
    assert 'data-every="20000"' in shown(as_bob)
    model.engines.update(state="starting")
    assert 'data-every="2000"' in shown(as_bob, "/app/home/models")


def test_a_first_question_goes_to_the_chat_page(as_bob):
    install("m")
    html = shown(as_bob)
    assert re.search(r'<form class="composer" method="post" action="/app/chat"', html)
    assert '<option value="m" selected>' in html


def test_without_a_model_nobody_is_asked_for_a_question(as_alice, as_bob):
    assert "composer" not in shown(as_bob)
    assert "An administrator has to install one" in shown(as_bob)
    assert "Install one from the gallery" in shown(as_alice)


def test_ones_own_conversations_alone(as_bob, bob, mallory):
    conversation(bob, "hello", title="Retry with back-off")
    conversation(bob, "hello", title=HOSTILE)
    conversation(mallory, "hello", title="of mallory")

    html = shown(as_bob)

    assert "Retry with back-off" in html
    assert "of mallory" not in html
    assert HOSTILE not in html


def test_what_one_may_still_use(as_bob, bob):
    assert "What you may still use" not in shown(as_bob)
    QuotaRule.objects.create(user=bob, model="", window_s=604_800, max_total_tokens=1_000_000)

    html = shown(as_bob)

    assert "All models, per 7 days" in html
    assert "0 of 1,000,000 tokens" in html


def test_the_machine_is_an_admins(as_alice, as_bob):
    assert "This machine" in shown(as_alice)
    assert "This machine" not in shown(as_bob)


def test_clear_text_over_a_network_is_said_to_admins(as_alice, as_bob, settings):
    assert "No TLS." not in shown(as_alice)
    elsewhere = settings.GATEHOUSE.model_copy(update={"address": "0.0.0.0:8080"})
    elsewhere.__dict__.pop("listen", None)  # what was made of the other address
    settings.GATEHOUSE = elsewhere

    assert "No TLS." in shown(as_alice)
    assert "No TLS." not in shown(as_bob)


def test_a_fresh_server_says_how_far_it_is(as_alice, as_bob, monkeypatch):
    """R-29: the steps of `GET /api/setup`, live while they last."""
    steps = [
        Step("b", "Backend vllm-cpu", "done", 100),
        Step("m", "Model m", "now", 64, "reading <tensors>"),
        Step("m/engine", "Engine of m", "waiting"),
    ]
    monkeypatch.setattr("chat.ui.home_pages.setup_steps", lambda: steps)

    html = shown(as_alice)

    assert "1 of 3 done" in html
    assert 'value="64"' in html
    assert "reading &lt;tensors&gt;" in html
    assert 'data-poll="/app/setup"' in shown(as_bob, "/app/setup")
    assert "While you wait" in html
    assert "While you wait" not in shown(as_bob)
    steps[1:] = []
    assert "data-poll" not in shown(as_bob, "/app/setup")
    assert "Setting up" not in shown(as_bob)


def test_a_page_of_admins_sends_a_user_home_with_a_notice(as_bob):
    """R-24."""
    answer = as_bob.get("/app/system", accept="text/html")
    assert answer.headers["location"] == "/app?notice=admins_only"
    assert "That page is for administrators." in shown(as_bob, answer.headers["location"])


def test_home_makes_a_fixed_number_of_queries(as_alice, alice, django_assert_num_queries):
    """Whatever there is: the same number for much data as for little."""
    for i in range(3):
        install(f"m{i}")
    conversation(alice, "hi", title="one")
    shown(as_alice)
    with django_assert_num_queries(N_QUERIES):
        shown(as_alice)
    for i in range(3, 30):
        install(f"m{i}")
        conversation(alice, "hi", title=f"chat {i}")
        as_alice.post("/api/auth/api-keys", {"name": f"key {i}"})
        Operation.objects.create(
            kind="model",
            action="install",
            target=f"o{i}",
            state="running",
            started_at=timezone.now(),
        )
    with django_assert_num_queries(N_QUERIES):
        shown(as_alice)


# --- the API page ------------------------------------------------------------------------------


def test_samples_carry_the_callers_own_address(as_bob):
    """R-37: the host that was asked, where none is configured."""
    for path in ("/app", "/app/api"):
        html = shown(as_bob, path, host="127.0.0.1")
        assert "curl http://127.0.0.1/v1/chat/completions" in html
    assert shown(as_bob, "/app/api").count("hljs-string") > 5


def test_a_new_key_stands_in_every_sample_this_once(as_bob):
    answer = form(as_bob, "/app/keys", "/app/api", name="notebook", expires="", at="api")
    html = answer.content.decode()
    secret = re.search(r'value="(lai-[0-9a-f]{64})"', html)[1]

    assert "<h1>API</h1>" in html
    assert html.count(f">{secret}</span>") == 3
    assert Api(key=secret).get("/api/auth/me").status_code == 200
    again = shown(as_bob, "/app/api")
    assert secret not in again
    assert f"{secret[:12]}…" in again


def test_a_key_without_a_name_is_asked_for_one_in_place(as_bob):
    answer = form(as_bob, "/app/keys", "/app/api", name=" ", expires="90d", at="api")
    assert answer.status_code == 422
    assert b'<option value="90d" selected>' in answer.content
    assert b"Enter a name." in answer.content
    assert b'<details class="more" open>' in answer.content


def test_the_form_for_a_key_says_when_it_ends_by_default(as_bob, settings):
    """The same choices as on the account's page: not `Never` where the server gives keys an end."""
    assert ">Never</option>" in shown(as_bob)
    changed = {"default_api_key_expiry": "240h"}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=changed)

    html = shown(as_bob)

    assert "In 10 days (this server&#x27;s default)" in html
    assert ">Never</option>" not in html


def test_only_endpoints_that_one_may_use_are_listed(as_bob, bob):
    assert "/v1/embeddings" in shown(as_bob, "/app/api")
    bob.permissions = {"embeddings": False}
    bob.save()
    html = shown(as_bob, "/app/api")
    assert "/v1/embeddings" not in html
    assert "/v1/chat/completions</th>" in html


def test_hostile_names_of_keys_and_models_are_text(as_bob, bob):
    install(HOSTILE)
    as_bob.post("/api/auth/api-keys", {"name": HOSTILE})
    for path in ("/app", "/app/api"):
        assert HOSTILE not in shown(as_bob, path)


def test_who_signed_in_by_a_key_makes_none(bob, make_key):
    api = Api()
    form(api, "/login?key", token=make_key(bob)[1])
    html = shown(api)
    assert "Your keys" not in html
    assert form(api, "/app/keys", "/app", name="x", expires="").status_code == 403


@pytest.mark.parametrize("path", ["/app", "/app/api", "/app/setup", "/app/home/models"])
def test_nobody_sees_these_without_signing_in(anonymous, alice, path):
    answer = anonymous.get(path, accept="text/html")
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/login?next=")
