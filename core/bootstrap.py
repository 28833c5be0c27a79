"""Make the web environment, before anything of ours can be imported.

Run by make with the system's Python: `python3.11 core/bootstrap.py requirements.txt`. Standard
library only. Everything goes into `.venv` of the checkout; the system's Python is left alone. What
goes wrong is said in one line, with what to do, and exit 1.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
WANTED = (3, 11)
_UNREACHABLE = re.compile(
    "NewConnectionError|NameResolution|timed out|Max retries|ConnectionError|Connection refused"
)


def stop(line: str) -> None:
    sys.stderr.write(f"gatehouse: {line}\n")
    sys.exit(1)


def explain_pip(output: str) -> str:
    """pip's last words as one line for people: what is wrong, and what to do."""
    if "No space left on device" in output:
        return "the disk is full; free some space and start again, it goes on where it stopped"
    if "Permission denied" in output:
        return "a folder cannot be written; check who owns it and start again"
    if _UNREACHABLE.search(output):
        return "the package registry cannot be reached; check the network and start again"
    if "DO NOT MATCH THE HASHES" in output:
        return "a package differs from the one that was pinned; nothing of it was installed"
    errors = [line for line in output.splitlines() if line.startswith("ERROR:")]
    return errors[-1].removeprefix("ERROR: ")[:300] if errors else "the installer stopped"


def install(requirements: Path) -> None:
    """Install the pinned packages, with a line a second on what is under way."""
    command = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
    command += ["--no-input", "--progress-bar", "off", "--require-hashes", "-r", str(requirements)]
    total = len(re.findall(r"^[a-z0-9]", requirements.read_text(), re.MULTILINE))
    seen, said_at, output = 0, 0.0, []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None  # noqa: S101
        for line in process.stdout:
            output.append(line)
            if line.startswith("Collecting "):
                seen += 1
            if time.monotonic() - said_at > 1:
                said_at = time.monotonic()
                sys.stdout.write(f"  web environment: {min(seen, total)} of {total} packages\n")
                sys.stdout.flush()
    if process.returncode:
        stop(explain_pip("".join(output)))


def main(name: str) -> None:
    requirements = ROOT / name
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = VENV / f"installed-{requirements.stem}"
    if stamp.exists() and stamp.read_text() == digest:
        return
    if sys.version_info[:2] != WANTED:
        found = ".".join(map(str, sys.version_info[:3]))
        stop(f"needs Python 3.11 (this is {found}); install it, or say PYTHON=/path/to/python3.11")
    if not os.access(ROOT, os.W_OK):
        stop(f"no permission to write in {ROOT.name}; check who owns this folder")
    if shutil.disk_usage(ROOT).free < 300 * 1024 * 1024:
        stop("the disk is full; free about 500 MB and run the same command again")
    sys.stdout.write("Making the web environment in .venv\n")
    try:
        if not (VENV / "bin" / "pip").exists():  # the last thing that making one writes
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        install(requirements)
        stamp.write_text(digest)
    except subprocess.CalledProcessError:
        stop("the virtual environment cannot be made; on Debian, install python3.11-venv")
    except OSError as exc:
        full = exc.errno == 28
        stop("the disk is full; free some space" if full else f"cannot write .venv: {exc.strerror}")


if __name__ == "__main__":
    main(sys.argv[1])
