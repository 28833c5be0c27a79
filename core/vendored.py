"""Scripts and fonts of others that we serve: fetched from the npm registry once, then committed.

    python -m core.vendored                          fetch what `static/vendor/manifest.json` lists
    python -m core.vendored --write                  the same, and write the checksums down anew
    python -m core.vendored tests/browser/vendor/manifest.json

A developer runs this after changing a version in a manifest. Neither the server nor the tests do:
`tests/test_vendored.py` holds the committed files to the manifest's checksums.
"""

import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

MANIFEST = Path(__file__).resolve().parent.parent / "static" / "vendor" / "manifest.json"
REGISTRY = "https://registry.npmjs.org"
MAX_BYTES = 100 * 1024 * 1024


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_manifest(path: Path = MANIFEST) -> dict[str, Any]:
    """`{"packages": [{name, version, licence, files: [{from, file, sha256}]}]}`."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def faults(path: Path = MANIFEST) -> list[str]:
    """What is wrong with the folder beside a manifest; empty where every file is as listed."""
    listed = {
        each["file"]: each["sha256"]
        for package in read_manifest(path)["packages"]
        for each in package["files"]
    }
    here = {
        str(file.relative_to(path.parent))
        for file in path.parent.rglob("*")
        if file.is_file() and file != path
    }
    wrong = [f"{name} is not in the manifest" for name in sorted(here - listed.keys())]
    wrong += [f"{name} is missing" for name in sorted(listed.keys() - here)]
    for name in sorted(here & listed.keys()):
        if checksum((path.parent / name).read_bytes()) != listed[name]:
            wrong.append(f"{name} is not the one that was pinned")
    return wrong


def _package(name: str, version: str) -> dict[str, bytes]:
    """The files of one version of an npm package, by their path in it."""
    address = f"{REGISTRY}/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
    with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310  # the registry's https
        content = answer.read(MAX_BYTES)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            if member.isfile() and (opened := archive.extractfile(member)) is not None:
                found[member.name.partition("/")[2]] = opened.read()
    return found


def fetch(path: Path, *, write: bool) -> None:
    """Put every listed file beside its manifest. Raises SystemExit where a checksum differs."""
    manifest = read_manifest(path)
    for package in manifest["packages"]:
        files = _package(package["name"], package["version"])
        for each in package["files"]:
            content = files[each["from"]]
            if write:
                each["sha256"] = checksum(content)
            elif each["sha256"] != checksum(content):
                raise SystemExit(f"gatehouse: {each['file']} is not the one that was pinned")
            target = path.parent / each["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        sys.stdout.write(f"{package['name']} {package['version']}\n")
    if write:
        path.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    given = [each for each in sys.argv[1:] if not each.startswith("--")]
    fetch(Path(given[0]).resolve() if given else MANIFEST, write="--write" in sys.argv)
