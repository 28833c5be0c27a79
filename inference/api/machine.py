"""What admins see of the machine and ask of its engines (surface, section 2; R-14, R-29).

Refusals are in the envelope of the inference endpoints (surface, section 0).
"""

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.answers import Message
from accounts.audit import Subject, record
from accounts.runtime import env
from accounts.runtime_settings.in_force import value
from core import prefer
from core.declared import declares
from core.drf import read_json, text
from core.envelopes import Family
from core.errors import InvalidRequestError, NotFoundError
from inference import engine_requests
from inference.api import machine_answers as answers
from inference.api.gallery_requests import caller
from inference.engine_facts import Facts, facts_of, together
from inference.engine_listing import engines_now, resources_now
from inference.engine_requests import NOT_LOADED
from inference.models import Engine, EngineState
from inference.recipes import recipes

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
        found = resources_now()
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
        return Response({"engines": engines_now()})
