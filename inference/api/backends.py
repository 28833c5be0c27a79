"""The gallery of backends over HTTP: what there is, what is installed, and asking for a change."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import AccountView
from accounts.audit import Subject, record
from core.declared import declares
from core.drf import read_json
from core.envelopes import Family
from core.errors import InvalidRequestError
from inference import asked_backends, backend_galleries, backend_work
from inference.api import answers
from inference.api import backend_answers as shapes
from inference.api.backend_rows import described, installed, row, search
from inference.api.gallery_requests import (
    base_url,
    caller,
    element_id,
    gallery_query,
    gallery_states,
    page_facts,
    readable,
    under_way,
)
from inference.api.operations import JobsView
from inference.backend_galleries import every, shelves
from inference.backends_here import installed_backends
from inference.hardware import has_nvidia_gpu
from inference.models import Operation
from inference.operations import Kind

MAX_URI_CHARS = 2000


class BackendsView(AccountView):
    """`GET /api/backends`: two queries, however many there are."""

    @declares(
        "What could be installed as a backend",
        query=answers.GalleryQuery,
        answer=shapes.BackendPage,
    )
    def get(self, request: Request) -> Response:
        query = gallery_query(request)
        read = readable(shelves())
        offers = every(read)
        here = installed_backends()
        going = under_way(Kind.BACKEND)
        page = search(offers, query, here)
        jobs = {each.id: going[each.recipe.name] for each in offers if each.recipe.name in going}
        body: dict[str, Any] = {
            "backends": [row(each, here, going) for each in page.found],
            "allTags": sorted({tag for each in offers for tag in each.recipe.tags}),
            "processingBackends": {key: str(job.pk) for key, job in jobs.items()},
            "taskTypes": {key: job.task_type for key, job in jobs.items()},
            "availableBackends": page.n_found,
            "installedBackends": len(here),
            "systemCapability": "nvidia" if has_nvidia_gpu() else "default",
            "preferDevelopmentBackends": False,
        }
        return Response(body | page_facts(page, read))


class InstallView(AccountView):
    """`POST /api/backends/install/:id`: an unknown id is taken too; its job says so."""

    @declares("Install a backend", headers=answers.Once, answer=answers.Started, errors=(403, 409))
    def post(self, request: Request, backend_id: str) -> Response:
        job = _install(request, backend_id)
        return Response({"jobID": str(job.pk), "message": "Backend installation started"})


class DeleteView(AccountView):
    """`POST /api/backends/delete/:id`; 409 while engines of it run."""

    @declares("Delete a backend", headers=answers.Once, answer=answers.Started, errors=(409,))
    def post(self, request: Request, backend_id: str) -> Response:
        job = _delete(request, backend_id)
        return Response({"jobID": str(job.pk), "message": "Backend deletion started"})


class ExternalView(AccountView):
    """`POST /api/backends/install-external` `{uri, name, alias}` (R-20)."""

    @declares(
        "Install a recipe from elsewhere",
        body=shapes.ExternalBackend,
        body_example={"uri": "https://example.org/recipes.yaml", "name": "my-engine"},
        headers=answers.Once,
        answer=answers.Started,
        errors=(403, 409),
    )
    def post(self, request: Request) -> Response:
        given = read_json(request._request)  # noqa: SLF001  # DRF's own name
        uri, name, alias = (_text(given, key) for key in ("uri", "name", "alias"))
        by, key = caller(request), _key(request)
        job = asked_backends.install_from(uri, name, alias, by=by, key=key)
        return Response({"jobID": str(job.pk), "message": "External backend installation started"})


class SystemDeleteView(AccountView):
    """`POST /api/backends/system/delete/:name`: done when it answers."""

    @declares("Delete a backend, and wait for it", answer=answers.Success, errors=(404, 409))
    def post(self, request: Request, name: str) -> Response:
        asked_backends.refuse_while_working(name)
        backend_work.remove(name)
        record("backend_deleted", caller(request), Subject("", name))
        return Response({"success": True, "message": "Backend deleted successfully"})


class UpgradesView(AccountView):
    """`GET /api/backends/upgrades`: from what is known; nobody outside is asked."""

    @declares("Backends of which another version is known", answer=dict[str, shapes.Upgrade])
    def get(self, _request: Request) -> Response:
        return Response(backend_work.upgrades())


class CheckUpgradesView(AccountView):
    """`POST /api/backends/upgrades/check`: the galleries are read anew first."""

    http_method_names = ["post"]

    @declares("Read the galleries of backends anew", answer=dict[str, shapes.Upgrade])
    def post(self, _request: Request) -> Response:
        readable(backend_galleries.look_again())
        return Response(backend_work.upgrades())


class UpgradeView(AccountView):
    """`POST /api/backends/upgrade/:name`: the version that is offered, beside the one that is here."""

    @declares(
        "Upgrade a backend", headers=answers.Once, answer=answers.Started, errors=(403, 404, 409)
    )
    def post(self, request: Request, name: str) -> Response:
        job = asked_backends.upgrade(name, by=caller(request), key=_key(request))
        return Response({"jobID": str(job.pk), "message": "Backend upgrade started"})


class InstalledView(AccountView):
    """`GET /backends`: what is installed, with LocalAI's capitalised keys."""

    family: Family = "openai"

    @declares("What is installed", answer=list[shapes.InstalledBackend])
    def get(self, _request: Request) -> Response:
        return Response([installed(name, each) for name, each in installed_backends().items()])


