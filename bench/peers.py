"""Other gateways in front of the same stub engine, each in an environment of its own under `.bench/`.

None of them records anything here; the product does. What cannot be installed is said, not left out.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import MEASURED, ROOT, Process, free_port, wait_for

FOLDER = ROOT / ".bench"
KEY = "sk-0123456789abcdef0123456789abcdef"


def environment(name: str, *packages: str) -> Path:
    """The Python of a virtual environment with `packages`."""
    python = FOLDER / name / "bin" / "python"
    if not (FOLDER / name / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER / name)], check=True)
        command = [str(python), "-m", "pip", "install", "-q", *packages]
        subprocess.run(command, check=True, capture_output=True)
        (FOLDER / name / "done").touch()
    return python


def litellm(engine: str, port: int) -> Process:
    python = environment("litellm", "litellm[proxy]==1.105.0")
    config = FOLDER / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: m\n    litellm_params:\n      model: openai/m\n"
        f"      api_base: {engine}/v1\n      api_key: x\ngeneral_settings:\n  master_key: {KEY}\n"
    )
    program = str(python.parent / "litellm")
    return Process(
        [
            program,
            "--config",
            str(config),
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
            "--num_workers",
            "1",
        ],
        core=MEASURED,
    )


def portkey(_engine: str, port: int) -> Process:
    folder = FOLDER / "portkey"
    if not (folder / "node_modules").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            "npm",
            "install",
            "--silent",
            "--prefix",
            str(folder),
            "@portkey-ai/gateway@1.15.2",
        ]
        subprocess.run(command, check=True, capture_output=True)
    program = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    settings = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    return Process(
        ["node", str(program), f"--port={port}", "--headless"], core=MEASURED, **settings
    )


def vllm_router(engine: str, port: int) -> Process:
    python = environment(
        "router",
        "vllm-router==0.1.17",
        "setproctitle",
        "orjson",
        "uvicorn",
        "fastapi",
        "requests",
        "aiohttp",
    )
    arguments = ["--worker-urls", engine, "--host", "127.0.0.1", "--port", str(port)]
    return Process([str(python), "-m", "vllm_router.launch_router", *arguments], core=MEASURED)


def nginx(engine: str, port: int) -> Process:
    folder = FOLDER / "nginx"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = " ".join(
        f"{n}_temp_path {folder}/{n};" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/err;\n"
        "events { worker_connections 2048; }\n"
        f"http {{ access_log off; keepalive_requests 1000000; {temporary}\n"
        f" upstream e {{ server {engine.removeprefix('http://')}; keepalive 64; }}\n"
        f" server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://e; proxy_http_version 1.1; "
        'proxy_set_header Connection ""; } } }\n'
    )
    return Process(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], core=MEASURED)


STARTERS: dict[str, Callable[[str, int], Process]] = {
    "vllm-router": vllm_router,
    "Portkey": portkey,
    "LiteLLM": litellm,
    "nginx": nginx,
}


@contextmanager
def running(name: str, engine: str) -> Iterator[tuple[Process, str]]:
    """(process, address) of the gateway of that name in front of `engine`.

    Raises OSError or CalledProcessError where it cannot be installed or started.
    """
    FOLDER.mkdir(exist_ok=True)
    port = free_port()
    process = STARTERS[name](engine, port)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/", 90)
        yield process, url
    finally:
        process.stop()


def told(name: str, engine: str) -> list[str]:
    """What a load has to say to the gateway of that name, as options of `bench.load`."""
    if name != "Portkey":
        return ["--key", KEY]
    where = f"x-portkey-custom-host: {engine}/v1"
    return ["--key", KEY, "--header", "x-portkey-provider: openai", "--header", where]
