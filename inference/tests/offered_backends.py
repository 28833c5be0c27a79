"""A gallery of three recipes, and backends that look installed, for tests of what is said of them."""

import json

from accounts.runtime import env
from inference import backend_galleries, backends_here
from tests.stub_backend import recipe

GALLERY = "".join(
    [
        recipe("1.0"),
        recipe("2.0", name="big", license="Apache-2.0", hardware="[nvidia]", tags="[vllm]"),
        recipe("3.0", name="ears", license="BSD", serves="[audio-transcriptions]", tags="[]"),
    ]
)


def use(settings, **changed):
    settings.GATEHOUSE = env().model_copy(update=changed)


def put(name="stub", version="1.0", **changes):
    """An installed backend, as an installation leaves it, without what is in its environment."""
    (found,) = backend_galleries._offers(recipe(version, name=name, **changes), "here", "")
    folder = found.recipe.folder(env().backends_path)
    folder.mkdir(parents=True)
    (folder / backends_here.NOTE).write_text(json.dumps(backends_here.note_of(found)))
    (folder / backends_here.MARK).write_text(version)
    backends_here.make_current(found.recipe)
    return folder


def names(api, query=""):
    return [row["name"] for row in api.get(f"/api/backends?{query}").json()["backends"]]
