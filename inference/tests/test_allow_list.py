"""The model allow-list (contract 4.3): what is judged is what is served, on every endpoint (W-09)."""

from dataclasses import replace

import pytest

from core.errors import ForbiddenError, GatehouseError, InvalidRequestError
from inference.endpoints import ENDPOINTS
from inference.handlers import infer, list_models, serve_model
from inference.tests.rig import BOB, Rig
from inference.tests.test_handlers import BODIES

ONLY_M = replace(BOB, models=frozenset({"m"}))
NONE = replace(BOB, models=frozenset())


@pytest.fixture
async def rig(tmp_path, stub):
    made = Rig(tmp_path, stub.url, more=("other",))
    yield made
    await made.runtime.finish()


@pytest.mark.parametrize("name", sorted(BODIES))
async def test_w09_another_model_is_refused_on_every_endpoint(rig, name):
    rig.principal = ONLY_M

    assert (await rig.ask(name, {"model": "m", **BODIES[name]}))[0] == 200
    for unlisted in ("other", "nope"):  # that it does not exist is not told either
        with pytest.raises(ForbiddenError, match=f"access denied to model: {unlisted}") as caught:
            await rig.ask(name, {"model": unlisted, **BODIES[name]})
        assert caught.value.reason == "model_not_allowed"


@pytest.mark.parametrize("query", [b"model=m", b"model=other"])
async def test_w09_query_and_body_that_differ_are_refused_before_anything(rig, query):
    rig.principal = ONLY_M
    given = {"m": "other", "other": "m"}[query.partition(b"=")[2].decode()]

    with pytest.raises(InvalidRequestError, match="different models"):
        await rig.ask(
            "chat-completions", {"model": given, **BODIES["chat-completions"]}, query=query
        )


async def test_w09_a_path_that_names_a_model_does_not_hide_the_bodys(rig):
    rig.principal = ONLY_M
    call, answer = rig.call("completions", {"model": "other", "prompt": "x"})
    call.kwargs = {"model": "m"}

    with pytest.raises(GatehouseError, match="different models"):
        await infer(call, answer, rig.runtime, ENDPOINTS["completions"])


async def test_w09_the_default_model_counts_as_if_it_had_been_named(rig):
    rig.principal = NONE
    with pytest.raises(ForbiddenError, match="access denied to model: m"):
        await rig.ask("chat-completions", BODIES["chat-completions"])

    rig.principal = ONLY_M
    assert (await rig.ask("chat-completions", BODIES["chat-completions"]))[0] == 200


async def test_an_empty_list_allows_nothing_and_admins_are_exempt(rig):
    rig.principal = NONE
    with pytest.raises(ForbiddenError):
        await rig.ask("chat-completions", {"model": "m", **BODIES["chat-completions"]})

    rig.principal = replace(NONE, role="admin")
    assert (await rig.ask("chat-completions", {"model": "m", **BODIES["chat-completions"]}))[
        0
    ] == 200


async def test_a_refusal_is_an_error_in_the_books(rig):
    rig.principal = NONE
    with pytest.raises(ForbiddenError):
        await rig.ask("chat-completions", {"model": "m", **BODIES["chat-completions"]})

    (event,) = rig.events()
    assert (event["st"], event["n"], event["c"]) == (403, False, 0)


async def test_the_list_of_models_shows_only_these(rig):
    assert [m["id"] for m in list_models(rig.runtime.engines, ONLY_M)["data"]] == ["m"]
    assert len(list_models(rig.runtime.engines, BOB)["data"]) == 2

    rig.principal = ONLY_M
    call, answer = rig.call("chat-completions", {})
    call.kwargs = {"model": "other"}
    with pytest.raises(ForbiddenError):
        await serve_model(call, answer, rig.runtime)
