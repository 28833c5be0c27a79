"""The gallery of models over HTTP: what there is to install, and asking for it."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import AccountView
from accounts.runtime import env
from core.declared import declares
from core.drf import read_json
from core.envelopes import Family
from core.sizes import shown_size
from inference import operations
from inference.api import answers
from inference.api.gallery_requests import (
    ask_for,
    asker,
    base_url,
    element_id,
    gallery_query,
    gallery_states,
    page_facts,
    readable,
    under_way,
)
from inference.gallery import Found, every, shelves
from inference.gallery_listing import fits, memory_need, search
from inference.gallery_schema import Entry
from inference.models import Model, Operation
from inference.pictures import icon_here, pictures
from inference.recipes import recipes
from inference.shelves import Shelf
from inference.wanted_models import wish_for_deletion, wish_for_id, wish_in


class GalleryView(AccountView):
    """`GET /api/models`: three queries, whatever the gallery's size."""

    @declares("What could be installed", query=answers.GalleryQuery, answer=answers.GalleryPage)
    def get(self, request: Request) -> Response:
        query = gallery_query(request)
        read = _readable()
        entries = every(read)
        here = dict(Model.objects.values_list("name", "size_bytes"))
        going = under_way(operations.Kind.MODEL)
        page = search(entries, query, installed=set(here))
        known, base = pictures().names(), base_url(request)
        ids = {each.id: going[each.entry.name] for each in entries if each.entry.name in going}
        body: dict[str, Any] = {
            "models": [_row(each, here, going) | _icons(each, known, base) for each in page.found],
            "allTags": sorted({tag for each in entries for tag in each.entry.tags}),
            "allBackends": sorted({each.entry.recipe_name for each in entries}),
            "processingModels": {key: str(job.pk) for key, job in ids.items()},
            "taskTypes": {key: job.task_type for key, job in ids.items()},
            "availableModels": page.n_found,
            "installedModels": len(here),
        }
        return Response(body | page_facts(page, read))


class InstallView(AccountView):
    """`POST /api/models/install/:id`: an unknown id is taken too; its job says so (surface)."""

    @declares("Install a model", headers=answers.Once, answer=answers.Started, errors=(409,))
    def post(self, request: Request, model_id: str) -> Response:
        wish = wish_for_id(element_id(model_id), asker(request))
        job = ask_for(wish, request)
        return Response({"jobID": str(job.pk), "message": "Installation started"})


class DeleteView(AccountView):
    """`POST /api/models/delete/:id`."""

    @declares("Delete a model", headers=answers.Once, answer=answers.Started, errors=(409,))
    def post(self, request: Request, model_id: str) -> Response:
        wish = wish_for_deletion(element_id(model_id), asker(request))
        job = ask_for(wish, request)
        return Response({"jobID": str(job.pk), "message": "Deletion started"})


class ApplyView(AccountView):
    """`POST /models/apply`, the curl way."""

    family: Family = "openai"

    @declares(
        "Install a model, by curl",
        body=answers.Apply,
        body_example={"id": "gatehouse@all-minilm-l6-v2"},
        headers=answers.Once,
        answer=answers.Applied,
        errors=(404, 409),
    )
    def post(self, request: Request) -> Response:
        wish = wish_in(read_json(request._request), asker(request))  # noqa: SLF001
        job = ask_for(wish, request)
        return Response(started(request, job))


class RemoveView(AccountView):
    """`POST /models/delete/:name`."""

    family: Family = "openai"

    @declares(
        "Delete a model, by curl", headers=answers.Once, answer=answers.Applied, errors=(409,)
    )
    def post(self, request: Request, model_id: str) -> Response:
        wish = wish_for_deletion(element_id(model_id), asker(request))
        job = ask_for(wish, request)
        return Response(started(request, job))


class AvailableView(AccountView):
    """`GET /models/available`: every entry, keys without a value left out."""

    family: Family = "openai"

    @declares("Every entry of the galleries", answer=list[answers.Available])
    def get(self, request: Request) -> Response:
        read = _readable()
        urls = {each.gallery.name: each.gallery.url for each in read}
        here = set(Model.objects.values_list("name", flat=True))
        known, base = pictures().names(), base_url(request)
        rows = []
        for each in every(read):
            row = _metadata(each, urls, here) | _icons(each, known, base)
            rows.append({key: value for key, value in row.items() if value})
        return Response(rows)


class GalleriesView(AccountView):
    """`GET /models/galleries`, each with what is wrong with it, if anything."""

    family: Family = "openai"

    @declares("The galleries", answer=list[answers.RepositoryState])
    def get(self, _request: Request) -> Response:
        return Response(gallery_states(shelves()))


def _readable() -> list[Shelf[Entry]]:
    return readable(shelves())


def started(request: Request, job: Operation) -> dict[str, Any]:
    """LocalAI's answer: the job, and where to ask about it (R-37)."""
    status = f"{base_url(request)}/models/jobs/{job.pk}"
    return {"uuid": str(job.pk), "status": status}


def _row(each: Found, here: dict[str, int | None], going: dict[str, Operation]) -> dict[str, Any]:
    entry = each.entry
    job = going.get(entry.name)
    row: dict[str, Any] = {
        "id": each.id,
        "name": entry.name,
        "description": entry.description,
        "license": entry.license,
        "urls": entry.urls,
        "tags": entry.tags,
        "gallery": each.gallery,
        "installed": entry.name in here,
        "processing": job is not None,
        "jobID": str(job.pk) if job else "",
        "isDeletion": job is not None and job.is_deletion,
        "trustRemoteCode": False,
        "additionalFiles": _files(each),
        "backend": entry.recipe_name,
        "backendInstalled": _has_backend(entry.recipe_name),
        "capabilities": sorted(entry.capabilities),
        "fits": fits(each),
        "checked": entry.checked.model_dump() if entry.checked else None,
    }
    on_disk = here.get(entry.name)
    if on_disk is not None:
        row["size_on_disk"] = on_disk
        row["size_on_disk_display"] = shown_size(on_disk)
    size = entry.checked.size if entry.checked else None
    if size is not None:
        row["estimated_size_bytes"] = size
        row["estimated_size_display"] = shown_size(size)
        row["estimated_vram_bytes"] = need = memory_need(each)
        row["estimated_vram_display"] = shown_size(need)
    return row


def _files(each: Found) -> list[dict[str, str]]:
    return [
        {"filename": file.filename, "sha256": file.sha256 or "", "uri": file.uri}
        for file in each.entry.files
    ]


def _has_backend(name: str) -> bool:
    recipe = recipes().get(name)
    return recipe is not None and recipe.is_installed(env().backends_path)


def _metadata(each: Found, urls: dict[str, str], here: set[str]) -> dict[str, Any]:
    entry = each.entry
    size = entry.checked.size if entry.checked else None
    return {
        "name": entry.name,
        "description": entry.description,
        "license": entry.license,
        "urls": entry.urls,
        "tags": entry.tags,
        "files": _files(each),
        "size": shown_size(size),
        "gallery": {"url": urls[each.gallery], "name": each.gallery},
        "installed": entry.name in here,
        "backend": entry.recipe_name,
    }


def _icons(each: Found, known: set[str], base: str) -> dict[str, str]:
    """`icon` from us, where it is here; `icon_source` is what the gallery says (R-38)."""
    icon = each.entry.icon
    return {"icon": icon_here(icon, known=known, base=base), "icon_source": icon}
