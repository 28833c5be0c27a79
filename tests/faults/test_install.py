"""An interrupted installation resumes; what fails says what to do. On wheels of our own, no registry."""

import subprocess
import sys
import zipfile

import pytest

from core.bootstrap import explain_pip
from inference.installing import InstallError, install_backend
from inference.recipes import Recipe, Step


def wheel(folder, name):
    info = f"{name}-1.0.dist-info"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return str(path)


def recipe(*steps):
    return Recipe(
        name="small",
        description="",
        version="1",
        tags=(),
        hardware=("cpu",),
        install=steps,
        command=(),
        environment={},
        options={},
        health="/",
        digest="d",
    )


def modules(found, path, *names):
    code = "import " + ", ".join(names)
    return (
        subprocess.run([str(found.python(path)), "-c", code], capture_output=True).returncode == 0
    )


def test_a_backend_is_installed_step_by_step_with_progress(tmp_path):
    found = recipe(Step((wheel(tmp_path, "one"),)), Step((wheel(tmp_path, "two"),), no_deps=True))
    said = []

    install_backend(found, tmp_path / "b", lambda share, words, **_: said.append((share, words)))

    assert found.is_installed(tmp_path / "b")
    assert modules(found, tmp_path / "b", "one", "two")
    assert [share for share, _ in said] == sorted(share for share, _ in said)
    assert not [words for _, words in said if str(tmp_path) in words]


def test_an_interrupted_installation_goes_on_where_it_stopped(tmp_path):
    first = wheel(tmp_path, "one")
    broken = recipe(Step((first,)), Step((str(tmp_path / "two-1.0-py3-none-any.whl"),)))
    with pytest.raises(InstallError):
        install_backend(broken, tmp_path / "b", lambda *_, **__: None)
    (tmp_path / "one-1.0-py3-none-any.whl").unlink()  # would fail if it were asked for again
    wheel(tmp_path, "two")

    install_backend(broken, tmp_path / "b", lambda *_, **__: None)

    assert modules(broken, tmp_path / "b", "one", "two")


def test_an_environment_that_was_half_made_is_made_anew(tmp_path):
    found = recipe(Step((wheel(tmp_path, "one"),)))
    folder = found.folder(tmp_path / "b")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)

    install_backend(found, tmp_path / "b", lambda *_, **__: None)

    assert modules(found, tmp_path / "b", "one")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: Could not install: [Errno 13] Permission denied: '/x'", "cannot be written"),
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError'",
            "registry cannot be reached",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "differs from the one that was pinned"),
        ("", "the installer stopped"),
    ],
)
def test_what_stops_an_installation_is_said_in_one_line(output, words):
    line = explain_pip(output)

    assert words in line
    assert "\n" not in line


def test_a_registry_that_cannot_be_reached_ends_the_bootstrap_with_one_line(tmp_path):
    import os
    import shutil

    from tests.servers import ROOT

    (tmp_path / "core").mkdir()
    shutil.copy(ROOT / "core" / "bootstrap.py", tmp_path / "core")
    (tmp_path / "requirements.txt").write_text(
        "no-such-package-of-ours==1.0 --hash=sha256:" + "0" * 64 + "\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    environment |= {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }

    done = subprocess.run(
        [sys.executable, "core/bootstrap.py", "requirements.txt"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.returncode == 1
    assert (
        done.stderr
        == "gatehouse: the package registry cannot be reached; check the network and start again\n"
    )
