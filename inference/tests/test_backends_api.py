"""The gallery of backends over HTTP: listing, installing, deleting, upgrades, and who may."""

import hashlib
import json
import uuid

import pytest

from accounts.runtime import env
from core.gallery_list import GalleryAt
from core.tests.hostile_server import says
from inference import backends_here, operations
from inference.models import Engine, EngineState, Model, Operation, OperationState
from inference.recipes import recipes
from inference.tests.offered_backends import names, put, use
from tests.stub_backend import recipe

KEYS = {
    "backends", "repositories", "allTags", "processingBackends", "taskTypes", "availableBackends",
    "installedBackends", "currentPage", "totalPages", "prevPage", "nextPage", "systemCapability",
    "preferDevelopmentBackends", "galleryErrors",
}  # fmt: skip
ROW = {
    "id", "name", "description", "icon", "license", "urls", "tags", "gallery", "installed",
    "processing", "jobID", "isDeletion", "version", "isMeta", "isAlias", "isDevelopment",
    "capabilities", "metaBackendFor", "nodes",
}  # fmt: skip


def test_the_list_has_every_key_that_clients_read(as_alice, own_backends):
    """GET /api/backends: all keys of the surface; what is installed and under way is said."""
    put()
    job = as_alice.post("/api/backends/install/own@ears").json()["jobID"]

    body = as_alice.get("/api/backends").json()

    assert set(body) >= KEYS
    assert all(set(row) >= ROW for row in body["backends"])
    big, ears, stub = body["backends"]
    assert (ears["id"], ears["processing"], ears["jobID"]) == ("own@ears", True, job)
    assert (stub["installed"], stub["installedVersion"], stub["allowed"]) == (True, "1.0", True)
    assert (big["fits"], stub["fits"]) == (False, True)
    assert body["processingBackends"] == {"own@ears": job}
    assert body["taskTypes"] == {"own@ears": "installation"}
    assert (body["availableBackends"], body["installedBackends"]) == (3, 1)
    assert body["allTags"] == ["stubs", "vllm"]
    assert body["systemCapability"] == "default"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["big", "ears", "stub"]),
        ("term=STUB", ["big", "ears", "stub"]),  # all are described as one
        ("term=ears%20a", ["ears"]),
        ("term=nothing", []),
        ("tag=stubs", ["stub"]),
        ("tag=audio-transcriptions", ["ears"]),
        ("backend=vllm", ["big"]),
        ("fits=true", ["ears", "stub"]),
        ("fits=false", ["big"]),
        ("order=desc", ["stub", "ears", "big"]),
        ("sort=license", ["big", "ears", "stub"]),
        ("sort=status", ["stub", "big", "ears"]),
        ("sort=repository", ["big", "ears", "stub"]),
        ("items=2", ["big", "ears"]),
        ("items=2&page=2", ["stub"]),
    ],
)
def test_searching_filtering_sorting_and_paging(as_alice, own_backends, query, expected):
    """GET /api/backends: the query of GET /api/models."""
    put()
    assert names(as_alice, query) == expected


@pytest.mark.parametrize("query", ["page=0", "items=x", "sort=id", "order=up", "fits=maybe"])
def test_r27_a_bad_query_is_a_400_that_names_it(as_alice, own_backends, query):
    answer = as_alice.get(f"/api/backends?{query}")

    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]


def test_the_list_costs_the_same_few_queries(as_alice, own_backends, django_assert_num_queries):
    with django_assert_num_queries(3):  # two for who asks
        as_alice.get("/api/backends")
    for i in range(5):
        put(f"b{i}")
    with django_assert_num_queries(3):
        as_alice.get("/api/backends?items=9999")


def test_r04_one_unreadable_gallery_leaves_the_others(as_alice, own_backends, settings):
    (own_backends / "bad.yaml").write_text(recipe("1.0", environment="{LD_PRELOAD: x}"))
    good, bad = (GalleryAt(name=n, url=f"file://{own_backends}/{n}.yaml") for n in ("own", "bad"))
    use(settings, backend_galleries=[good, bad])
    answer = as_alice.get("/api/backends")
    assert answer.status_code == 200
    (fault,) = answer.json()["galleryErrors"]
    assert fault.startswith("gallery bad, line 9: environment: LD_PRELOAD")

    use(settings, backend_galleries=[bad])
    for path in ("/api/backends", "/backends/available"):
        assert as_alice.get(path).status_code == 500
    assert as_alice.get("/backends/galleries").json()[0]["error"] == fault


