"""The gallery over HTTP: listing, installing, deleting, and who may pick which model."""

import json
import uuid

import pytest

from accounts.runtime import env
from core.gallery_list import GalleryAt
from inference import gallery_listing, operations
from inference.models import Engine, EngineState, Model, Operation, OperationState

KEYS = {
    "models", "repositories", "allTags", "allBackends", "processingModels", "taskTypes",
    "availableModels", "installedModels", "ramTotal", "ramUsed", "ramUsagePercent", "currentPage",
    "totalPages", "prevPage", "nextPage", "galleryErrors",
}  # fmt: skip
MODEL_KEYS = {
    "id", "name", "description", "icon", "license", "urls", "tags", "gallery", "installed",
    "processing", "jobID", "isDeletion", "trustRemoteCode", "additionalFiles", "backend",
}  # fmt: skip
GALLERY = """
- {name: big, description: a Big one, license: MIT, tags: [chat, large], files: [{filename: ., uri: "hf:o/big"}],
   checked: {date: 2026-01-01, size: 9000000000000000}, added: 2026-01-01, overrides: {capabilities: [chat]}}
- {name: little, license: Apache-2.0, tags: [chat, vision], files: [{filename: ., uri: "hf:o/little"}],
   checked: {date: 2026-01-01, size: 1000}, added: 2026-03-01, overrides: {capabilities: [chat]}}
- {name: vectors, license: BSD, tags: [small], files: [{filename: ., uri: "hf:o/vectors"}],
   overrides: {capabilities: [embeddings]}}
"""


@pytest.fixture
def own(settings, tmp_path):
    (tmp_path / "own.yaml").write_text(GALLERY)
    listed = [GalleryAt(name="own", url=f"file://{tmp_path}/own.yaml")]
    settings.GATEHOUSE = env().model_copy(update={"galleries": listed})
    return tmp_path


def make_model(name, **fields):
    defaults = {"source": "hf:o/x", "backend": "vllm-cpu", "directory": f"/models/{name}"}
    return Model.objects.create(name=name, **{**defaults, **fields})


def names(api, query=""):
    return [row["name"] for row in api.get(f"/api/models?{query}").json()["models"]]


def test_the_list_has_every_key_that_clients_read(as_alice, own):
    """GET /api/models: every key that clients read."""
    make_model("little")
    job = as_alice.post("/api/models/install/own@big").json()["jobID"]

    body = as_alice.get("/api/models").json()

    assert set(body) == KEYS
    assert all(set(row) >= MODEL_KEYS for row in body["models"])
    big, little, vectors = body["models"]
    assert (big["id"], big["processing"], big["jobID"]) == ("own@big", True, job)
    assert (little["installed"], little["processing"], little["jobID"]) == (True, False, "")
    assert body["processingModels"] == {"own@big": job}
    assert body["taskTypes"] == {"own@big": "installation"}
    assert (body["availableModels"], body["installedModels"]) == (3, 1)
    assert body["allTags"] == ["chat", "large", "small", "vision"]
    assert body["repositories"][0]["name"] == "own"
    assert little["estimated_size_display"] == "1000 B"
    assert "estimated_size_bytes" not in vectors


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["big", "little", "vectors"]),
        ("term=BIG", ["big"]),
        ("term=%20one%20big%20", ["big"]),
        ("term=nothing", []),
        ("term=%25", []),
        ("tag=chat", ["big", "little"]),
        ("tag=chat,vision", ["little"]),
        ("tag=embeddings", ["vectors"]),
        ("tag=small", ["vectors"]),
        ("backend=other", []),
        ("sort=name&order=desc", ["vectors", "little", "big"]),
        ("sort=license", ["little", "vectors", "big"]),
        ("sort=size", ["little", "big", "vectors"]),
        ("sort=size&order=desc", ["big", "little", "vectors"]),
        ("sort=newest", ["little", "big", "vectors"]),
        ("sort=status", ["little", "big", "vectors"]),
        ("fits=true", ["little"]),
        ("fits=false", ["big"]),
        ("items=2", ["big", "little"]),
        ("items=2&page=2", ["vectors"]),
        ("items=2&page=9", []),
        ("items=9999", ["big", "little", "vectors"]),
    ],
)
def test_r32_searching_filtering_sorting_and_paging(as_alice, own, monkeypatch, query, expected):
    make_model("little")
    monkeypatch.setattr(gallery_listing, "model_memory", lambda: 8 * 1024**3)

    assert names(as_alice, query) == expected


def test_r32_what_fits_is_unknown_where_the_size_or_the_memory_is(as_alice, own, monkeypatch):
    monkeypatch.setattr(gallery_listing, "model_memory", lambda: 8 * 1024**3)
    rows = as_alice.get("/api/models").json()["models"]
    assert [row["fits"] for row in rows] == [False, True, None]

    monkeypatch.setattr(gallery_listing, "model_memory", lambda: None)
    assert {row["fits"] for row in as_alice.get("/api/models").json()["models"]} == {None}


