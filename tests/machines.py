"""Two machines of one installation: a database on loopback, and a Redis where one is asked for."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.postgresql import Cluster, free_port
from tests.servers import Server

SECRET = "one-secret-that-both-machines-share-as-they-have-to"


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis on loopback that answers, for as long as the block; its address."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server is installed on this machine")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            for _ in range(500):
                with suppress(redis.ConnectionError):
                    if client.ping():
                        break
                time.sleep(0.01)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)


@contextmanager
def two_machines(
    folder: Path, *, with_redis: bool, **settings: Any
) -> Iterator[tuple[Server, Server]]:
    """Two servers with a data path each on one database; `settings` are both's."""
    with ExitStack() as stack:
        cluster = Cluster(folder / "postgresql")
        stack.callback(cluster.stop)
        cluster.create("shared")
        settings |= {
            "LOCALAI_AUTH_DATABASE_URL": cluster.url("shared"),
            "LOCALAI_AUTH_HMAC_SECRET": SECRET,
            "LOCALAI_REGISTRATION_MODE": "open",
        }
        if with_redis:
            settings["LOCALAI_REDIS_URL"] = stack.enter_context(redis_server())
        made = []
        for name in ("one", "two"):
            path = folder / name
            path.mkdir()
            made.append(Server(path, web_only=True, make_admin=name == "one", **settings))
            stack.callback(made[-1].stop)
        time.sleep(1)  # both listen for each other's changes
        yield made[0], made[1]
