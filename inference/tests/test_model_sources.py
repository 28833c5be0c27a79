"""Models of a hub that may lie, and files of this machine (R-07, R-19)."""

import hashlib
import json

import pytest

from accounts.runtime import env
from core.gallery_list import GalleryAt
from core.tests.hostile_server import BODY, says
from inference.model_folders import CONFIGURATION, MANIFEST
from inference.models import Model, OperationState
from inference.tests.installs import file_at, files_in, is_untouched, run

pytestmark = pytest.mark.django_db


CHAT_CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"]}).encode()


# --- the hub ---------------------------------------------------------------------------------------


def hub_with(server, files, *, repository="o/n", lie=None):
    siblings = []
    for name, body in files.items():
        lfs = (
            {"sha256": hashlib.sha256(body).hexdigest()} if name.endswith(".safetensors") else None
        )
        siblings.append({"rfilename": name, "size": len(body), "lfs": lfs})
        server.serve[f"/{repository}/resolve/c0ffee/{name}"] = says(200, lie or body)
    listing = json.dumps({"sha": "c0ffee", "siblings": siblings}).encode()
    server.serve[f"/api/models/{repository}/revision/main?blobs=true"] = says(200, listing)


def test_r19_a_repository_of_the_hub_brings_what_is_needed_and_no_code(home, server, settings):
    settings.GATEHOUSE = env().model_copy(update={"hf_token": "hf_s3cret"})
    hub_with(
        server,
        {
            "config.json": CHAT_CONFIG,
            "model.safetensors": BODY,
            "tokenizer.json": b"{}",
            "1_Pooling/config.json": b"{}",
            "LICENSE": b"MIT",
            "pytorch_model.bin": b"pickle",
            "modeling_x.py": b"code",
            "consolidated.safetensors": BODY,
            "onnx/model.onnx": b"x",
            ".gitattributes": b"x",
            "../../evil.json": b"x",
        },
    )

    job = run(url="hf:o/n")

    assert job.state == OperationState.DONE, job.message
    assert files_in(home / "o--n") == [
        "1_Pooling/config.json", "LICENSE", "config.json", MANIFEST, CONFIGURATION, "model.safetensors", "tokenizer.json"
    ]  # fmt: skip
    row = Model.objects.get()
    assert (row.name, row.source) == ("o/n", "hf:o/n@c0ffee")
    assert row.capabilities == ["chat", "completions", "tokenize"]
    assert all("Authorization: Bearer hf_s3cret" in asked for asked in server.asked)


@pytest.mark.parametrize(
    ("files", "lie"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": BODY}, None),
        ({"config.json": b"{}", "model.safetensors": BODY}, BODY[:-1] + b"x"),
        ({"config.json": b"{}", "model.safetensors": BODY}, BODY + BODY),
    ],
    ids=["pickle", "checksum", "larger"],
)
def test_r19_a_hub_that_lies_leaves_nothing(home, server, files, lie):
    hub_with(server, files, lie=lie)

    assert run(url="hf:o/n").state == OperationState.FAILED
    assert is_untouched(home)


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"sha": "../x", "siblings": []}', b"no"])
def test_r19_a_hub_that_makes_no_sense_is_said_so(home, server, body):
    server.serve["/api/models/o/n/revision/main?blobs=true"] = says(200, body)

    job = run(url="hf:o/n")

    assert (job.state, job.message) == ("failed", "The hub's answer is not understood.")


# --- this machine ----------------------------------------------------------------------------------


def test_r07_a_folder_below_the_models_path_is_copied(home):
    (home / "drop" / "sub").mkdir(parents=True)
    (home / "drop" / "sub" / "x.json").write_text("{}")
    (home / "drop" / "model.safetensors").write_bytes(BODY)

    assert run(url="file:drop", name="own").state == OperationState.DONE
    assert files_in(home / "own") == [MANIFEST, CONFIGURATION, "model.safetensors", "sub/x.json"]
    assert run(url=f"file://{home}/drop/model.safetensors", name="two").state == OperationState.DONE
    assert files_in(home / "drop") == ["model.safetensors", "sub/x.json"]


def test_r07_what_lies_elsewhere_or_leads_there_is_refused(home):
    outside = home.parent / "outside"
    outside.mkdir()
    (outside / "x.bin").write_bytes(b"1")
    (home / "link").symlink_to(outside)
    (home / "drop").mkdir()
    (home / "drop" / "passwd").symlink_to("/etc/passwd")

    for url in ("file:///etc/passwd", f"file://{outside}/x.bin", "file:link/x.bin", "file:link",
                "file:drop", "file:drop/passwd", "file:missing", f"file://{home}"):  # fmt: skip
        job = run(url=url, name="own")
        assert job.state == OperationState.FAILED, url
        assert str(home) not in job.message
    assert not Model.objects.exists()
    assert not (home / "own").exists()


def test_r07_a_gallery_of_files_takes_them_from_its_own_folder_only(home, settings, tmp_path):
    shelf = tmp_path / "gallery"
    shelf.mkdir()
    (shelf / "weights.bin").write_bytes(BODY)
    (home / "other.bin").write_bytes(b"1")
    entry = "- {name: %s, files: [{filename: w.bin, uri: 'file:%s'}]}\n"
    (shelf / "models.yaml").write_text(
        entry % ("mine", "weights.bin") + entry % ("theirs", f"//{home}/other.bin")
    )
    listed = [GalleryAt(name="own", url=f"file://{shelf}")]
    settings.GATEHOUSE = env().model_copy(update={"galleries": listed})

    assert run(id="own@mine").state == OperationState.DONE
    assert run(id="own@theirs").state == OperationState.FAILED
    assert [row.name for row in Model.objects.all()] == ["mine"]


def test_a_folder_that_is_not_ours_is_never_replaced(home, server):
    (home / "own").mkdir()
    (home / "own" / "precious").write_text("x")

    job = run(name="own", files=[file_at(server)])

    assert job.state == OperationState.FAILED
    assert files_in(home) == ["own/precious"]