class AvailableView(AccountView):
    """`GET /backends/available`: every entry, keys without a value left out."""

    family: Family = "openai"

    @declares("Every recipe of the galleries", answer=list[shapes.OfferedBackend])
    def get(self, _request: Request) -> Response:
        read = readable(shelves())
        urls = {each.gallery.name: each.gallery.url for each in read}
        here = installed_backends()
        return Response([described(each, urls, here) for each in every(read)])


class GalleriesView(AccountView):
    """`GET /backends/galleries`, each with what is wrong with it, if anything."""

    family: Family = "openai"

    @declares("The galleries of backends", answer=list[answers.RepositoryState])
    def get(self, _request: Request) -> Response:
        return Response(gallery_states(shelves()))


class ApplyView(AccountView):
    """`POST /backends/apply` `{id}`, the curl way; `force` is taken and means nothing."""

    family: Family = "openai"

    @declares(
        "Install a backend, by curl",
        body=shapes.ApplyBackend,
        body_example={"id": "gatehouse@vllm-cpu"},
        headers=answers.Once,
        answer=shapes.AppliedBackend,
        errors=(403, 409),
    )
    def post(self, request: Request) -> Response:
        given = read_json(request._request)  # noqa: SLF001  # DRF's own name
        if unknown := sorted(set(given) - {"id", "force"}):
            raise InvalidRequestError(f"unknown key {unknown[0][:60]}", param=unknown[0][:60])
        if not isinstance(given.get("force", False), bool):
            raise InvalidRequestError("force has to be true or false", param="force")
        if not (named := _text(given, "id")):
            raise InvalidRequestError("id is required", param="id")
        return _started(request, _install(request, named))


class RemoveView(AccountView):
    """`POST /backends/delete/:name`."""

    family: Family = "openai"

    @declares(
        "Delete a backend, by curl",
        headers=answers.Once,
        answer=shapes.AppliedBackend,
        errors=(409,),
    )
    def post(self, request: Request, name: str) -> Response:
        return _started(request, _delete(request, name))


class BackendJobsView(JobsView):
    """`GET /backends/jobs`: the last operations on backends, by id."""

    kind = Kind.BACKEND


def _install(request: Request, named: str) -> Operation:
    asked_for = element_id(named, "backend")
    return asked_backends.install(asked_for, by=caller(request), key=_key(request))


def _delete(request: Request, named: str) -> Operation:
    asked_for = element_id(named, "backend")
    return asked_backends.delete(asked_for, by=caller(request), key=_key(request))


def _key(request: Request) -> str:
    return request.headers.get("Idempotency-Key", "")


def _text(given: dict[str, Any], key: str) -> str:
    """A text of the body, empty where it is not there. Raises InvalidRequestError."""
    found = given.get(key)
    if found is None:
        return ""
    if not isinstance(found, str) or len(found) > MAX_URI_CHARS or not found.isprintable():
        raise InvalidRequestError(f"{key} has to be a text", param=key)
    return found


def _started(request: Request, job: Operation) -> Response:
    """LocalAI's answer for backends, which has other keys than that for models (R-37)."""
    status = f"{base_url(request)}/backends/jobs/{job.pk}"
    return Response({"id": str(job.pk), "status_url": status})
