"""Installing a backend: what an operation's child process does; models are in `model_install`.

Each step leaves either nothing or a whole result, so that an interrupted one is simply done again
(R-16); pip's own cache keeps what was downloaded.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from core.bootstrap import explain_pip
from core.files import exclusive
from inference.hardware import host_environment
from inference.recipes import REQUIREMENTS, Recipe, Step

_WORK = re.compile(
    r"^(Collecting|Downloading|Using cached|Processing|Installing collected)\s+(\S+)"
)
# What pip may know of this machine: where to find packages, and how to get there; no secret of ours.
_FOR_PIP = re.compile(
    r"PATH|LANG|LC_\w+|HOME|USER|TMPDIR|XDG_\w+|PIP_\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE"
    r"|CURL_CA_BUNDLE|(?i:https?_proxy|no_proxy|all_proxy)|LD_LIBRARY_PATH"
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


def tool_environment() -> dict[str, str]:
    """The environment of programs that come from outside: none of this server's secrets."""
    return {k: v for k, v in host_environment().items() if _FOR_PIP.fullmatch(k)}


def run_pip(python: Path, arguments: list[str], report: Callable[[str], None]) -> None:
    """One pip call in the environment of `python`. Raises InstallError with its last words."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    tail: list[str] = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        env=tool_environment(),
    ) as process:
        assert process.stdout is not None  # noqa: S101
        for line in process.stdout:
            tail = [*tail[-200:], line]
            if found := _WORK.match(line.strip()):
                report(found[2].rpartition("/")[2])
    if process.returncode:
        raise InstallError(explain_pip("".join(tail)))


def _arguments(step: Step, *, only_wheels: bool) -> list[str]:
    words = ["install", "--progress-bar", "off"]
    if step.no_deps:
        words.append("--no-deps")
    if only_wheels:
        words.append("--only-binary=:all:")  # a source package would run its own code here
    return words


def install_backend(
    recipe: Recipe,
    backends_path: Path,
    report: Report,
    *,
    note: dict[str, Any] | None = None,
    made_by: str = "",
    only_wheels: bool = False,
) -> None:
    """Make the environment of `recipe`; steps that were finished before are not done again.

    `note` is kept in it, `made_by` says whose it is until it is whole. Raises InstallError, OSError.
    """
    folder = recipe.folder(backends_path)
    if recipe.is_installed(backends_path):
        return
    report(1, "making an environment")
    with exclusive(folder.parent / ".lock"):  # another server may have the same backends path
        if not (folder / "bin" / "pip").exists():  # the last thing that making one writes
            _make_environment(folder, made_by)
        (folder / "making").write_text(made_by)
        for index, step in enumerate(recipe.install):
            mark = folder / f"step-{index}"
            if not mark.exists():
                counted = _counted(report, step, at=index, n_steps=len(recipe.install))
                _install_step(
                    recipe.python(backends_path), step, folder, counted, only_wheels=only_wheels
                )
                mark.touch()
        if note is not None:
            (folder / "backend.json").write_text(json.dumps(note))
        (folder / "installed").write_text(recipe.version)
        (folder / "making").unlink()


def _make_environment(folder: Path, made_by: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "making").write_text(made_by)  # before anything else: what is half-made has an owner
    made = subprocess.run(
        [sys.executable, "-m", "venv", str(folder)],
        env=tool_environment(),
        capture_output=True,
        check=False,
    )
    if made.returncode:
        raise InstallError(
            "A virtual environment cannot be made; on Debian, install python3.11-venv."
        )


def _counted(report: Report, step: Step, *, at: int, n_steps: int) -> Callable[[str], None]:
    """Progress by the packages that pip names; nobody knows before how many there are."""
    expected = 150 if step.requirements_file else 15
    seen = 0

    def counted(package: str) -> None:
        nonlocal seen
        seen += 1
        share = (at + min(seen / expected, 0.98)) / n_steps
        report(int(2 + 96 * share), f"step {at + 1} of {n_steps}: {package}", phase="installing")

    return counted


def _install_step(
    python: Path,
    step: Step,
    folder: Path,
    report: Callable[[str], None],
    *,
    only_wheels: bool = False,
) -> None:
    words = _arguments(step, only_wheels=only_wheels)
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