def test_what_is_installed_has_capitalised_keys(as_alice, own_backends, settings):
    """GET /backends: also what no gallery has any more (R-03); no path of the machine is told."""
    put()
    use(settings, backend_galleries=[])

    (row,) = as_alice.get("/backends").json()

    assert set(row) == {"Name", "RunFile", "IsMeta", "IsSystem", "Metadata"}
    assert (row["Name"], row["IsMeta"], row["IsSystem"]) == ("stub", False, False)
    assert row["Metadata"]["version"] == "1.0"
    assert row["Metadata"]["installed_at"].endswith("Z")
    assert str(own_backends) not in json.dumps(row)
    assert recipes()["stub"].is_installed(env().backends_path)
    assert as_alice.get("/system").json()["backends"] == ["stub"]


def test_what_is_available_leaves_empty_keys_out(as_alice, own_backends):
    """GET /backends/available, GET /backends/galleries: gallery entries; where they come from."""
    put()

    big, ears, stub = sorted(
        as_alice.get("/backends/available").json(), key=lambda each: each["name"]
    )

    assert stub["installed"] is True
    assert "installed" not in big
    assert "tags" not in ears
    assert big["gallery"] == {"name": "own", "url": f"file://{own_backends}/own.yaml"}
    assert as_alice.get("/backends/galleries").json() == [big["gallery"]]


def test_the_built_in_gallery_does_not_say_where_it_lies(as_alice, own_backends, settings):
    """GET /backends/galleries: without a setting, the built-in recipes."""
    use(settings, backend_galleries=None)

    assert as_alice.get("/backends/galleries").json() == [{"url": "built-in", "name": "gatehouse"}]
    assert names(as_alice) == ["vllm", "vllm-cpu"]
    assert b"/inference/" not in as_alice.get("/backends/available").content


# --- installing and deleting -----------------------------------------------------------------------


def test_installing_answers_at_once_and_twice_is_one_job(as_alice, own_backends):
    """POST /api/backends/install/:id: unknown ids are taken, too."""
    first = as_alice.post("/api/backends/install/own@stub")
    again = as_alice.post("/api/backends/install/own@stub")

    assert first.status_code == 200
    message = "Backend installation started"
    assert first.json() == {"jobID": again.json()["jobID"], "message": message}
    row = Operation.objects.get()
    assert (row.kind, row.target, row.asked_by) == ("backend", "stub", "alice@example.org")
    assert as_alice.post("/api/backends/install/no@such").status_code == 200


def test_deleting_answers_at_once(as_alice, own_backends):
    """POST /api/backends/delete/:id: the job, and LocalAI's words."""
    put()
    answer = as_alice.post("/api/backends/delete/own@stub")

    assert answer.json()["message"] == "Backend deletion started"
    job = answer.json()["jobID"]
    assert as_alice.get(f"/api/backends/job/{job}").json()["queued"] is True
    row = Operation.objects.get()
    assert (row.kind, row.action, row.target) == ("backend", "delete", "stub")


def test_r37_the_curl_way_has_keys_of_its_own(as_alice, own_backends, settings):
    """POST /backends/apply, POST /backends/delete/:name: `id` and an absolute `status_url`."""
    put("other")
    use(settings, base_url="https://llm.example.org")
    applied = as_alice.post("/backends/apply", {"id": "own@stub", "force": True}).json()
    deleted = as_alice.post("/backends/delete/other").json()

    for body in (applied, deleted):
        assert set(body) == {"id", "status_url"}
        uuid.UUID(body["id"])
        assert body["status_url"] == f"https://llm.example.org/backends/jobs/{body['id']}"


