"""A model's configuration over HTTP: read, changed, taken from files, imported (R-15, R-17, R-19)."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import AccountView
from core import prefer
from core.declared import declared_as
from core.drf import read_body, read_json
from core.envelopes import Family
from core.errors import InvalidRequestError
from core.strict_yaml import Document
from inference import configuring, engine_requests, model_configuration
from inference.api import configuration_shapes as shapes
from inference.api.gallery import started
from inference.api.gallery_requests import ask_for, asker, caller
from inference.configuring import Build, Changed
from inference.gallery import local_name
from inference.importing import wish_for_import, wish_for_uri
from inference.model_configuration import (
    ConfigurationFaultError,
    as_data,
    as_yaml,
    document_of,
    of_row,
)
from inference.models import ModelAlias

WANTS = "Content-Type: application/yaml or application/json"
STATES = {"enable": True, "disable": False}
PINS = {"pin": True, "unpin": False}
ENGINE = {
    "unchanged": "",
    "restarting": "; its engine starts anew once its callers are served",
    "unloading": "; its engine stops once its callers are served",
    "next load": "; it counts at the next load",
}


class ConfigJsonView(AccountView):
    """`GET` and `PATCH /api/models/config-json/:name`: the configuration as JSON.

    PATCH is a merge (RFC 7386): what is named is set, null goes back to the default, `options` one by
    one.
    """

    @declared_as(shapes.READ)
    def get(self, _request: Request, model: str) -> Response:
        return Response(as_data(of_row(configuring.find(model))))

    @declared_as(shapes.PATCH)
    def patch(self, request: Request, model: str) -> Response:
        given = read_json(request._request)  # noqa: SLF001  # DRF's own name
        done = configuring.change(
            model, lambda before: configuring.merged(before, given), by=caller(request)
        )
        return Response(as_data(done.configuration) | _engine(request, done))


class EditView(AccountView):
    """`GET /api/models/edit/:name`: the same as YAML, for an editor."""

    declared = shapes.EDIT

    def get(self, _request: Request, model: str) -> Response:
        return Response({"config": as_yaml(of_row(configuring.find(model))), "name": model})


class SaveView(AccountView):
    """`POST /api/models/config/:id`: the whole configuration, YAML or JSON."""

    declared = shapes.SAVE

    def post(self, request: Request, model: str) -> Response:
        name = local_name(model)
        done = configuring.change(name, _whole(request), by=caller(request))
        return Response({"message": "Configuration file saved"} | _engine(request, done))


class SaveEditedView(AccountView):
    """`POST /models/edit/:name`: the same, as the editor sends it."""

    declared = shapes.SAVE_EDITED
    family: Family = "openai"

    def post(self, request: Request, model: str) -> Response:
        done = configuring.change(model, _whole(request), by=caller(request))
        return _said(request, model, "is saved", done)


class ToggleStateView(AccountView):
    """`PUT /models/toggle-state/:name/{enable,disable}` (R-15): a disabled model serves nobody."""

    declared = shapes.TOGGLE_STATE
    family: Family = "openai"

    def put(self, request: Request, model: str, action: str) -> Response:
        enabled = _chosen(action, STATES)
        done = configuring.change(
            model, configuring.with_fields(enabled=enabled), by=caller(request)
        )
        return _said(request, model, "is enabled" if enabled else "is disabled", done)


class TogglePinnedView(AccountView):
    """`PUT /models/toggle-pinned/:name/{pin,unpin}` (R-15): a pinned model is never evicted."""

    declared = shapes.TOGGLE_PINNED
    family: Family = "openai"

    def put(self, request: Request, model: str, action: str) -> Response:
        pinned = _chosen(action, PINS)
        done = configuring.change(model, configuring.with_fields(pinned=pinned), by=caller(request))
        return _said(request, model, "is pinned" if pinned else "is not pinned any more", done)


class ReloadView(AccountView):
    """`POST /models/reload`: takes over what was changed in files; nothing where one is faulty."""

    declared = shapes.RELOAD
    family: Family = "openai"

    def post(self, request: Request) -> Response:
        changed = configuring.reload(by=caller(request))
        message = f"{len(changed)} changed" if changed else "nothing had changed"
        return Response({"success": True, "message": message, "changed": changed})


class ImportView(AccountView):
    """`POST /models/import`: a configuration, and the files to fetch or those that are there."""

    declared = shapes.IMPORT
    family: Family = "openai"

    def post(self, request: Request) -> Response:
        data, document = _body(request)
        wish = wish_for_import(data, document, asker(request))
        job = ask_for(wish, request)
        said = {"success": True, "message": f"{wish.target} is being imported"}
        return Response(said | started(request, job))


class ImportUriView(AccountView):
    """`POST /models/import-uri {uri, preferences}` (R-17)."""

    declared = shapes.IMPORT_URI
    family: Family = "openai"

    def post(self, request: Request) -> Response:
        wish = wish_for_uri(read_json(request._request), asker(request))  # noqa: SLF001
        job = ask_for(wish, request)
        return Response(started(request, job))


class AliasesView(AccountView):
    """`GET /api/aliases`: which other names there are, and what they stand for: one query."""

    declared = shapes.ALIASES

    def get(self, _request: Request) -> Response:
        rows = ModelAlias.objects.order_by("name").values_list("name", "model_id")
        return Response({"aliases": [{"name": name, "model": model} for name, model in rows]})


class ConfigMetadataView(AccountView):
    """`GET /api/models/config-metadata`: the schema and the backends' options, for a form."""

    declared = shapes.METADATA

    def get(self, _request: Request) -> Response:
        return Response(model_configuration.described())


def _said(request: Request, model: str, what: str, done: Changed) -> Response:
    """LocalAI's answer to a change."""
    message = f"{model} {what}{ENGINE[done.engine]}"
    said = {"success": True, "message": message, "name": model}
    return Response(said | _engine(request, done))


def _engine(request: Request, done: Changed) -> dict[str, str]:
    """What becomes of the engine, and with `Prefer: wait=N` the state that it has come to."""
    patience_s = prefer.wait_s(request.headers.get("prefer", ""), default=0.0)
    if not patience_s or done.engine not in {"restarting", "unloading"}:
        return {"engine": done.engine}
    state = engine_requests.at_rest(done.configuration.name, wait_s=patience_s)
    return {"engine": done.engine, "engine_state": state}


def _chosen(action: str, actions: dict[str, bool]) -> bool:
    if action not in actions:
        raise InvalidRequestError(f"action must be one of {', '.join(actions)}", param="action")
    return actions[action]


def _whole(request: Request) -> Build:
    """The body in place of what was there: what it leaves out is the default."""
    return configuring.whole(*_body(request))


def _body(request: Request) -> tuple[dict[str, Any], Document | None]:
    """A mapping from a body of YAML, with its lines, or of JSON. Raises InvalidRequestError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        if not read_body(request._request):  # noqa: SLF001
            raise InvalidRequestError("the body is empty")  # it would set everything back
        return read_json(request._request), None  # noqa: SLF001
    if "yaml" not in kind:
        raise InvalidRequestError(f"wants {WANTS}")
    try:
        document = document_of(read_body(request._request).decode())  # noqa: SLF001
    except UnicodeDecodeError as exc:
        raise InvalidRequestError("the body is not UTF-8") from exc
    except ConfigurationFaultError as exc:
        raise InvalidRequestError(str(exc)) from exc
    return document.data, document
