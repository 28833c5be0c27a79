"""What admins see of the machine and ask of its engines (surface, section 2; R-14, R-29).

Refusals are in the envelope of the inference endpoints (surface, section 0).
"""

import asyncio
import socket
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone
from prometheus_client import Metric
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.answers import Message
from accounts.api.shapes import timestamp
from accounts.audit import Subject, record
from accounts.runtime import env
from accounts.runtime_settings.in_force import value
from core import metric_files, prefer
from core.declared import declares
from core.drf import read_json, text
from core.envelopes import Family
from core.errors import InvalidRequestError, NotFoundError
from inference import engine_requests
from inference.api import machine_answers as answers
from inference.api.adapter import remote_engines
from inference.api.gallery_requests import caller
from inference.engine_facts import Facts, facts_of, together
from inference.engine_requests import NOT_LOADED
from inference.machine import resources
from inference.models import Engine, EngineState, Model
from inference.recipes import recipes
from inference.remote_engines import RemoteEngine

DEFAULT_WAIT_S = 30.0
MAX_NAME = 255
NO_MODEL = "model query parameter is required"
_BUSY, _READY, _ERROR = 1, 2, -1


class MachineView(APIView):
    """An admin's view of the machine; the gate has let the caller in."""

    family: Family = "openai"


class ResourcesView(MachineView):
    """`GET /api/resources`."""

    @declares("Processors, memory, disks, GPUs", answer=answers.Resources)
    def get(self, _request: Request) -> Response:
        folders = {
            "data": env().data_path,
            "models": env().models_path,
            "backends": env().backends_path,
        }
        found = resources(folders, models=env().models_path)
        watching = {
            "reclaimer_enabled": value("memory_reclaimer_enabled"),
            "reclaimer_threshold": value("memory_reclaimer_threshold"),
            "watchdog_interval": value("watchdog_interval"),
        }
        return Response({**found, **watching})


class SystemView(MachineView):
    """`GET /system`: installed backends, and the models that are loaded."""

    @declares("Installed backends and loaded models", answer=answers.System)
    def get(self, _request: Request) -> Response:
        installed = [n for n, each in recipes().items() if each.is_installed(env().backends_path)]
        loaded = Engine.objects.filter(state__in=[EngineState.READY, EngineState.DRAINING])
        rows = loaded.order_by("model_id").values_list("model_id", "model__backend").distinct()
        models = [{"id": name, "backend": backend} for name, backend in rows]
        return Response({"backends": sorted(installed), "loaded_models": models})


class MonitorView(MachineView):
    """`GET /backend/monitor?model=` (or `{"model"}` as the body): one engine's state and memory."""

    @declares(
        "How one engine stands", query=answers.NamedModel, answer=answers.Monitored, errors=(404,)
    )
    def get(self, request: Request) -> Response:
        engine = engine_requests.loaded_engine(named_model(request))
        loaded = [each for each in engine.model.engines.all() if each.state not in NOT_LOADED]
        facts = together(facts_of(loaded).values())
        if facts is None:  # stopped this moment
            raise NotFoundError(f"backend {engine.model_id} is not currently loaded")
        breakdown = dict(facts.memory.breakdown)
        if facts.memory.gpu:
            breakdown["gpu"] = facts.memory.gpu
        memory = {"total": facts.memory.total + facts.memory.gpu, "breakdown": breakdown}
        state = _monitored_state(engine, facts)
        return Response({"state": state, "memory": memory} if state else {"memory": memory})


def _monitored_state(engine: Engine, facts: Facts) -> int:
    """LocalAI's numbers: 0 not ready yet, 1 busy, 2 ready, -1 error."""
    if engine.state == EngineState.WAITING:
        return _ERROR
    if engine.state == EngineState.STARTING:
        return 0
    return _BUSY if facts.running or facts.waiting else _READY


class ShutdownView(MachineView):
    """`POST /backend/shutdown {"model"}`: 200 once it has stopped, 202 while its callers are served."""

    http_method_names = ["post"]

    @declares(
        "Stop an engine",
        query=answers.NamedModel,
        headers=answers.Prefer,
        body=answers.NamedModel,
        body_example={"model": "smollm2-135m-instruct"},
        answer=Message,
        more={202: Message},
        errors=(404,),
    )
    def post(self, request: Request) -> Response:
        name = named_model(request)
        outcome = engine_requests.unload(name, wait_s=wait_s(request))
        record("model_unloaded", caller(request), Subject("", name))
        if outcome == "done":
            return Response({"message": "model stopped"})
        return Response(
            {"message": "the model stops as soon as its callers are served"}, status=202
        )


class LoadView(MachineView):
    """`POST /backend/load {"model"}`: 200 once it serves, 202 while it loads."""

    http_method_names = ["post"]

    @declares(
        "Load a model",
        query=answers.NamedModel,
        headers=answers.Prefer,
        body=answers.NamedModel,
        body_example={"model": "smollm2-135m-instruct"},
        answer=answers.Loaded,
        more={202: answers.Loaded},
        errors=(404, 409),
    )
    def post(self, request: Request) -> Response:
        name = named_model(request)
        outcome = engine_requests.load(name, wait_s=wait_s(request))
        record("model_loaded", caller(request), Subject("", name))
        if outcome == "done":
            return Response({"loaded": [name], "message": "model loaded"})
        return Response({"loaded": [], "message": "the model is loading"}, status=202)