def test_jobs_are_asked_about_in_three_ways(as_alice, own_backends):
    """GET /backends/jobs/:uuid, GET /api/backends/job/:uid: as of models; unknown is 404, or queued."""
    model = as_alice.post("/api/models/install/x").json()["jobID"]
    job = as_alice.post("/backends/apply", {"id": "own@stub"}).json()["id"]
    operations.end(uuid.UUID(job), OperationState.FAILED, "no backend found with name stub")

    assert as_alice.get(f"/backends/jobs/{job}").json()["error"].startswith("no backend")
    assert set(as_alice.get("/backends/jobs").json()) == {job}
    assert set(as_alice.get("/models/jobs").json()) == {model}
    polled = as_alice.get(f"/api/backends/job/{job}").json()
    assert (polled["processed"], polled["error"]) == (True, "no backend found with name stub")
    (row,) = [r for r in as_alice.get("/api/operations").json()["operations"] if r["isBackend"]]
    assert (row["id"], row["name"], row["isDeletion"]) == ("own@stub", "stub", False)
    unknown = uuid.uuid4()
    assert as_alice.get(f"/backends/jobs/{unknown}").status_code == 404
    assert as_alice.get(f"/api/backends/job/{unknown}").json()["queued"] is True


def test_r35_an_idempotency_key_is_heard(as_alice, own_backends):
    first = as_alice.post("/backends/apply", {"id": "own@stub"}, Idempotency_Key="one").json()
    Operation.objects.update(state=OperationState.DONE)

    again = as_alice.post("/backends/apply", {"id": "own@stub"}, Idempotency_Key="one").json()
    other = as_alice.post("/backends/apply", {"id": "own@ears"}, Idempotency_Key="one")

    assert again == first
    assert other.status_code == 409


@pytest.mark.parametrize("spelt", ["own@some/name", "own%40some%2Fname"])
def test_r36_a_name_with_a_slash_goes_both_ways(as_alice, own_backends, spelt):
    for path in ("/backends/delete", "/api/backends/delete", "/api/backends/install"):
        assert as_alice.post(f"{path}/{spelt}").status_code == 200

    assert set(Operation.objects.values_list("target", "action")) == {
        ("some/name", "install"),
        ("some/name", "delete"),
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "id is required"),
        ({"id": 1}, "id"),
        ({"id": "a\0b"}, "id"),
        ({"id": "x", "force": "yes"}, "force"),
        ({"id": "x", "surprise": 1}, "surprise"),
        ({"id": "x" * 600}, "invalid backend ID"),
        ([], "invalid"),
    ],
)
def test_r27_a_bad_request_is_a_400_that_names_what_is_wrong(as_alice, own_backends, body, words):
    answer = as_alice.post("/backends/apply", body)

    assert answer.status_code == 400, answer.content
    assert words in answer.json()["error"]["message"]
    assert not Operation.objects.exists()


def test_a_backend_is_deleted_at_once(as_alice, own_backends, monkeypatch):
    """POST /api/backends/system/delete/:name: done when it answers; unknown is 404 (R-27)."""
    monkeypatch.setattr("inference.backend_work.QUIET_S", 0.1)
    folder = put()
    put("other")

    answer = as_alice.post("/api/backends/system/delete/stub")

    said = {"success": True, "message": "Backend deleted successfully"}
    assert (answer.status_code, answer.json()) == (200, said)
    assert not folder.parent.exists()
    assert [row["Name"] for row in as_alice.get("/backends").json()] == ["other"]
    assert not list(env().backends_path.glob(".gone-*"))
    for name in ("stub", "../other", "..%2fother", "other%2f..", ".staging"):
        assert as_alice.post(f"/api/backends/system/delete/{name}").status_code in {400, 404}
    assert as_alice.get("/backends").json()[0]["Name"] == "other"


@pytest.mark.parametrize(
    "path",
    ["/api/backends/system/delete/stub", "/api/backends/delete/own@stub", "/backends/delete/stub"],
)
def test_a_backend_that_is_in_use_is_not_deleted(as_alice, own_backends, path):
    """Its engines are an admin's to stop: 409, and everything stays as it was."""
    put()
    model = Model.objects.create(name="m", source="", backend="stub", directory="/x")
    Engine.objects.create(model=model, state=EngineState.READY, pid=1)

    answer = as_alice.post(path)

    assert answer.status_code == 409
    assert "stop these models first: m" in json.dumps(answer.json())
    assert not Operation.objects.exists()
    assert as_alice.get("/backends").json()[0]["Name"] == "stub"


