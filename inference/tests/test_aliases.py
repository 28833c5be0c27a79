"""Other names of a model on the inference path, and models that are switched off."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import orjson
import pytest

from accounts.gate import admit_model
from core.envelopes import envelope
from core.errors import ModelDisabledError, ModelNotAllowedError, QuotaExceededError
from core.principal import LEGACY
from inference.capabilities import list_capabilities
from inference.endpoints import ENDPOINTS
from inference.engine_table import EngineTable, Target, names_of
from inference.handlers import infer, list_models
from inference.remote_engines import all_targets
from inference.tests.rig import BOB, BODIES, CHAT, rule, statuses

pytestmark = pytest.mark.asyncio
ALIASED = {**CHAT, "model": "gpt-4o"}


@pytest.fixture
def aliased(make_limited):
    def rig(*rules, **fields):
        return make_aliased(make_limited(*rules), **fields)

    return rig


def make_aliased(rig, **fields):
    target = rig.runtime.engines.targets["m"]
    rig.runtime.engines.replace([replace(target, aliases=("gpt-4o", "chat/best"), **fields)])
    return rig


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("family", ["chat-completions", "completions", "messages", "responses"])
async def test_the_answer_says_the_name_that_the_caller_used(aliased, family, stream):
    rig = aliased()
    body = {**BODIES[family], "model": "gpt-4o", "stream": stream}

    status, answer = await rig.ask(family, body)

    assert status == 200
    assert b'"gpt-4o"' in answer
    assert b'"m"' not in answer


async def test_an_alias_may_stand_in_the_query_and_in_the_path(aliased):
    rig = aliased()
    assert (await rig.ask("chat-completions", {**CHAT, "model": "chat/best"}))[0] == 200
    assert (await rig.ask("chat-completions", ALIASED, query=b"model=gpt-4o"))[0] == 200


async def test_w09_the_allow_list_judges_the_model_behind_an_alias(aliased):
    rig = aliased()
    rig.principal = replace(BOB, models=frozenset({"gpt-4o"}))  # the alias alone opens nothing
    with pytest.raises(ModelNotAllowedError) as refused:
        await rig.ask("chat-completions", ALIASED)
    assert "access denied to model: gpt-4o" in refused.value.message

    rig.principal = replace(BOB, models=frozenset({"m"}))
    assert (await rig.ask("chat-completions", ALIASED))[0] == 200


@pytest.mark.parametrize("place", ["path", "query", "body"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_w09_no_route_lets_an_alias_past_the_allow_list(aliased, endpoint, place):
    rig = aliased()
    rig.principal = replace(BOB, models=frozenset({"gpt-4o", "other"}))
    call, answer = rig.call(endpoint, {"model": "gpt-4o"} if place == "body" else {})
    call.kwargs = {"model": "gpt-4o"} if place == "path" else {}
    call.query = b"model=gpt-4o" if place == "query" else b""

    with pytest.raises(ModelNotAllowedError):
        await infer(call, answer, rig.runtime, ENDPOINTS[endpoint])


async def test_w09_a_quota_of_a_model_counts_what_comes_by_its_alias(aliased):
    rig = aliased(rule(model="m", max_requests=2))

    assert await statuses(rig, 1, body=ALIASED) == [200]
    assert await statuses(rig, 1) == [200]
    with pytest.raises(QuotaExceededError):
        await rig.ask("chat-completions", ALIASED)


async def test_w09_the_books_hold_the_model_that_served(aliased):
    rig = aliased()
    await rig.ask("chat-completions", ALIASED)
    rig.principal = replace(BOB, models=frozenset())
    with pytest.raises(ModelNotAllowedError):
        await rig.ask("chat-completions", ALIASED)

    assert [event["m"] for event in rig.events()] == ["m", "m"]


async def test_v1_models_lists_aliases_with_what_they_stand_for(aliased):
    rig = aliased()
    listed = list_models(rig.runtime.engines, BOB)["data"]

    assert [(each["id"], each.get("root")) for each in listed] == [
        ("m", None),
        ("gpt-4o", "m"),
        ("chat/best", "m"),
    ]
    assert (
        list_models(rig.runtime.engines, replace(BOB, models=frozenset({"gpt-4o"})))["data"] == []
    )


async def test_a_models_own_name_comes_before_anybodys_alias():
    table = EngineTable()
    table.replace([Target("a", "a", "", "ready", aliases=("b",)), Target("b", "b", "", "ready")])

    assert table.find("b", "").name == table.own_name("b") == "b"


async def test_an_alias_here_hides_a_remote_model_of_that_name():
    local = [Target("a", "a", "", "ready", aliases=("b",))]
    served = [Target(name, name, "", "ready", remote=True) for name in ("a", "b", "c")]
    remote = [SimpleNamespace(targets=served)]

    found = all_targets(remote, known=names_of(local))

    assert [target.name for target in found] == ["c"]


@pytest.mark.parametrize("name", ["m", "gpt-4o"])
@pytest.mark.parametrize("family", ["chat-completions", "messages", "responses"])
async def test_a_disabled_model_is_403_model_disabled(aliased, family, name):
    """Disabled model: 403 in the envelope of every family."""
    rig = aliased(disabled=True)
    with pytest.raises(ModelDisabledError) as refused:
        await rig.ask(family, {**BODIES[family], "model": name})

    assert refused.value.http_status == 403
    assert envelope(refused.value, "openai")["error"]["type"] == "model_disabled"
    for kind in ("openai", "anthropic", "responses"):
        assert envelope(refused.value, kind)["error"]["reason"] == "model_disabled"
    assert rig.wanted == []  # nobody loads it


async def test_a_disabled_model_is_nobodys_default(aliased):
    rig = aliased(disabled=True, is_default=True)
    other = Target("n", "n", "", "ready", frozenset({"chat"}))
    rig.runtime.engines.replace([*rig.runtime.engines.targets.values(), other])

    assert rig.runtime.engines.find(None, "chat").name == "n"


async def test_whoever_may_not_use_a_model_does_not_learn_that_it_is_disabled(aliased):
    rig = aliased(disabled=True)
    rig.principal = replace(BOB, models=frozenset())
    with pytest.raises(ModelNotAllowedError):
        await rig.ask("chat-completions", CHAT)


async def test_admins_still_see_what_is_disabled_or_pinned(aliased):
    """GET /api/models/capabilities: disabled, pinned and aliases."""
    rig = aliased(disabled=True, pinned=True)

    (row,) = list_capabilities(rig.runtime.engines, LEGACY)["data"]

    assert (row["id"], row["disabled"], row["pinned"]) == ("m", True, True)
    assert row["aliases"] == ["gpt-4o", "chat/best"]
    assert list_capabilities(rig.runtime.engines, BOB)["data"] == []
    assert list_models(rig.runtime.engines, LEGACY)["data"] == []


async def test_a_refusal_shows_the_callers_own_word():
    with pytest.raises(ModelNotAllowedError) as refused:
        admit_model(replace(BOB, models=frozenset()), "secret-name", called="x" * 200)
    assert "secret-name" not in refused.value.message
    assert orjson.dumps(envelope(refused.value, "openai"))


async def test_who_waits_for_a_model_that_is_switched_off_is_told_so_and_does_not_ask_for_it():
    table, asked = EngineTable(), []
    loading = Target("m", "m", "", "loading")
    table.replace([loading])
    waiting = asyncio.ensure_future(table.ready(loading, 30.0, asked.append))
    await asyncio.sleep(0)

    table.replace([replace(loading, state="stopped", disabled=True)])

    with pytest.raises(ModelDisabledError):
        await asyncio.wait_for(waiting, 5)
    assert asked == []