def named_model(request: Request) -> str:
    """The model that the caller means, from the query, else from the body.

    Raises InvalidRequestError where there is none.
    """
    name = request.query_params.get("model", "")
    if not name and request._request.body:  # noqa: SLF001  # DRF's own name
        name = text(read_json(request._request), "model", limit=MAX_NAME)  # noqa: SLF001
    if not name or len(name) > MAX_NAME or "\0" in name:
        raise InvalidRequestError(NO_MODEL, param="model")
    return name


def wait_s(request: Request) -> float:
    """How long the caller waits for the end: `Prefer: wait=N`, as with inference (R-34)."""
    return prefer.wait_s(request.headers.get("prefer", ""), default=DEFAULT_WAIT_S)


class EnginesView(MachineView):
    """`GET /api/engines` (R-29): every model with its engine, as of this moment.

    A remote engine tells whether it serves; what else it does is its own machine's business.
    """

    @declares("Every model with its engine", answer=answers.Engines)
    def get(self, _request: Request) -> Response:
        rows = list(Model.objects.prefetch_related("engines").order_by("name"))
        facts = facts_of(engine for row in rows for engine in row.engines.all())
        in_line = _in_line()
        engines = [_listed(row, facts, in_line.get(row.name, 0)) for row in rows]
        engines += asyncio.run(_remote_engines(in_line)) if env().engine_items else []
        return Response({"engines": engines})


def _listed(row: Model, known: dict[int, Facts], in_line: int) -> dict[str, Any]:
    """One model: its engines together, and each of them where there are several."""
    engine, each = row.engine, list(row.engines.all())
    facts = together(known[one.pk] for one in each)
    memory = facts.memory if facts else None
    waiting = in_line + (facts.waiting or 0) if facts else in_line
    serves = engine is not None and engine.state in {EngineState.READY, EngineState.DRAINING}
    return {
        "model": row.name,
        "backend": row.backend,
        "state": engine.state if engine else EngineState.STOPPED.value,
        "message": engine.message if engine else "",
        "host": socket.gethostname(),
        "running": facts.running if facts else None,
        "waiting": waiting,
        "tokens_per_second": facts.tokens_per_s if facts else None,
        "kv_cache_usage": facts.kv_use if facts else None,
        "memory": {
            "total": memory.total if memory else 0,
            "gpu": memory.gpu if memory else 0,
            "breakdown": memory.breakdown if memory else {},
        },
        "uptime_seconds": _age(engine.ready_at) if engine and serves else None,
        "restarts": engine.tries if engine else 0,
        "started_at": timestamp(engine.started_at) if engine else None,
        "next_try_at": timestamp(engine.next_try_at) if engine else None,
        "replicas": [_replica(one, known[one.pk]) for one in each] if len(each) > 1 else [],
    }


def _replica(engine: Engine, facts: Facts) -> dict[str, Any]:
    return {
        "replica": engine.replica,
        "state": engine.state,
        "message": engine.message,
        "running": facts.running,
        "waiting": facts.waiting,
        "memory": facts.memory.total + facts.memory.gpu,
        "restarts": engine.tries,
    }


async def _remote_engines(in_line: dict[str, int]) -> list[dict[str, Any]]:
    """The models of LOCALAI_ENGINES; all are asked at the same time, 5 s at most."""
    remote = remote_engines()
    try:
        await asyncio.gather(*(engine.ask() for engine in remote))
        return [
            {
                "model": target.name,
                "backend": "remote",
                "state": "ready" if target.state == "ready" else "waiting",
                "message": target.message,
                "host": _host_of(engine),
                **dict.fromkeys(("running", "tokens_per_second", "kv_cache_usage")),
                "waiting": in_line.pop(target.name, 0),  # told once of several addresses
                "memory": {"total": 0, "gpu": 0, "breakdown": {}},
                "restarts": 0,
                "replicas": [],
                **dict.fromkeys(("uptime_seconds", "started_at", "next_try_at")),
            }
            for engine in remote
            for target in engine.targets
        ]
    finally:
        for engine in remote:
            engine.close()


def _host_of(engine: RemoteEngine) -> str:
    """Without what an address may hold besides, such as a password."""
    parts = urlsplit(engine.url)
    name = parts.hostname or socket.gethostname()
    return f"{name}:{parts.port}" if parts.port else name


def _age(moment: datetime | None) -> int | None:
    return None if moment is None else max(0, int((timezone.now() - moment).total_seconds()))


def _in_line() -> dict[str, int]:
    """How many requests wait for a place at each engine, over all web workers of this machine."""
    counted: list[Metric] = metric_files.collect(env().data_path / "metrics")
    return {
        sample.labels["engine"]: int(sample.value)
        for family in counted
        if family.name == "gatehouse_waiting_requests"
        for sample in family.samples
    }
