"""The work of every inference endpoint, over the call value alone: neither Django nor DRF.

body → model → rules → meter → engine → answer → settlement. Tested without HTTP.
"""

import asyncio
from typing import Any

import orjson

from accounts.gate import admit_model
from core import prefer
from core.call import Answer, Call, ClientGoneError
from core.errors import (
    GatehouseError,
    InvalidRequestError,
    ModelNotFoundError,
    NotFoundError,
)
from core.principal import Principal
from inference import forwarding, relay, token_limits
from inference.endpoints import Endpoint
from inference.engine_table import MAX_MODEL_NAME, EngineTable, Target
from inference.families import RULES
from inference.families.base import Asked, StreamEditor, Tokens
from inference.families.responses import as_input
from inference.forwarding import Exchange
from inference.runtime import Runtime
from inference.upstream import EngineResponse
from usage.metering import Event, JournalFullError
from usage.quotas.limiter import Allowance
from usage.traces.content import BodyKeeper

MAX_STORED_BYTES = 1024 * 1024
CLIENT_GONE = 499


async def infer(call: Call, answer: Answer, runtime: Runtime, endpoint: Endpoint) -> None:
    """Serve one inference request. Every ending settles its event; errors are the caller's to say.

    Raises GatehouseError before the first byte or in the middle of a stream, ClientGoneError, and
    CancelledError when the caller hung up.
    """
    event: Event | None = None
    named = ""
    try:
        raw = await call.read_body(runtime.body_limit)
        if (traces := runtime.meter.traces) is not None and traces.bodies:
            call.content = BodyKeeper(traces, raw)
        data = parse(raw)
        name = model_name(call, data)
        if name is not None:
            named = runtime.engines.own_name(name)
            # before it is looked for: names tell nothing
            admit_model(call.principal, named, called=name)
        target = runtime.engines.find(name, endpoint.capability)
        named = target.name
        if name is None:
            admit_model(call.principal, named)
        asked = Asked(data, name or named, target.served_model, stream=bool(data.get("stream")))
        if endpoint.rules == "responses":
            await load_earlier(call, runtime, asked)
        rules = RULES[endpoint.rules]
        rules.prepare(asked)
        if target.state != "ready":
            target = await _ready(target, call, runtime)
        assert call.principal is not None  # noqa: S101  # the gate came first
        allowance, limiter = None, runtime.limiter
        if limiter is not None and (limits := limiter.rules_for(call.principal, target.name)):
            wanted = token_limits.wanted(endpoint.rules, asked, target.context_length)
            allowance = await limiter.reserve(limits, target.name, wanted)
        if allowance is None:
            event = _opened(call, runtime, asked, target)
        else:
            answer.add_headers(allowance.headers)
            event = _held_to(allowance, call, runtime, endpoint, asked=asked, target=target)
        if call.trace is not None:
            call.trace.serves(named, event)
        await _serve(Exchange(call, answer, endpoint, rules, asked, target, event), runtime)
    except GatehouseError as exc:
        _settle_error(call, runtime, event, exc, named)
        raise
    except Exception:
        if event is not None:
            event.settle(500)
        raise


async def _ready(target: Target, call: Call, runtime: Runtime) -> Target:
    """The target once it serves, for as long as the caller waits. Raises ModelLoadingError."""
    if runtime.refresh_engines is not None:
        await runtime.refresh_engines()  # what the table says may be a moment old
        target = runtime.engines.targets.get(target.name, target)
    if target.state == "stopped":
        runtime.want_model(target.name)
    if target.state != "ready":
        target = await runtime.engines.ready(target, wait_s(call), runtime.want_model)
    return target


def _held_to(
    allowance: Allowance,
    call: Call,
    runtime: Runtime,
    endpoint: Endpoint,
    *,
    asked: Asked,
    target: Target,
) -> Event:
    """The open event of a request that a quota lets through so far; what is not opened is given back."""
    try:
        if allowance.completion is not None:
            token_limits.lower(endpoint.rules, asked, allowance.completion)
        event = _opened(call, runtime, asked, target)
    except BaseException:
        allowance.settle(counted=False, prompt=0, cached=0, completion=0)
        raise
    event.reservation = allowance
    return event


