"""Recipes from elsewhere, and which recipe counts: galleries, tags, the models that are configured."""

import hashlib
import json
import threading
import uuid

import pytest

from accounts.audit import CLI
from accounts.runtime import env
from accounts.runtime_settings import store
from core.gallery_list import GalleryAt
from core.tests.hostile_server import answer, says
from inference import backend_galleries, operations
from inference.engine_rows import local_targets
from inference.gallery_schema import Entry
from inference.models import Operation, OperationState
from inference.operation_work import ensure_configured
from inference.recipes import recipe_for, recipes
from inference.tests.offered_backends import GALLERY, names, put, use
from tests.stub_backend import recipe

# --- recipes from elsewhere ------------------------------------------------------------------------

EXTERNAL = "/api/backends/install-external"


def test_r20_what_the_environment_does_not_name_is_listed_and_not_installed(
    as_alice, own_backends, settings
):
    use(settings, external_backends={})

    assert names(as_alice) == ["big", "ears", "stub"]
    assert not any(row["allowed"] for row in as_alice.get("/api/backends").json()["backends"])
    for path, body in (
        ("/api/backends/install/own@stub", {}),
        ("/backends/apply", {"id": "stub"}),
        (EXTERNAL, {"uri": f"file://{own_backends}/own.yaml", "name": "stub"}),
    ):
        answer = as_alice.post(path, body)
        assert answer.status_code == 403
        assert "LOCALAI_EXTERNAL_BACKENDS" in json.dumps(answer.json())
    assert not Operation.objects.exists()


def test_r20_a_file_that_changed_is_not_the_one_that_was_let_in(as_alice, own_backends):
    (own_backends / "own.yaml").write_text(GALLERY + "# one word more\n")

    assert as_alice.post("/api/backends/install/own@stub").status_code == 403
    answer = as_alice.post(EXTERNAL, {"uri": f"file://{own_backends}/own.yaml", "name": "stub"})
    assert answer.status_code == 403
    assert "sha256" in answer.json()["error"]


def test_r20_an_external_recipe_is_asked_for_by_its_address(
    as_alice, own_backends, server, settings
):
    """POST /api/backends/install-external: `uri is required`; the address has to be let in."""
    assert as_alice.post(EXTERNAL, {}).json() == {"error": "uri is required"}
    uri, text = f"{server.url}/r.yaml", recipe("5.0", name="far")
    server.serve["/r.yaml"] = says(200, text.encode())
    digest = hashlib.sha256(text.encode()).hexdigest()
    use(settings, external_backends={uri: frozenset({digest})})

    answer = as_alice.post(EXTERNAL, {"uri": uri, "name": "", "alias": "near"})

    assert answer.json()["message"] == "External backend installation started"
    row = Operation.objects.get()
    assert (row.target, row.details) == ("far", {"uri": uri, "alias": "near"})
    assert as_alice.post(EXTERNAL, {"uri": uri, "name": "other"}).status_code == 400
    assert as_alice.post(EXTERNAL, {"uri": uri, "alias": "../x"}).status_code == 400


@pytest.mark.parametrize(
    "uri", ["file:///etc/passwd", "file:../x", "file://[", "oci://quay.io/x", "/etc/x", "x"]
)
def test_r07_r20_no_other_address_is_read(as_alice, own_backends, server, uri):
    answer = as_alice.post(EXTERNAL, {"uri": uri})

    assert answer.status_code == 403
    assert "root:" not in answer.json()["error"]


def test_r07_a_recipe_of_this_machine_lies_below_the_backends_path_and_is_no_link(
    as_alice, own_backends, settings, tmp_path_factory
):
    text = recipe("1.0")
    digest = frozenset({hashlib.sha256(text.encode()).hexdigest()})
    outside = tmp_path_factory.mktemp("elsewhere") / "r.yaml"
    outside.write_text(text)
    env().backends_path.mkdir()
    inside, link = env().backends_path / "r.yaml", env().backends_path / "l.yaml"
    inside.write_text(text)
    link.symlink_to(outside)
    pins = {f"file://{path}": digest for path in (inside, link, outside)}
    use(settings, external_backends=pins)

    assert as_alice.post(EXTERNAL, {"uri": f"file://{inside}"}).status_code == 200
    for refused in (link, outside):
        answer = as_alice.post(EXTERNAL, {"uri": f"file://{refused}"})
        assert answer.status_code == 400
        assert str(tmp_path_factory.getbasetemp()) not in answer.json()["error"]


