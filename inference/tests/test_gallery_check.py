"""`manage.py checkgallery` against a hub on loopback (R-32)."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from core.tests.hostile_server import says
from inference.gallery_schema import read_entries

GALLERY = """# kept as it is
- name: one
  license: MIT
  files: [{filename: ., uri: "hf:o/one"}]
# between
- name: two
  checked: {date: 2020-01-01, size: 5}
  files: [{filename: ., uri: "hf:o/two"}]
- name: local
  files: [{filename: x, uri: "file:x"}]
"""


def serve(server, name, *, weights="model.safetensors", licence="mit"):
    siblings = [{"rfilename": n, "size": 1000} for n in (weights, "config.json", "README.md")]
    listing = {"sha": "abc", "siblings": siblings, "cardData": {"license": licence}}
    config = {"text_config": {"max_position_embeddings": 4096}}
    server.serve |= {
        f"/api/models/o/{name}/revision/main?blobs=true": says(200, json.dumps(listing).encode()),
        f"/o/{name}/resolve/abc/config.json": says(200, json.dumps(config).encode()),
    }


def check(path, *more):
    out = StringIO()
    try:
        call_command("checkgallery", str(path), *more, stdout=out)
    finally:
        check.said = out.getvalue()
    return check.said


def test_r32_what_was_seen_is_said_and_written_down(home, server, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(GALLERY)
    serve(server, "one")
    serve(server, "two", licence="apache-2.0")

    said = check(path, "--write")

    assert "one: 2.0 KiB, context 4096, licence mit" in said
    assert "local: not of the hub" in said
    one, two, local = read_entries(path.read_text(), called="own")
    today = timezone.now().date().isoformat()
    assert one.checked.model_dump() == {
        "date": today,
        "size": 2000,
        "context": 4096,
        "license": "mit",
    }
    assert two.checked.license == "apache-2.0"
    assert local.checked is None
    kept = [line for line in path.read_text().splitlines() if "checked" not in line]
    assert kept == [line for line in GALLERY.splitlines() if "checked" not in line]


def test_without_write_the_file_stays(home, server, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(GALLERY)
    serve(server, "one", licence="gpl-3.0")

    assert "(the gallery says MIT)" in check(path, "--only", "one")
    assert path.read_text() == GALLERY


def test_what_is_gone_or_holds_pickles_only_is_an_error(home, server, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(GALLERY)
    serve(server, "two", weights="pytorch_model.bin")

    with pytest.raises(CommandError, match="2 of 3"):
        check(path)

    assert "one: The hub has no o/one at main." in check.said
    assert "two: The repository holds no safetensors" in check.said


@pytest.mark.parametrize(
    "text", ['- {name: one, files: [{filename: ., uri: "hf:o/one"}]}\n', "- nonsense\n"]
)
def test_a_file_that_would_not_survive_is_not_written(home, server, tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    serve(server, "one")

    with pytest.raises(CommandError, match=r"own\.yaml, line 1"):
        check(path, "--write")

    assert path.read_text() == text