def _opened(call: Call, runtime: Runtime, asked: Asked, target: Target) -> Event:
    """The last that can refuse a request. Raises JournalFullError."""
    event = runtime.meter.admit(
        call,
        endpoint=call.endpoint,
        model=target.name,
        served_model=target.served_model,
        backend="remote" if target.remote else target.backend,
    )
    event.streamed = asked.stream
    return event


def _settle_error(
    call: Call, runtime: Runtime, event: Event | None, exc: GatehouseError, named: str
) -> None:
    """A refusal is in the books too, as an error (S-17); one without room there is not recorded."""
    if event is not None:
        event.settle(exc.http_status, error=exc)
    elif not isinstance(exc, JournalFullError):
        is_known = named in runtime.engines.targets
        runtime.meter.refused(
            call,
            status=exc.http_status,
            model=named if is_known else "",
            unknown=None if is_known or not named else named[:MAX_MODEL_NAME],
            error=exc,
        )


async def _serve(exchange: Exchange, runtime: Runtime) -> None:
    response = None
    editor = exchange.rules.editor(exchange.asked) if exchange.asked.stream else None
    try:
        response = await forwarding.reach(exchange, runtime.engines)
        exchange.event.engine_status = response.status
        if response.status != 200:
            raise await forwarding.refusal(response, exchange)
        if editor is not None and response.content_type.startswith(b"text/event-stream"):
            await relay.stream(exchange, response, editor)
            if exchange.was_cut:
                await _cut(exchange, editor, response)
            _store(exchange, runtime, editor.result)
            exchange.event.settle(200, answer=exchange.asked.extra["last"])
            if runtime.meter.journal.syncs:
                await runtime.meter.journal.on_disk()
            await exchange.answer.end(exchange.asked.extra["last"])
            return
        out, body = await forwarding.plain(exchange, response, runtime.meter)
        _store(exchange, runtime, body)
        exchange.event.settle(200, answer=out)
        if runtime.meter.journal.syncs:
            await runtime.meter.journal.on_disk()
        await exchange.answer.json(200, out, [forwarding.overhead(exchange.call)])
    except asyncio.CancelledError:
        _settle_hang_up(exchange, runtime, editor)
        raise
    finally:
        if response is not None:
            response.close()
        exchange.leave()
        if exchange.call.trace is not None:
            exchange.call.trace.from_engine(response.status if response is not None else 0)


def _settle_hang_up(exchange: Exchange, runtime: Runtime, editor: StreamEditor | None) -> None:
    """What was delivered until the caller left. Without running counts the engine counts the text."""
    event = exchange.event
    if editor is None or editor.text is None or not event.delivered:
        event.settle(CLIENT_GONE)
        return
    runtime.spawn(_count_then_settle(exchange, editor), "count after hang-up")


async def _count_then_settle(exchange: Exchange, editor: StreamEditor) -> None:
    try:
        await _count_text(exchange, editor)
    finally:
        exchange.event.settle(CLIENT_GONE)


async def _count_text(exchange: Exchange, editor: StreamEditor) -> None:
    """Have the engine count what was streamed, for a family without running counts."""
    assert exchange.desk is not None  # noqa: S101  # its stream came from there
    event, model, client = exchange.event, exchange.asked.served_model, exchange.desk.client
    event.estimated = True
    prompt = editor.tokens.prompt if editor.tokens else 0
    if not prompt:
        prompt = await forwarding.count_text(client, model, prompt_of(exchange.asked)) or 0
    text = "".join(editor.text or ())
    body: dict[str, object] = {"prompt": text, "add_special_tokens": False}
    counted = await forwarding.count_text(client, model, body) if text else 0
    event.tokens(prompt, editor.deltas if counted is None else counted)


async def _cut(exchange: Exchange, editor: StreamEditor, response: EngineResponse) -> None:
    """End a stream at its limit with the family's own last words (S-52); the engine stops working on it."""
    response.close()
    exchange.leave()
    if editor.text is not None:
        await _count_text(exchange, editor)
    event = exchange.event
    tokens = Tokens(event.prompt_tokens, event.completion_tokens, event.cached_tokens)
    exchange.asked.extra["last"] += editor.cut(tokens)


def prompt_of(asked: Asked) -> dict[str, object]:
    """The prompt of a request as the engine's token counter takes it: messages, or a text."""
    data = asked.data
    if isinstance(data.get("prompt"), str):
        return {"prompt": data["prompt"]}
    given = data.get("input") or data.get("messages") or []
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    instructions = data.get("instructions") or data.get("system")
    system = [{"role": "system", "content": instructions}] if instructions else []
    return {"messages": [*system, *items]}


