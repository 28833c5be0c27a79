"""Asking for models as an admin does, and having the work done at once."""

import hashlib

from accounts.runtime import env
from core.tests.hostile_server import BODY, says
from inference import operations
from inference.models import Model
from inference.operation_work import work_off
from inference.operations import Action, Kind, Wish
from inference.wanted_models import wish_in

DIGEST = hashlib.sha256(BODY).hexdigest()


def run(**body):
    """Ask for it as `POST /models/apply` does, work it off, clean up as the engine process does."""
    return finish(operations.enqueue(wish_in(body, "alice@example.org")))


def finish(job):
    work_off(job)
    operations.clean_up(job)
    job.refresh_from_db()
    return job


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def is_untouched(home):
    return not Model.objects.exists() and files_in(home) == []


def file_at(server, body=BODY, name="model.bin"):
    server.serve[f"/{name}"] = says(200, body)
    return {
        "filename": name,
        "uri": f"{server.url}/{name}",
        "sha256": hashlib.sha256(body).hexdigest(),
    }


def run_install(name="own@stub"):
    wish = Wish(Kind.BACKEND, Action.INSTALL, name.rpartition("@")[2], name, "alice@example.org")
    return finish(operations.enqueue(wish))


def run_deletion(name="stub"):
    return finish(operations.enqueue(Wish(Kind.BACKEND, Action.DELETE, name, name)))


def environments():
    found = env().backends_path.glob("[a-z]*/*")  # what is being removed begins with a dot
    return sorted(path.name for path in found if path.is_dir())
