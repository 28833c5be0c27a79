"""What the list of backends says of each, and finding them in it."""

from typing import Any

from accounts.runtime import env
from inference import backend_galleries
from inference.backend_galleries import Offer
from inference.backends_here import Here
from inference.gallery_listing import Page, Query, cut, holds
from inference.hardware import hardware
from inference.models import Operation


def search(offers: list[Offer], query: Query, here: dict[str, Here]) -> Page[Offer]:
    """What the query asks for, in its order; `here` is what is installed."""
    found = [each for each in offers if _meets(each, query)]
    found.sort(key=lambda each: (each.recipe.name, each.gallery), reverse=query.descending)
    if query.sort == "repository":
        found.sort(key=lambda each: each.gallery, reverse=query.descending)
    elif query.sort == "license":
        found.sort(key=lambda each: each.recipe.license.lower(), reverse=query.descending)
    elif query.sort == "status":
        found.sort(key=lambda each: each.recipe.name not in here, reverse=query.descending)
    return cut(found, query)


def _meets(each: Offer, query: Query) -> bool:
    recipe = each.recipe
    if not holds(query.term, recipe.name, recipe.description, each.gallery, *recipe.tags):
        return False
    if query.backend and query.backend not in {recipe.name, *recipe.tags}:
        return False
    if query.fits is not None and _fits(each) is not query.fits:
        return False
    return all(tag in (*recipe.tags, *recipe.serves, *recipe.hardware) for tag in query.tags)


def _fits(each: Offer) -> bool:
    """Whether it runs on what this machine computes with."""
    return bool(set(each.recipe.hardware) & set(hardware()))


def row(each: Offer, here: dict[str, Here], going: dict[str, Operation]) -> dict[str, Any]:
    """One of `GET /api/backends`; `going` are the operations under way."""
    recipe, described = each.recipe, each.described
    job, found = going.get(recipe.name), here.get(recipe.name)
    is_other = found is not None and found.recipe.digest != recipe.digest
    return {
        "id": each.id,
        "name": recipe.name,
        "description": recipe.description,
        "icon": described.icon,
        "license": recipe.license,
        "urls": described.urls,
        "tags": list(recipe.tags),
        "gallery": each.gallery,
        "installed": found is not None,
        "processing": job is not None,
        "jobID": str(job.pk) if job else "",
        "isDeletion": job is not None and job.is_deletion,
        "version": recipe.version,
        "installedVersion": found.recipe.version if found else "",
        "upgradeAvailable": is_other,
        "isMeta": False,
        "isAlias": False,
        "isDevelopment": False,
        "capabilities": dict.fromkeys(recipe.hardware, recipe.name),
        "metaBackendFor": "",
        "nodes": [],
        "hardware": list(recipe.hardware),
        "serves": list(recipe.serves),
        "fits": _fits(each),
        "allowed": each.is_allowed,
    }


def described(each: Offer, urls: dict[str, str], here: dict[str, Here]) -> dict[str, Any]:
    """One of `GET /backends/available`; `urls` are those of the galleries by name."""
    found: dict[str, Any] = {
        "name": each.recipe.name,
        "description": each.recipe.description,
        "license": each.recipe.license,
        "version": each.recipe.version,
        "icon": each.described.icon,
        "urls": each.described.urls,
        "uri": each.uri,
        "sha256": each.sha256,
        "tags": list(each.recipe.tags),
        "capabilities": dict.fromkeys(each.recipe.hardware, each.recipe.name),
        "gallery": {"url": urls[each.gallery], "name": each.gallery},
        "installed": each.recipe.name in here,
    }
    return {key: value for key, value in found.items() if value}


def installed(name: str, here: Here) -> dict[str, Any]:
    """One of `GET /backends`."""
    said = {
        "name": name,
        "version": here.recipe.version,
        "alias": here.alias,
        "gallery_url": _gallery_url(here.gallery),
        "installed_at": here.installed_at,
        "uri": here.uri,
    }
    run_file = here.recipe.python(env().backends_path).relative_to(env().backends_path)
    return {
        "Name": name,
        "RunFile": str(run_file),  # below the backends path: no answer tells where that is
        "IsMeta": False,
        "IsSystem": False,
        "Metadata": {key: value for key, value in said.items() if value},
    }


def _gallery_url(name: str) -> str:
    return next((each.url for each in backend_galleries.configured() if each.name == name), "")