def test_a_backend_whose_engine_starts_this_moment_stays(as_alice, own_backends, monkeypatch):
    """Between the look and the removal an engine may have begun: it wins."""
    folder = put()
    model = Model.objects.create(name="m", source="", backend="stub", directory="/x")
    real = backends_here.take_down

    def starts_meanwhile(folders):
        real(folders)
        assert "stub" not in backends_here.installed_backends()
        Engine.objects.create(model=model, state=EngineState.STARTING, pid=1)

    monkeypatch.setattr(backends_here, "take_down", starts_meanwhile)

    assert as_alice.post("/api/backends/system/delete/stub").status_code == 409
    assert (folder / backends_here.MARK).exists()
    assert "stub" in backends_here.installed_backends()


# --- upgrades --------------------------------------------------------------------------------------


def test_upgrades_are_listed_and_asked_for(as_alice, own_backends):
    """Another version that is offered is an upgrade; of what is up to date there is none."""
    put(version="0.9")
    put("ears", "3.0", license="BSD", serves="[audio-transcriptions]", tags="[]")

    expected = {
        "stub": {"backend_name": "stub", "installed_version": "0.9", "available_version": "1.0"}
    }
    assert as_alice.get("/api/backends/upgrades").json() == expected
    assert as_alice.post("/api/backends/upgrades/check").json() == expected
    stub = as_alice.get("/api/backends?tag=stubs").json()["backends"][0]
    assert (stub["upgradeAvailable"], stub["installedVersion"], stub["version"]) == (
        True,
        "0.9",
        "1.0",
    )

    answer = as_alice.post("/api/backends/upgrade/stub")
    assert (answer.status_code, answer.json()["message"]) == (200, "Backend upgrade started")
    assert as_alice.post("/api/backends/upgrade/ears").status_code == 409
    assert as_alice.post("/api/backends/upgrade/big").status_code == 404
    assert Operation.objects.get().target == "stub"


def test_checking_reads_the_galleries_anew(as_alice, own_backends, server, settings):
    """A gallery elsewhere is kept for ten minutes; a check does not wait for that."""
    put()
    server.serve["/g.yaml"] = says(200, recipe("1.0").encode())
    use(settings, backend_galleries=[GalleryAt(name="far", url=f"{server.url}/g.yaml")])
    assert as_alice.get("/api/backends").json()["backends"][0]["version"] == "1.0"
    server.serve["/g.yaml"] = says(200, recipe("1.1").encode())
    assert as_alice.get("/api/backends").json()["backends"][0]["version"] == "1.0"

    found = as_alice.post("/api/backends/upgrades/check").json()

    assert found["stub"]["available_version"] == "1.1"
    ten = recipe("10").encode()
    server.serve["/pinned.yaml"] = says(200, ten)
    pin = {f"{server.url}/pinned.yaml": frozenset({hashlib.sha256(ten).hexdigest()})}
    use(settings, backend_galleries=[], external_backends=pin)
    assert as_alice.get("/api/backends/upgrades").json() == {}  # nobody outside is asked
    by_pin = as_alice.post("/api/backends/upgrades/check").json()
    assert by_pin["stub"]["available_version"] == "10"
    use(settings, backend_galleries=[GalleryAt(name="far", url=f"{server.url}/g.yaml")])
    server.serve["/g.yaml"] = says(500)
    assert as_alice.post("/api/backends/upgrades/check").json() == found  # the older one serves
    assert len(as_alice.get("/api/backends").json()["galleryErrors"]) == 1


ROUTES = [
    ("GET", "/api/backends"),
    ("POST", "/api/backends/install/x"),
    ("POST", "/api/backends/delete/x"),
    ("POST", "/api/backends/install-external"),
    ("GET", "/api/backends/job/x"),
    ("POST", "/api/backends/system/delete/x"),
    ("GET", "/api/backends/upgrades"),
    ("POST", "/api/backends/upgrades/check"),
    ("POST", "/api/backends/upgrade/x"),
    ("GET", "/backends"),
    ("GET", "/backends/available"),
    ("GET", "/backends/galleries"),
    ("POST", "/backends/apply"),
    ("POST", "/backends/delete/x"),
    ("GET", "/backends/jobs"),
    ("GET", "/backends/jobs/x"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_only_admins_see_and_change_backends(as_bob, anonymous, own_backends, method, path):
    body = {} if method == "POST" else None
    assert as_bob(method, path, body).status_code == 403
    assert anonymous(method, path, body).status_code == 401
    assert not Operation.objects.exists()