def parse(raw: bytes) -> dict[str, Any]:
    """The body as an object. Raises InvalidRequestError with the surface's words."""
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequestError(f"failed parsing request body: {exc.msg}") from exc
    if not isinstance(data, dict):
        raise InvalidRequestError("failed parsing request body: not an object")
    return data


def model_name(call: Call, data: dict[str, Any]) -> str | None:
    """The one model that path, query and body name; InvalidRequestError where they differ (S-14)."""
    body = data.get("model")
    if body is not None and not isinstance(body, str):
        raise InvalidRequestError("model must be a text", param="model")
    if not call.query and not call.kwargs:
        return checked_name(body)
    named = {name for name in (call.kwargs.get("model"), call.query_value("model"), body) if name}
    if len(named) > 1:
        raise InvalidRequestError("path, query and body name different models", param="model")
    return checked_name(named.pop() if named else None)


def checked_name(name: str | None) -> str | None:
    """None where it is empty; ModelNotFoundError where no model can have such a name."""
    if name and (len(name) > MAX_MODEL_NAME or "\0" in name):
        raise ModelNotFoundError("No model has such a name.", param="model")
    return name or None


def wait_s(call: Call) -> float:
    """How long the caller waits for a loading model: `Prefer: wait=N`, at most 120 s (R-34)."""
    return prefer.wait_s(call.headers.get(b"prefer", b"").decode("latin-1"), default=0.0)


async def load_earlier(call: Call, runtime: Runtime, asked: Asked) -> None:
    """Put the conversation before `previous_response_id` in front of the input; owner only."""
    previous = asked.data.pop("previous_response_id", None)
    if previous is None:
        return
    if not isinstance(previous, str) or len(previous) > 100 or "\0" in previous:
        raise InvalidRequestError(
            "previous_response_id must be a text", param="previous_response_id"
        )
    assert call.principal is not None  # noqa: S101  # the gate came first
    stored = await runtime.load_stored(previous, call.principal.user_id)
    if stored is None:
        raise NotFoundError(
            f"previous response not found: {previous}", param="previous_response_id"
        )
    asked.extra["previous_response_id"] = previous
    asked.extra["earlier"] = [*stored["input"], *as_input(stored["response"])]


def _store(exchange: Exchange, runtime: Runtime, body: dict[str, Any] | None) -> None:
    """Keep a response for its owner, by way of the journal; one over 1 MiB is not kept."""
    asked = exchange.asked
    if exchange.endpoint.rules != "responses" or body is None or not asked.extra.get("store"):
        return
    given = asked.extra["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    principal = exchange.call.principal
    assert principal is not None  # noqa: S101
    runtime.meter.keep_response(
        response_id=str(body.get("id", "")),
        user_id=principal.user_id,
        body={"response": body, "input": items},
        limit=MAX_STORED_BYTES,
    )


def list_models(engines: EngineTable, principal: Principal) -> dict[str, Any]:
    """`GET /v1/models`: everything that `principal` may name, loading or not."""
    enabled = [target for target in engines.targets.values() if not target.disabled]
    found = [target for target in enabled if principal.may_use(target.name)]
    names = [(name, target) for target in found for name in (target.name, *target.aliases)]
    return {"object": "list", "data": [model_object(name, target) for name, target in names]}


def model_object(name: str, target: Target) -> dict[str, Any]:
    """One name that callers may use; of an alias, `root` is the model that it stands for."""
    listed = {"id": name, "object": "model", "created": 0, "owned_by": "gatehouse"}
    return listed if name == target.name else {**listed, "root": target.name}


async def serve_models(call: Call, answer: Answer, runtime: Runtime) -> None:
    assert call.principal is not None  # noqa: S101  # the gate came first
    body = orjson.dumps(list_models(runtime.engines, call.principal))
    await answer.json(200, body, [forwarding.overhead(call)])


async def serve_model(call: Call, answer: Answer, runtime: Runtime) -> None:
    name = call.kwargs["model"]
    admit_model(call.principal, runtime.engines.own_name(name), called=name)
    body = orjson.dumps(model_object(name, runtime.engines.find(name, "")))
    await answer.json(200, body, [forwarding.overhead(call)])


__all__ = ["ClientGoneError", "infer", "serve_model", "serve_models"]
