"""Models of the Hugging Face Hub (or a mirror that speaks as it does), through the hardened fetcher."""

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from accounts.runtime import env
from core.fetcher import Limits, NotThereError
from inference.fetching import fetcher
from inference.installing import InstallError, Report
from inference.model_sources import HubSource

MAX_FILES, MAX_BYTES = 2000, 4 * 1024**4
_LIST = Limits(max_bytes=8 * 1024 * 1024, read_s=20, total_s=60)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WEIGHTS = ".safetensors"
_BESIDE = {".json", ".txt", ".model", ".jinja", ".tiktoken"}  # no pickles, and no program code
_LICENSES = ("LICENSE", "LICENCE", "NOTICE")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository; `sha256` is empty where the hub does not say."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Repository:
    """What is in a repository at one commit, and what the hub says of its licence."""

    commit: str
    files: tuple[HubFile, ...]
    license: str


def look_up(source: HubSource) -> Repository:
    """Raises InstallError, FetchError."""
    url = f"{env().hf_endpoint.rstrip('/')}/api/models/{source.repository}"
    try:
        body = fetcher().read(
            f"{url}/revision/{source.revision}?blobs=true", limits=_LIST, headers=_token()
        )
        found = json.loads(body)
        files = tuple(_file(each) for each in found["siblings"])
        commit = str(found["sha"])
    except NotThereError as exc:
        raise InstallError(f"The hub has no {source.repository} at {source.revision}.") from exc
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as exc:
        raise InstallError("The hub's answer is not understood.") from exc
    if len(files) > MAX_FILES or not commit.isalnum():
        raise InstallError("The hub's answer is not understood.")
    card = found.get("cardData")
    license_name = str(card.get("license") or "") if isinstance(card, dict) else ""
    return Repository(commit, files, license_name[:200])


def chosen(repository: Repository) -> list[HubFile]:
    """What vLLM needs of it: safetensors, configuration, tokenizer. Raises InstallError."""
    sharded = any(
        f.name.startswith("model") and f.name.endswith(_WEIGHTS) for f in repository.files
    )
    wanted = [file for file in repository.files if _is_needed(file.name, sharded=sharded)]
    if not any(file.name.endswith(_WEIGHTS) for file in wanted):
        raise InstallError("The repository holds no safetensors; other formats may run code.")
    return wanted


def read_file(source: HubSource, commit: str, name: str, limits: Limits) -> bytes:
    """One small file of a repository. Raises FetchError."""
    return fetcher().read(f"{_base(source, commit)}/{name}", limits=limits, headers=_token())


def download(
    source: HubSource, fetched: Path, raw: Path, report: Report
) -> tuple[str, dict[str, str]]:
    """Every file that is needed into `raw`; the commit, and the files' checksums by name.

    Raises InstallError, FetchError, OSError.
    """
    repository = look_up(source)
    files = chosen(repository)
    total = sum(file.size for file in files)
    if total > shutil.disk_usage(raw).free:
        raise InstallError("The disk has no room for it. Free some space, then start again.")
    before = 0
    digests: dict[str, str] = {}
    base = _base(source, repository.commit)
    folder = fetched / repository.commit  # what another commit left is no part of this one
    for file in files:

        def counted(done: int, _total: int | None, *, at: int = before, of: HubFile = file) -> None:
            share = (at + done) / total if total else 0.0
            message = f"downloading {of.name}"
            report(int(2 + 86 * share), message, phase="downloading", done=at + done, total=total)

        arrived = folder / file.name
        if not arrived.exists():  # whole and checked, or not there
            fetcher().save(
                f"{base}/{file.name}",
                arrived,
                limits=Limits(max_bytes=min(file.size, MAX_BYTES) or MAX_BYTES),
                sha256=file.sha256,
                headers=_token(),
                report=counted,
            )
        digests[file.name] = file.sha256 or _sha256_of(arrived)
        before += file.size
    shutil.copytree(folder, raw, dirs_exist_ok=True, copy_function=shutil.move)
    return repository.commit, digests


def _base(source: HubSource, commit: str) -> str:
    return f"{env().hf_endpoint.rstrip('/')}/{source.repository}/resolve/{commit}"


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _token() -> dict[str, str]:
    return {"Authorization": f"Bearer {env().hf_token}"} if env().hf_token else {}


def _file(data: dict[str, Any]) -> HubFile:
    name = data["rfilename"]
    lfs = data.get("lfs") or {}
    path = PurePosixPath(name)
    odd = not name.isascii() or not name.isprintable() or set(name) & set("\\%?#: ")
    if odd or path.is_absolute() or ".." in path.parts or len(name) > 300:
        return HubFile("", 0, "")  # never needed, never asked for
    digest = str(lfs.get("sha256") or lfs.get("oid") or "")
    known = digest if _SHA256.fullmatch(digest) else ""
    return HubFile(name, max(0, int(data.get("size") or 0)), known)


def _is_needed(name: str, *, sharded: bool) -> bool:
    path = PurePosixPath(name)
    if not name or any(part.startswith(".") for part in path.parts):
        return False
    if path.suffix == _WEIGHTS:
        return len(path.parts) == 1 and not (sharded and name.startswith("consolidated"))
    if path.suffix in _BESIDE:
        return len(path.parts) <= 2 and path.parts[0] not in {"onnx", "openvino", "original"}
    return len(path.parts) == 1 and name.startswith(_LICENSES)
