"""Other gateways in front of the same stub engine, each in an environment of its own under `.bench/`.

None of them records anything here; the product does. What cannot be installed is said, not left out.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.pairs import alternate, median, ratio
from bench.processes import MEASURED, ROOT, Process, free_port, load, wait_for

FOLDER = ROOT / ".bench"
KEY = "sk-0123456789abcdef0123456789abcdef"
CHAT = "/v1/chat/completions"
WANTED = {"LiteLLM": 25.0, "Portkey": 5.0, "vllm-router": 0.4, "nginx": 0.0}


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


def measure(
    engine: str, ours_rps: float, ours: Callable[[], dict[str, Any]], n_pairs: int
) -> list[str]:
    """Each peer against the product at 32 connections, in interleaved pairs."""
    lines = [
        "",
        "### Peers, 32 connections",
        "",
        "| peer | req/s | p50 ms | product, same minutes | product/peer | to reach | |",
        "|---|---|---|---|---|---|---|",
    ]
    starters = {"LiteLLM": litellm, "Portkey": portkey, "vllm-router": vllm_router, "nginx": nginx}
    FOLDER.mkdir(exist_ok=True)
    for name, start in starters.items():
        try:
            lines.append(_measured(name, start, engine, ours, n_pairs))
        except (OSError, subprocess.CalledProcessError, RuntimeError) as exc:
            lines.append(
                f"| {name} | could not be measured: {type(exc).__name__} | | {ours_rps:,.0f} | | | |"
            )
    return lines


def _measured(
    name: str,
    start: Callable[[str, int], Process],
    engine: str,
    ours: Callable[[], dict[str, Any]],
    n_pairs: int,
) -> str:
    port = free_port()
    process = start(engine, port)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/", 90)
        more = [
            "--key",
            KEY,
            "--header",
            "x-portkey-provider: openai",
            "--header",
            f"x-portkey-custom-host: {engine}/v1",
        ]
        theirs = partial(load, f"{url}{CHAT}", 32, 3, *more)
        theirs()
        mine, other = alternate(ours, theirs, n_pairs)
    finally:
        process.stop()
    share, wanted = ratio(mine, other, "rps"), WANTED[name]
    met = ("met" if share.low >= wanted else "**not met**") if wanted else ""
    cells = [
        name,
        f"{median(other, 'rps'):,.0f}",
        f"{median(other, 'p50_ms'):.2f}",
        f"{median(mine, 'rps'):,.0f}",
    ]
    return (
        "| "
        + " | ".join([*cells, str(share), f"{wanted:g}" if wanted else "shown only", met])
        + " |"
    )