@pytest.mark.parametrize(
    ("query", "pages"),
    [("items=1", (1, 3, 1, 2)), ("items=1&page=3", (3, 3, 2, 3)), ("term=zzz", (1, 1, 1, 1))],
)
def test_pages_before_and_after_stay_inside(as_alice, own, query, pages):
    body = as_alice.get(f"/api/models?{query}").json()

    found = tuple(body[key] for key in ("currentPage", "totalPages", "prevPage", "nextPage"))
    assert found == pages


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=-1", "page=x", "page=%D9%A1", "items=0", "items=99999", "page=99999999999999999999",
     "sort=id", "order=up", "fits=maybe", "term=" + "x" * 201],
)  # fmt: skip
def test_r27_a_bad_query_is_a_400_that_names_it(as_alice, own, query):
    answer = as_alice.get(f"/api/models?{query}")

    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]


def test_the_list_costs_the_same_few_queries(as_alice, own, django_assert_num_queries):
    with django_assert_num_queries(4):
        as_alice.get("/api/models")
    for i in range(10):
        make_model(f"m{i}")
    with django_assert_num_queries(4):
        as_alice.get("/api/models?items=9999")


def test_r04_a_500_only_where_no_gallery_can_be_read(as_alice, own, settings):
    (own / "bad.yaml").write_text("- name: x\n")
    good, bad = (GalleryAt(name=n, url=f"file://{own}/{n}.yaml") for n in ("own", "bad"))
    settings.GATEHOUSE = env().model_copy(update={"galleries": [good, bad]})
    answer = as_alice.get("/api/models")
    assert answer.status_code == 200
    assert answer.json()["galleryErrors"][0].startswith("gallery bad, line 1: ")

    settings.GATEHOUSE = env().model_copy(update={"galleries": [bad]})
    for path in ("/api/models", "/models/available"):
        assert as_alice.get(path).status_code == 500
    assert as_alice.get("/api/models").json()["error"].startswith("gallery bad, line 1: ")
    assert "error" in as_alice.get("/models/galleries").json()[0]


def test_installing_answers_at_once_and_twice_is_one_job(as_alice, own):
    """POST /api/models/install/:id: answers at once."""
    first = as_alice.post("/api/models/install/own@big")
    again = as_alice.post("/api/models/install/own@big")

    assert first.status_code == 200
    assert first.json() == {"jobID": again.json()["jobID"], "message": "Installation started"}
    row = Operation.objects.get()
    assert (row.target, row.asked_for, row.asked_by) == ("big", "own@big", "alice@example.org")


def test_r35_an_idempotency_key_is_heard(as_alice, own):
    first = as_alice.post("/models/apply", {"id": "own@big"}, Idempotency_Key="one").json()
    Operation.objects.update(state=OperationState.DONE)

    again = as_alice.post("/models/apply", {"id": "own@big"}, Idempotency_Key="one").json()
    other = as_alice.post("/models/apply", {"id": "own@little"}, Idempotency_Key="one")

    assert again == first
    assert other.status_code == 409


@pytest.mark.parametrize("spelt", ["own@some/name", "own%40some%2Fname"])
def test_r36_a_name_with_a_slash_goes_both_ways(as_alice, own, spelt):
    assert as_alice.post(f"/api/models/install/{spelt}").status_code == 200
    assert as_alice.post(f"/api/models/delete/{spelt}").json()["message"] == "Deletion started"

    assert set(Operation.objects.values_list("target", "action")) == {
        ("some/name", "install"),
        ("some/name", "delete"),
    }


def test_deleting_takes_the_gallerys_name_off(as_alice, own):
    """POST /api/models/delete/:id and POST /models/delete/:name."""
    body = as_alice.post("/models/delete/own@big").json()

    job = Operation.objects.get()
    assert (job.target, job.action) == ("big", "delete")
    assert body == {"uuid": str(job.pk), "status": f"http://localhost/models/jobs/{job.pk}"}
    assert as_alice.get(f"/models/jobs/{job.pk}").json()["deletion"] is True


def test_r37_the_status_address_is_the_public_one_where_it_is_set(as_alice, own, settings):
    settings.GATEHOUSE = env().model_copy(update={"base_url": "https://llm.example.org"})

    status = as_alice.post("/models/apply", {"id": "own@big"}).json()["status"]

    assert status.startswith("https://llm.example.org/models/jobs/")


