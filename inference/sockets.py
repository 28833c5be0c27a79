"""Where engines listen: Unix sockets in a folder that only we may enter."""

import hashlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_PATH_BYTES = 107  # sun_path of Linux, without its final zero
LONGEST_NAME = "tmp/" + "0" * 36  # vLLM's own, in its temporary folder there: a UUID
At = Path | int  # where an engine listens: a Unix socket, or a loopback port
MAX_METRICS_BYTES = 8 * 1024 * 1024


class SocketFolderError(Exception):
    """The folder for sockets belongs to somebody else."""


def socket_folder(data_path: Path) -> Path:
    """`engines/` in the data path, 0700; a short private folder elsewhere where that is too long."""
    folder = data_path / "engines"
    if len(os.fsencode(folder / LONGEST_NAME)) > MAX_PATH_BYTES:
        mark = hashlib.sha256(os.fsencode(data_path.resolve())).hexdigest()[:8]
        folder = Path(tempfile.gettempdir()) / f"gatehouse-{os.getuid()}-{mark}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if found.st_uid != os.getuid():
        raise SocketFolderError(f"{folder} belongs to another user")
    folder.chmod(0o700)
    return folder


def socket_for(name: str, data_path: Path, replica: int = 0) -> Path:
    """Where an engine of the model listens; no name holds the zero that sets replicas apart."""
    one = f"{name}\0{replica}" if replica else name
    return socket_folder(data_path) / f"{hashlib.sha256(one.encode()).hexdigest()[:8]}.sock"


def free_port() -> int:
    """A loopback port that nobody listens on, for an engine that takes no Unix socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def address_of(at: At) -> str:
    """As the engine's row and the workers have it."""
    return f"http://127.0.0.1:{at}" if isinstance(at, int) else f"unix:{at}"


def place_of(address: str) -> At:
    """The other way round, for engines of this machine."""
    if address.startswith("unix:"):
        return Path(address.removeprefix("unix:"))
    return int(address.rpartition(":")[2])


@contextmanager
def _connected(at: At, timeout_s: float) -> Iterator[socket.socket]:
    family, place = (
        (socket.AF_INET, ("127.0.0.1", at)) if isinstance(at, int) else (socket.AF_UNIX, str(at))
    )
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(place)
        yield connection


def answers(path: At, health: str, *, timeout_s: float) -> bool:
    """Whether an HTTP server there says 200 to `health`."""
    request = f"GET {health} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n".encode()
    try:
        with _connected(path, timeout_s) as connection:
            connection.sendall(request)
            return connection.recv(64).startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
    except OSError:
        return False


def read_metrics(path: At, *, timeout_s: float) -> dict[str, float] | None:
    """The metrics that an engine's `/metrics` has, each summed over its labels; None where it does
    not answer in time.
    """
    text = _ask_metrics(path, timeout_s)
    if text is None:
        return None
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, rest = line.partition("{") if "{" in line else line.partition(" ")
        if not name.startswith("#") and rest:
            try:
                found[name.strip()] = found.get(name.strip(), 0.0) + float(line.split()[-1])
            except ValueError:  # no metric, as the sizes of chunks are none
                continue
    return found


def _ask_metrics(path: At, timeout_s: float) -> str | None:
    """The page as text; an engine gets `timeout_s` for all of it."""
    request = b"GET /metrics HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n"
    parts: list[bytes] = []
    n_bytes, deadline = 0, time.monotonic() + timeout_s
    try:
        with _connected(path, timeout_s) as connection:
            connection.sendall(request)
            while piece := connection.recv(65536):
                parts.append(piece)
                n_bytes += len(piece)
                if n_bytes > MAX_METRICS_BYTES or (left_s := deadline - time.monotonic()) <= 0:
                    return None
                connection.settimeout(left_s)
    except OSError:
        return None
    return b"".join(parts).partition(b"\r\n\r\n")[2].decode(errors="replace")