# --- which recipe counts, and who may --------------------------------------------------------------


def test_r03_galleries_of_backends_while_the_server_runs(as_alice, own_backends, server, settings):
    """SET:backend_galleries: in force at once; installed backends stay."""
    use(settings, backend_galleries=None)
    settings.GATEHOUSE.model_fields_set.discard("backend_galleries")  # nothing is set there
    put()
    server.serve["/g.yaml"] = says(200, recipe("1.0", name="far").encode())
    named = [{"url": f"{server.url}/g.yaml", "name": "mine"}]
    assert as_alice.post("/api/settings", {"backend_galleries": named}).status_code == 200

    assert names(as_alice) == ["far"]
    assert as_alice.get("/backends").json()[0]["Name"] == "stub"
    store.change({"backend_galleries": []}, by=CLI)
    assert names(as_alice) == ["vllm", "vllm-cpu"]


def test_r04_galleries_of_backends_elsewhere_are_asked_at_the_same_time(
    db, own_backends, server, settings
):
    both_asked = threading.Barrier(2, timeout=5)

    def once_both_are_asked(connection, _head):
        both_asked.wait()
        connection.sendall(answer(200, recipe("1.0").encode()))

    server.serve |= {"/one": once_both_are_asked, "/two": once_both_are_asked}
    use(
        settings,
        backend_galleries=[GalleryAt(name=n, url=f"{server.url}/{n}") for n in ("one", "two")],
    )

    found = backend_galleries.every(backend_galleries.shelves())

    assert [each.id for each in found] == ["one@stub", "two@stub"]


def test_a_model_may_name_a_backend_by_its_tag_or_alias(own_backends):
    put()
    assert recipe_for("stubs").name == "stub"
    (folder,) = (env().backends_path / "stub").glob("*/backend.json")
    note = json.loads(folder.read_text())
    folder.write_text(json.dumps({**note, "alias": "mine"}))

    assert recipe_for("mine").name == "stub"
    entry = Entry.model_validate(
        {"name": "m", "files": [{"filename": "a", "uri": "hf:o/m"}], "backend": "mine"},
        strict=False,
    )
    assert entry.recipe_name == "stub"


def test_r16_no_half_made_environment_is_listed(as_alice, own_backends):
    folder = env().backends_path / "stub" / "abc"
    (folder / "bin").mkdir(parents=True)
    (folder / "making").write_text(str(uuid.uuid4()))
    (env().backends_path / "junk.txt").write_text("x")
    (env().backends_path / "Not A Name" / "x").mkdir(parents=True)
    (env().backends_path / "Not A Name" / "x" / "installed").touch()

    assert as_alice.get("/backends").json() == []
    assert as_alice.get("/api/backends").json()["installedBackends"] == 0


# --- the models that LOCALAI_MODELS names ----------------------------------------------------------

CHAT_MODEL = "smollm2-135m-instruct"


def test_r33_a_release_with_another_version_installs_it_while_the_old_one_serves(
    own_backends, db, settings
):
    use(settings, backend_galleries=None, models_path=own_backends / "models")
    put("vllm-cpu", version="0.1", tags="[vllm]")

    ensure_configured([CHAT_MODEL])

    wanted = set(Operation.objects.values_list("kind", "action", "target"))
    assert ("backend", "install", "vllm-cpu") in wanted
    assert recipes()["vllm-cpu"].version == "0.1"
    assert recipes()["vllm-cpu"].is_installed(env().backends_path)


@pytest.mark.parametrize(
    ("details", "state"),
    [({}, "loading"), ({operations.WAITS_FOR: "vllm-cpu"}, "failed")],
)
def test_r19_a_model_that_waits_for_a_backend_which_failed_says_why(
    own_backends, db, settings, details, state
):
    use(settings, backend_galleries=None)
    failed = {"state": OperationState.FAILED, "message": "the disk is full"}
    Operation.objects.create(kind="backend", target="vllm-cpu", **failed)
    Operation.objects.create(kind="model", target=CHAT_MODEL, details=details, message="waiting")

    (target,) = local_targets([CHAT_MODEL])

    assert (target.state, target.message) == (state, "the disk is full")
