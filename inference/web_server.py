"""How the web processes are started: gunicorn with uvicorn workers (design.md, "Processes")."""

import os
import sys

from accounts.runtime import env

GRACEFUL_S = 30


def gunicorn_command(*, fd: int | None = None) -> list[str]:
    """The argument list of the web processes; `fd` is a socket that is listening already."""
    host, port = env().listen
    bind = f"fd://{fd}" if fd is not None else f"{f'[{host}]' if ':' in host else host}:{port}"
    workers = env().web_workers or os.cpu_count() or 1
    in_json = ["--logger-class", "inference.web_log.JsonLogger"]
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "localai_project.asgi:application",
        "--worker-class",
        "inference.web_worker.Worker",
        "--workers",
        str(workers),
        "--bind",
        bind,
        "--graceful-timeout",
        str(GRACEFUL_S),
        "--timeout",
        "60",
        "--keep-alive",
        "75",
        "--log-level",
        "warning",
        "--worker-tmp-dir",
        str(env().data_path / "state"),
        *(in_json if env().log_format == "json" else []),
    ]
