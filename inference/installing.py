"""Installing a backend: what an operation's child process does; models are in `model_install`.

Each step leaves either nothing or a whole result, so that an interrupted one is simply done again
(R-16); pip's own cache keeps what was downloaded.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from core.bootstrap import explain_pip
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
