"""Where engines listen: Unix sockets in a folder that only we may enter."""

import hashlib
import os
import socket
import tempfile
from pathlib import Path

MAX_PATH_BYTES = 107  # sun_path of Linux, without its final zero


class SocketFolderError(Exception):
    """The folder for sockets belongs to somebody else."""


def socket_folder(data_path: Path) -> Path:
    """`engines/` in the data path, 0700; a short private folder elsewhere where that is too long."""
    folder = data_path / "engines"
    if len(os.fsencode(folder / "12345678.sock")) > MAX_PATH_BYTES:
        mark = hashlib.sha256(os.fsencode(data_path.resolve())).hexdigest()[:8]
        folder = Path(tempfile.gettempdir()) / f"gatehouse-{os.getuid()}-{mark}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if found.st_uid != os.getuid():
        raise SocketFolderError(f"{folder} belongs to another user")
    folder.chmod(0o700)
    return folder


def socket_for(name: str, data_path: Path) -> Path:
    return socket_folder(data_path) / f"{hashlib.sha256(name.encode()).hexdigest()[:8]}.sock"


def answers(path: Path, health: str, *, timeout_s: float) -> bool:
    """Whether an HTTP server on that socket says 200 to `health`."""
    request = f"GET {health} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n".encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(request)
            return connection.recv(64).startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
    except OSError:
        return False


def read_metric(path: Path, name: str, *, timeout_s: float) -> float | None:
    """The sum of one metric of an engine's `/metrics`; None where it does not answer."""
    request = b"GET /metrics HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n"
    parts: list[bytes] = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(request)
            while piece := connection.recv(65536):
                parts.append(piece)
    except OSError:
        return None
    lines = b"".join(parts).decode(errors="replace").splitlines()
    wanted = (f"{name}{{", f"{name} ")
    return sum(float(line.split()[-1]) for line in lines if line.startswith(wanted))
