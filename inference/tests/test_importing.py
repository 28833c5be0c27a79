"""Importing models: by a configuration, from an address, or from a folder that is there (R-17, R-19)."""

import json

import pytest

from accounts.models import AuditRecord
from core.tests.hostile_server import BODY, says
from inference import operations
from inference.gallery import built_in_gallery
from inference.model_folders import CONFIGURATION, MANIFEST
from inference.model_install import Installed
from inference.models import Model, ModelAlias, Operation, OperationState
from inference.operation_work import ensure_configured
from inference.registering import register_model
from inference.tests.installs import DIGEST, file_at, files_in, finish, run

pytestmark = pytest.mark.django_db


def yaml_to(api, text, **headers):
    return api.client.generic(
        "POST", "/models/import", data=text, content_type="application/yaml",
        headers={**api.headers, **headers},
    )  # fmt: skip


def finished(answer):
    assert answer.status_code == 200, answer.content
    return finish(operations.find(answer.json()["uuid"]))


@pytest.fixture
def folder(home):
    (home / "mine" / "sub").mkdir(parents=True)
    (home / "mine" / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (home / "mine" / "sub" / "model.safetensors").write_bytes(BODY)
    return home / "mine"


def test_r19_a_folder_that_is_there_is_taken_as_it_is(as_alice, home, folder):
    """POST /models/import of a model whose files are below the models path."""
    before = {path: (folder / path).stat().st_ino for path in files_in(folder)}

    job = finished(
        yaml_to(as_alice, "name: mine\naliases: [gpt-4o]\npinned: true\nidle_timeout: 1h")
    )

    assert job.state == OperationState.DONE, job.message
    row = Model.objects.get()
    assert (row.source, row.directory, row.pinned) == ("file:mine", str(folder), True)
    assert (row.idle_timeout_s, row.capabilities) == (3600, ["chat", "completions", "tokenize"])
    assert row.is_default  # the first that can chat
    assert row.size_bytes > len(BODY)
    assert ModelAlias.objects.get().name == "gpt-4o"
    assert {path: (folder / path).stat().st_ino for path in before} == before
    assert set(files_in(folder)) - set(before) == {MANIFEST, CONFIGURATION}
    record = AuditRecord.objects.get(action="model_imported")
    assert (record.subject_name, record.actor_name) == ("mine", "alice@example.org")


def test_an_adoption_that_fails_takes_nothing_away(as_alice, home, folder, tmp_path):
    (folder / "out").symlink_to(tmp_path)
    before = files_in(folder)

    job = finished(yaml_to(as_alice, "name: mine"))

    assert (job.state, job.message) == (OperationState.FAILED, "out is not a plain file.")
    assert files_in(folder) == before
    assert not Model.objects.exists()


def test_a_folder_of_another_model_is_not_adopted(as_alice, home, folder):
    """`a/b` and `a--b` have one folder."""
    folder.rename(home / "a--b")
    assert finished(yaml_to(as_alice, "name: a/b")).state == OperationState.DONE

    job = finished(yaml_to(as_alice, "name: a--b"))

    assert (job.state, job.message) == (
        OperationState.FAILED, "The folder a--b is another model's.",
    )  # fmt: skip
    assert (home / "a--b" / "config.json").exists()


def test_an_adoption_goes_on_after_an_interruption(as_alice, home, folder):
    """Killed between the row and the manifest: the same operation runs again."""
    answer = yaml_to(as_alice, "name: mine\naliases: [x]")
    finished(answer)
    (folder / MANIFEST).unlink()
    Operation.objects.update(state=OperationState.QUEUED)

    assert finished(answer).state == OperationState.DONE
    assert (folder / MANIFEST).exists()
    assert ModelAlias.objects.get().model_id == "mine"


def test_an_adoption_that_is_killed_takes_nothing_away(as_alice, home, folder):
    (folder / MANIFEST).write_text("{}")  # of a server whose database is gone
    job = operations.find(yaml_to(as_alice, "name: mine").json()["uuid"])
    before = files_in(folder)

    operations.clean_up(job)

    assert files_in(folder) == before


def test_r19_a_configuration_with_files_fetches_them(as_alice, home, server):
    """POST /models/import with `files`, as JSON."""
    server.serve["/m.bin"] = says(200, BODY)
    given = {
        "name": "owner/own",
        "description": "mine",
        "capabilities": ["chat"],
        "options": {"max_model_len": 512},
        "replicas": 2,
        "enabled": False,
        "files": [{"filename": "m.bin", "uri": f"{server.url}/m.bin", "sha256": DIGEST}],
    }

    answer = as_alice.post("/models/import", given)

    assert answer.json()["success"] is True
    assert answer.json()["status"].endswith(f"/models/jobs/{answer.json()['uuid']}")
    assert finished(answer).state == OperationState.DONE
    row = Model.objects.get()
    assert (row.name, row.replicas, row.enabled) == ("owner/own", 2, False)
    assert (row.options, row.checksum) == ({"max_model_len": 512}, DIGEST)


def test_r19_a_configuration_with_a_source_fetches_it(as_alice, home, server):
    server.serve["/m.bin"] = says(200, BODY)
    text = f"name: own\nsource: {server.url}/m.bin\nchecksum: {DIGEST}\n"
    assert finished(yaml_to(as_alice, text)).state == OperationState.DONE
    assert Model.objects.get().checksum == DIGEST

    wrong = f"name: other\nsource: {server.url}/m.bin\nchecksum: {'a' * 64}\n"
    assert finished(yaml_to(as_alice, wrong)).state == OperationState.FAILED
    assert Model.objects.count() == 1


def test_the_first_default_gives_way_to_an_imported_one(as_alice, home, folder):
    (home / "first").mkdir()
    (home / "first" / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    finished(yaml_to(as_alice, "name: first"))
    finished(yaml_to(as_alice, "name: mine\ndefault: true"))

    assert Model.objects.get(is_default=True).name == "mine"
    assert "default: false" in (home / "first" / CONFIGURATION).read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: mine\nparameters: {}", "line 2: parameters: is not a key"),
        ("name: nothing-there", "source: wants an address"),
        ("name: ../mine", "line 1: name:"),
        ("source: hf:o/n", "name:"),
        ("name: mine\nsource: /etc/passwd", "source: wants hf:"),
        ("name: mine\nsource: hf:o/n\nchecksum: ab", "checksum: only of one file"),
        ("name: mine\nsource: hf:o/n\nfiles: []", "files and source do not go together"),
        ("name: mine\nfiles: []", "line 2: files"),
        ("name: mine\nfiles:\n- {filename: ../x, uri: 'hf:o/n'}", "line 3: files.0.filename"),
        ("name: mine\naliases: [mine]", "aliases: mine is its own name already"),
        ("name: mine\naliases: [there]", "aliases: there is a model already"),
        ("name: there", "name: there is a model already"),
        ("name: mine\noptions: {colour: red}", "options: vllm-cpu has no option colour"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_r10_what_cannot_be_imported_is_400(as_alice, home, monkeypatch, text, said):
    monkeypatch.setattr("inference.model_configuration.recipe_name", lambda _name: "vllm-cpu")
    Model.objects.create(name="there", source="x", backend="vllm-cpu", directory="/x")

    answer = yaml_to(as_alice, text)

    assert answer.status_code == 400, answer.content
    assert said in answer.json()["error"]["message"]
    assert str(home) not in answer.content.decode()
    assert not Operation.objects.exists()
    assert not AuditRecord.objects.filter(action="model_imported").exists()


def test_r35_a_repeated_import_is_one_operation(as_alice, home, folder):
    first, second = (yaml_to(as_alice, "name: mine", idempotency_key="k") for _ in range(2))
    assert first.json()["uuid"] == second.json()["uuid"]
    other = yaml_to(as_alice, "name: mine\npinned: true", idempotency_key="k")
    assert other.status_code == 409


# --- what an installation leaves as it is ------------------------------------------------------------


def test_what_an_admin_changed_stays_over_starts(as_alice, home, monkeypatch):
    """A model of LOCALAI_MODELS is looked at again at every start."""
    entry = next(iter(built_in_gallery().values()))
    there = Installed("pypi:x==1", "ab")
    monkeypatch.setattr("inference.operation_work.installed", lambda *_: there)
    (home / entry.name).mkdir()
    register_model(entry, there)
    path = f"/api/models/config-json/{entry.name}"
    as_alice("PATCH", path, {"options": {"max_model_len": 77}, "description": "mine"})

    ensure_configured([entry.name])

    row = Model.objects.get()
    assert (row.options["max_model_len"], row.description) == (77, "mine")


def test_overrides_of_a_second_request_count(home, server):
    file = file_at(server)
    run(name="own", files=[file])
    run(name="own", files=[file], overrides={"options": {"max_model_len": 99}})

    assert Model.objects.get().options == {"max_model_len": 99}
    assert "max_model_len: 99" in (home / "own" / CONFIGURATION).read_text()


def test_w18_what_models_there_are_to_be_is_in_the_trail(as_alice, home, server, folder):
    """Imported, installed, deleted: by whom, from where, with which names; no query of an address."""
    file = {"filename": "m.bin", "uri": f"{server.url}/m.bin?token=s3cret", "sha256": DIGEST}
    named = {"name": "own", "files": [file], "aliases": ["a"]}
    finished(yaml_to(as_alice, "name: mine\naliases: [gpt-4o]\ndefault: true\nreplicas: 2"))
    for path, body in (
        ("/models/apply", named),
        (
            "/models/import-uri",
            {"uri": "https://h.example/m.bin?t=s3cret", "preferences": {"name": "m"}},
        ),
        ("/api/models/install/gatehouse@x", {}),
        ("/api/models/delete/mine", {}),
        ("/models/delete/owner/other", {}),
    ):
        assert as_alice.post(path, body).status_code == 200, path

    lines = AuditRecord.objects.filter(action__startswith="model_").order_by("pk")
    assert [(each.action, each.subject_name, each.after) for each in lines] == [
        (
            "model_imported",
            "mine",
            {"from": "mine", "aliases": ["gpt-4o"], "default": True, "replicas": 2},
        ),
        ("model_imported", "own", {"from": "own", "aliases": ["a"]}),
        ("model_imported", "m", {"from": "https://h.example/m.bin"}),
        ("model_imported", "x", {"from": "gatehouse@x"}),
        ("model_deleted", "mine", {"from": "mine"}),
        ("model_deleted", "owner/other", {"from": "owner/other"}),
    ]
    assert {each.actor_name for each in lines} == {"alice@example.org"}


def test_a_backend_that_no_row_can_name_is_refused_at_once(as_alice, home):
    answer = as_alice.post("/models/apply", {"url": "hf:o/n", "backend": "x" * 51})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "backend")


@pytest.mark.parametrize("path", ["/models/import", "/models/apply", "/models/import-uri"])
@pytest.mark.parametrize("body", ['{"a":' * 900 + "1" + "}" * 900, '{"name":"a\\u0000"}'])
def test_r10_what_is_nested_past_reason_is_400(as_alice, home, path, body):
    answer = as_alice.client.generic(
        "POST", path, data=body, content_type="application/json", headers=as_alice.headers
    )
    assert answer.status_code == 400


def test_no_alias_takes_the_name_of_a_configured_model_that_is_to_come(
    as_alice, home, server, settings, folder
):
    changed = {"models": [next(iter(built_in_gallery()))]}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=changed)
    (coming,) = settings.GATEHOUSE.local_models
    for answer in (
        yaml_to(as_alice, f"name: mine\naliases: [{coming}]"),
        as_alice.post(
            "/models/apply", {"name": "own", "files": [file_at(server)], "aliases": [coming]}
        ),
    ):
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "aliases")


