"""`/app/models/import`: other ways to a model than the galleries, each with its own few fields."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from accounts.audit import actor_of
from accounts.pages import page
from core.errors import GatehouseError, InvalidRequestError
from inference import asked_operations
from inference.gallery_pages.words import plain
from inference.importing import wish_for_import, wish_for_uri
from inference.model_configuration import ConfigurationFaultError, document_of
from inference.operations import Wish
from inference.recipes import recipes
from inference.wanted_models import wish_in

Typed = dict[str, str]


@dataclass(frozen=True, slots=True)
class Tab:
    """A way in, as a link."""

    label: str | Promise
    href: str
    current: bool
    count: int = 0


WAYS: dict[str, str | Promise] = {
    "hub": gettext_lazy("Hugging Face"),
    "web": gettext_lazy("Web address"),
    "pypi": gettext_lazy("PyPI package"),
    "folder": gettext_lazy("Local folder"),
    "yaml": gettext_lazy("Configuration"),
}
# Which field of the form a refusal of the service means.
_FIELDS = {
    "hub": {"uri": "repository", "url": "repository", "files": "repository"},
    "web": {"uri": "address", "url": "address", "files": "address", "source": "address"},
    "pypi": {"url": "package", "files": "package"},
    "folder": {"url": "folder", "uri": "folder", "source": "folder", "files": "folder"},
    "yaml": {},
}


@page
@require_http_methods(["GET", "POST"])
def import_model(request: HttpRequest) -> HttpResponse:
    given = request.POST if request.method == "POST" else request.GET
    way = given.get("way", "hub")
    way = way if way in WAYS else "hub"
    typed = {key: str(value) for key, value in given.items()}
    if request.method == "GET":
        return _shown(request, way, typed)
    by = actor_of(request)
    try:
        wish = _wish(way, {key: value.strip() for key, value in typed.items()}, by.name)
        asked_operations.start(wish, key="", by=by)
    except GatehouseError as exc:
        return _shown(request, way, typed, exc)
    messages.success(request, _("%(name)s is being installed.") % {"name": wish.target})
    return HttpResponseRedirect(reverse("models-page"))


def _wish(way: str, typed: Typed, asked_by: str) -> Wish:
    """Raises InvalidRequestError that names the field, or what the services raise."""
    ways = {"hub": _of_hub, "web": _of_web, "pypi": _of_pypi, "folder": _of_folder}
    if way == "yaml":
        return _of_yaml(typed.get("text", ""), asked_by)
    return ways[way](typed, asked_by)


def _chosen(typed: Typed) -> Typed:
    return {key: typed[key] for key in ("name", "backend") if typed.get(key)}


def _of_hub(typed: Typed, asked_by: str) -> Wish:
    repository = typed.get("repository", "").removeprefix("https://huggingface.co/").strip("/")
    if not repository:
        raise InvalidRequestError(_("Enter an id such as Qwen/Qwen3-0.6B."), param="repository")
    revision = f"@{typed['revision']}" if typed.get("revision") else ""
    return wish_in({"url": f"hf:{repository}{revision}", **_chosen(typed)}, asked_by)


def _of_web(typed: Typed, asked_by: str) -> Wish:
    address, sha256 = typed.get("address", ""), typed.get("sha256", "")
    if not address.startswith(("https://", "http://")):
        raise InvalidRequestError(_("Enter an address that begins with https://."), param="address")
    if not sha256:
        return wish_for_uri({"uri": address, "preferences": _chosen(typed)}, asked_by)
    filename = address.partition("?")[0].rpartition("/")[2] or "model"
    return _of_file(filename, address, typed, asked_by)


def _of_pypi(typed: Typed, asked_by: str) -> Wish:
    uri = f"pypi:{typed.get('package', '')}#{typed.get('member', '')}"
    return _of_file(".", uri, typed, asked_by)


def _of_file(filename: str, uri: str, typed: Typed, asked_by: str) -> Wish:
    file = {"filename": filename, "uri": uri, "sha256": typed.get("sha256") or None}
    if not typed.get("name"):
        raise InvalidRequestError(_("Enter the name it is to have here."), param="name")
    return wish_in({"files": [file], **_chosen(typed)}, asked_by)


def _of_folder(typed: Typed, asked_by: str) -> Wish:
    """A folder below the models path: taken over where it has the model's name, else copied."""
    folder = typed.get("folder", "").strip("/")
    if not folder:
        raise InvalidRequestError(_("Enter the name of a folder."), param="folder")
    name = typed.get("name") or folder
    if name == folder:
        return wish_for_import({"name": name, **_chosen(typed)}, None, asked_by)
    return wish_in({"url": f"file:{folder}", **_chosen(typed), "name": name}, asked_by)


def _of_yaml(text: str, asked_by: str) -> Wish:
    try:
        document = document_of(text.replace("\r\n", "\n"))
    except ConfigurationFaultError as exc:
        raise InvalidRequestError(str(exc), param="text") from exc
    return wish_for_import(document.data, document, asked_by)


def _shown(
    request: HttpRequest, way: str, typed: Typed, error: GatehouseError | None = None
) -> HttpResponse:
    shown: dict[str, Any] = {
        "way": way,
        "typed": typed,
        "tabs": [Tab(words, f"?way={key}", key == way) for key, words in WAYS.items()],
        "backends": [("", _("The one that fits")), *((name, name) for name in sorted(recipes()))],
    }
    if error is not None:
        param = error.param or ""
        at = "text" if way == "yaml" else _FIELDS[way].get(param, param)
        if not at and way in {"web", "pypi"} and "sha256" in error.message:
            at = "sha256"
        fields = {"name", "backend", "repository", "revision", "address", "sha256", "package"}
        shown["wrong"] = at if at in fields | {"member", "folder", "text"} else "form"
        shown["words"] = " ".join(plain(error)).strip()
    return render(
        request, "inference/model_import.html", shown, status=422 if error is not None else 200
    )
