"""Scripts and fonts of others: every file is the one that was pinned, and no other lies there."""

from pathlib import Path

import pytest

from core.vendored import MANIFEST, checksum, faults, read_manifest
from tests.servers import ROOT

MANIFESTS = [MANIFEST, ROOT / "tests" / "browser" / "vendor" / "manifest.json"]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: each.parent.parent.name)
def test_every_file_is_the_pinned_one(manifest):
    assert faults(manifest) == []


def test_each_package_brings_its_licence():
    named = (ROOT / "static" / "LICENSES.md").read_text()
    for package in read_manifest()["packages"]:
        assert package["version"]
        assert package["licence"]
        assert any(each["file"].startswith("licences/") for each in package["files"])
        assert package["name"] in named


def test_a_changed_a_missing_and_a_foreign_file_are_found(tmp_path: Path):
    manifest = tmp_path / "manifest.json"
    good = checksum(b"x")
    files = "".join(
        f'{{"from": "{n}", "file": "{n}", "sha256": "{good}"}},' for n in ("a.js", "b.js", "c.js")
    )
    manifest.write_text(
        f'{{"packages": [{{"name": "p", "version": "1", "files": [{files[:-1]}]}}]}}'
    )
    (tmp_path / "a.js").write_bytes(b"x")
    (tmp_path / "b.js").write_bytes(b"y")
    (tmp_path / "d.js").write_bytes(b"x")

    assert faults(manifest) == [
        "d.js is not in the manifest",
        "c.js is missing",
        "b.js is not the one that was pinned",
    ]