def test_no_alias_takes_the_name_of_a_model_that_is_being_installed(as_alice, home, folder):
    """It would be fetched in vain; once that has ended the name is free."""
    finished(yaml_to(as_alice, "name: mine"))
    job = as_alice.post("/models/apply", {"url": "hf:o/n"}).json()["uuid"]

    refused = as_alice("PATCH", "/api/models/config-json/mine", {"aliases": ["o/n"]})

    assert (refused.status_code, refused.json()["error"]) == (
        400,
        "aliases: o/n is a model that is being installed already",
    )
    operations.cancel(job)
    free = as_alice("PATCH", "/api/models/config-json/mine", {"aliases": ["o/n"]})
    assert free.status_code == 200


def test_a_folder_that_takes_no_file_of_ours_is_taken_as_it_is(as_alice, home, folder):
    """A disk that is only read is no reason to refuse what is on it."""
    (folder / MANIFEST).mkdir()

    job = finished(yaml_to(as_alice, "name: mine"))

    assert (job.state, Model.objects.get().name) == (OperationState.DONE, "mine")


def test_a_model_whose_name_is_somebodys_alias_is_not_installed(home, server):
    file = file_at(server)
    run(name="own", files=[file])
    ModelAlias.objects.create(name="other", model_id="own")

    job = run(name="other", files=[file])

    assert (job.state, job.message) == (
        OperationState.FAILED, "other is an alias of own already.",
    )  # fmt: skip
    assert not (home / "other").exists()


def test_a_hostile_archive_brings_no_configuration_of_its_own(home, server):
    body = b"name: own\npinned: true\n"
    run(name="own", files=[file_at(server, body, CONFIGURATION)])

    assert not Model.objects.get().pinned
    assert "pinned: false" in (home / "own" / CONFIGURATION).read_text()


def test_the_listing_has_the_size_on_disk(as_alice, home, django_assert_num_queries):
    """GET /api/models: size on disk of what is installed, in the same number of queries."""
    entry = next(iter(built_in_gallery().values()))
    Model.objects.create(
        name=entry.name, source="x", backend="vllm-cpu", directory="/x", size_bytes=2048
    )

    rows = as_alice.get("/api/models?items=100").json()["models"]

    sizes = {row["name"]: row.get("size_on_disk") for row in rows}
    assert sizes.pop(entry.name) == 2048
    assert set(sizes.values()) == {None}
    assert json.dumps(rows)