@pytest.mark.parametrize(
    ("body", "target", "details"),
    [
        ({"id": "own@big", "name": "mine"}, "mine", {}),
        (
            {"id": "own@big", "overrides": {"options": {"max_model_len": 512}}},
            "big",
            {"overrides": {"options": {"max_model_len": 512}}},
        ),
        ({"url": "hf:o/n"}, "o/n", {"entry": {"name": "o/n"}}),
        ({"url": "https://example.org/x.gguf?token=s3cret", "name": "x"}, "x", {}),
        ({"url": "file:folder", "name": "x"}, "x", {}),
        ({"name": "x", "files": [{"filename": "a", "uri": "https://example.org/a"}]}, "x", {}),
    ],
)
def test_a_model_is_asked_for_by_id_address_or_files(as_alice, own, body, target, details):
    answer = as_alice.post("/models/apply", body)

    assert answer.status_code == 200, answer.content
    uuid.UUID(answer.json()["uuid"])
    job = Operation.objects.get()
    assert job.target == target
    for key, value in details.items():
        assert {**job.details[key], **value} == job.details[key]
    assert b"s3cret" not in as_alice.get("/api/operations").content


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "id or url is required"),
        ({"id": 1}, "id"),
        ({"id": "own@big", "surprise": 1}, "surprise"),
        ({"id": "own@big", "overrides": {"surprise": 1}}, "surprise"),
        ({"id": "own@big", "overrides": []}, ""),
        ({"id": "own@big", "overrides": "x"}, "overrides"),
        ({"id": "own@big", "name": "../x"}, "name"),
        ({"id": "own@big", "files": [{}]}, "files"),
        ({"url": "https://example.org/x"}, "name is required"),
        ({"url": "hf:../x"}, "url"),
        ({"url": "ftp://x/y", "name": "x"}, "url"),
        ({"url": "http://example.org/x", "name": "x"}, "sha256"),
        ({"url": "pypi:x==1#y", "name": "x"}, "sha256"),
        ({"url": "file:../x", "name": "x"}, "url"),
        ({"url": "hf:o/n", "name": "../x"}, "name"),
        ({"name": "x", "files": [{"filename": "../a", "uri": "https://e.org/a"}]}, "filename"),
        ({"name": "x", "files": "all"}, "files"),
        ([], "invalid"),
    ],
)
def test_r27_a_bad_request_is_a_400_that_names_what_is_wrong(as_alice, own, body, words):
    if body == {"id": "own@big", "overrides": []}:  # empty is absent
        assert as_alice.post("/models/apply", body).status_code == 200
        return
    answer = as_alice.post("/models/apply", body)

    assert answer.status_code == 400, answer.content
    assert words in answer.json()["error"]["message"]
    assert not Operation.objects.exists()


def test_what_is_available_leaves_empty_keys_out(as_alice, own):
    """GET /models/available and GET /models/galleries."""
    make_model("little")

    big, little, vectors = as_alice.get("/models/available").json()

    assert little["installed"] is True
    assert not {"installed", "icon", "urls"} & set(big)
    assert big["gallery"] == {"name": "own", "url": f"file://{own}/own.yaml"}
    assert "size" not in vectors
    assert as_alice.get("/models/galleries").json() == [big["gallery"]]


@pytest.mark.django_db(transaction=True)
def test_who_may_use_a_model_may_see_what_it_can_do(as_alice, as_bob, bob, own):
    """GET /api/models/capabilities: for any user."""
    make_model("open", capabilities=["chat", "completions"])
    secret = make_model("secret", capabilities=["embeddings"])
    Engine.objects.create(model=secret, state=EngineState.READY)
    bob_only = {"enabled": True, "models": ["open"]}
    assert as_alice.put(f"/api/auth/admin/users/{bob.pk}/models", bob_only).status_code == 200

    everything = as_alice.get("/api/models/capabilities").json()["data"]
    allowed = as_bob.get("/api/models/capabilities").json()["data"]

    assert [row["id"] for row in everything] == ["open", "secret"]
    (row,) = allowed
    assert (row["id"], row["backend"]) == ("open", "vllm-cpu")
    assert row["capabilities"] == ["FLAG_CHAT", "FLAG_COMPLETION"]
    assert everything[1]["capabilities"] == ["FLAG_EMBEDDINGS"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/models"),
        ("POST", "/api/models/install/x"),
        ("POST", "/api/models/delete/x"),
        ("POST", "/models/apply"),
        ("POST", "/models/delete/x"),
        ("GET", "/models/available"),
        ("GET", "/models/galleries"),
    ],
)
def test_only_admins_install_and_delete(as_bob, anonymous, own, method, path):
    body = {} if method == "POST" else None
    assert as_bob(method, path, body).status_code == 403
    assert anonymous(method, path, body).status_code == 401
    assert not Operation.objects.exists()


def test_the_built_in_gallery_does_not_say_where_it_lies(as_alice):
    assert as_alice.get("/models/galleries").json() == [{"url": "built-in", "name": "gatehouse"}]
    assert b"gallery.yaml" not in as_alice.get("/api/models?items=9999").content
    assert len(as_alice.get("/models/available").json()) > 20


def test_nothing_in_an_answer_is_a_path_of_this_machine(as_alice, own):
    job = operations.enqueue(operations.Wish("model", "install", "x"))
    make_model("little", directory=str(own / "little"))

    for path in ("/api/operations", f"/models/jobs/{job.pk}", "/api/models/capabilities"):
        assert str(own) not in json.dumps(as_alice.get(path).json())
