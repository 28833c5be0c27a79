"""Importing models by an address: a repository, a page, files, or a configuration (R-17)."""

import pytest

from accounts.models import AuditRecord
from core.tests.hostile_server import says
from inference import operations
from inference.models import ModelAlias, OperationState
from inference.tests.installs import file_at, finish

pytestmark = pytest.mark.django_db


def finished(answer):
    assert answer.status_code == 200, answer.content
    return finish(operations.find(answer.json()["uuid"]))


@pytest.mark.parametrize(
    ("uri", "preferences", "means"),
    [
        ("hf:o/n", None, ("o/n", "hf:o/n")),
        ("huggingface://o/n", {}, ("o/n", "huggingface://o/n")),
        ("https://huggingface.co/o/n", {"name": "mine"}, ("mine", "hf:o/n")),
        ("https://huggingface.co/o/n/", {"backend": ""}, ("o/n", "hf:o/n")),
        ("https://example.org/m.bin", {"name": "m", "backend": "other"}, ("m", None)),
    ],
)
def test_r17_an_address_is_imported(as_alice, home, uri, preferences, means):
    """POST /models/import-uri."""
    answer = as_alice.post("/models/import-uri", {"uri": uri, "preferences": preferences})

    assert answer.status_code == 200, answer.content
    assert set(answer.json()) == {"uuid", "status"}
    job = operations.find(answer.json()["uuid"])
    name, file = means
    assert job.target == name
    assert job.details["entry"]["files"][0]["uri"] == (file or uri)
    assert job.details["entry"].get("backend", "vllm") == (
        (preferences or {}).get("backend") or "vllm"
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "uri is required"),
        ({"uri": " "}, "uri is required"),
        ({"uri": 3}, "uri is required"),
        ({"uri": "hf:o/n", "preferences": []}, None),
        ({"uri": "hf:o/n", "preferences": [1]}, "preferences has to be an object"),
        ({"uri": "hf:o/n", "preferences": {"quantization": "q4"}}, "preferences take"),
        ({"uri": "hf:o/n", "preferences": {"name": 1}}, "are texts"),
        ({"uri": "hf:o/n", "more": 1}, "unknown key more"),
        ({"uri": "https://example.org/m.bin"}, "name is required"),
        ({"uri": "ollama://x", "preferences": {"name": "x"}}, "ollama"),
    ],
)
def test_r17_what_is_no_address_is_400(as_alice, home, body, said):
    answer = as_alice.post("/models/import-uri", body)
    if said is None:
        assert answer.status_code == 200
        return
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


CONFIGURED = b"name: mine\ndescription: from elsewhere\nsource: hf:o/n\npinned: true\n"


def test_r17_the_address_of_a_configuration_is_read(as_alice, home, server):
    """POST /models/import-uri of a YAML file."""
    server.serve["/m.yaml?x=1"] = says(200, CONFIGURED)
    given = {"uri": f"{server.url}/m.yaml?x=1", "preferences": {"name": "other"}}

    job = operations.find(as_alice.post("/models/import-uri", given).json()["uuid"])

    assert (job.target, job.details["configuration"]["pinned"]) == ("other", True)
    assert job.details["entry"]["files"][0]["uri"] == "hf:o/n"
    assert AuditRecord.objects.get(action="model_imported").after == {
        "from": "hf:o/n",
        "description": "from elsewhere",
        "pinned": True,
    }


def test_r07_a_configuration_in_a_file_is_read_from_below_the_models_path(as_alice, home, tmp_path):
    (home / "drop").mkdir()
    (home / "drop" / "m.yaml").write_bytes(CONFIGURED)
    (tmp_path / "secret.yaml").write_bytes(CONFIGURED)
    (home / "drop" / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    assert as_alice.post("/models/import-uri", {"uri": "file:drop/m.yaml"}).status_code == 200
    for uri in (f"file://{tmp_path}/secret.yaml", "file:drop/link.yaml", "file:drop/none.yaml"):
        refused = as_alice.post("/models/import-uri", {"uri": uri})
        assert refused.status_code == 400
        assert str(tmp_path) not in refused.content.decode()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"name: mine\nsize: 1", "uri: line 2: size"),
        (b"\xff\xfe", "it is not text"),
        (b"x" * 300_000, "larger than"),
        (None, "404"),
    ],
)
def test_r17_a_bad_configuration_elsewhere_is_400(as_alice, home, server, body, said):
    if body is not None:
        server.serve["/m.yaml"] = says(200, body)
    answer = as_alice.post("/models/import-uri", {"uri": f"{server.url}/m.yaml"})

    assert answer.status_code == 400
    assert said.removeprefix("uri: ") in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "[::1]"])
def test_r06_no_configuration_is_fetched_from_inside(as_alice, home, host):
    answer = as_alice.post("/models/import-uri", {"uri": f"http://{host}/m.yaml"})
    assert answer.status_code == 400


def test_a_model_gets_its_aliases_with_its_installation(as_alice, home, server):
    """POST /models/apply with aliases."""
    given = {"name": "own", "files": [file_at(server)], "aliases": ["b", "a"]}
    assert finished(as_alice.post("/models/apply", given)).state == OperationState.DONE
    assert sorted(ModelAlias.objects.values_list("name", flat=True)) == ["a", "b"]

    for aliases in (["own"], ["other"], ["x y"], "a", ["a"]):
        wrong = {"name": "other", "files": [file_at(server)], "aliases": aliases}
        answer = as_alice.post("/models/apply", wrong)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "aliases")
    again = as_alice.post("/models/apply", {**given, "aliases": ["c"]})
    assert again.status_code == 400


def test_r07_a_file_that_cannot_be_read_is_400(as_alice, home, monkeypatch):
    (home / "m.yaml").write_bytes(CONFIGURED)

    def locked(*_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", locked)
    answer = as_alice.post("/models/import-uri", {"uri": "file:m.yaml"})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "uri")
    assert str(home) not in answer.content.decode()
