"""Every model with its engine, and the machine below them, as of this moment (R-29).

The endpoints and the System page tell the same: both ask here.
"""

import asyncio
import socket
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone
from prometheus_client import Metric

from accounts.api.shapes import timestamp
from accounts.runtime import env
from core import metric_files
from inference.api.adapter import remote_engines
from inference.engine_facts import Facts, facts_of, together
from inference.machine import resources
from inference.models import Engine, EngineState, Model
from inference.remote_engines import RemoteEngine

REMOTE_LIMIT_S = 5.0


def resources_now() -> dict[str, Any]:
    """Processors, memory, GPUs, and the disks that hold our folders."""
    folders = {
        "data": env().data_path,
        "models": env().models_path,
        "backends": env().backends_path,
    }
    return resources(folders, models=env().models_path)


def engines_now(remote_limit_s: float = REMOTE_LIMIT_S) -> list[dict[str, Any]]:
    """The rows of `GET /api/engines`, in two queries.

    A remote engine that has not answered within `remote_limit_s` is told as one that does not serve.
    """
    rows = list(Model.objects.prefetch_related("engines").order_by("name"))
    facts = facts_of(engine for row in rows for engine in row.engines.all())
    in_line = _in_line()
    engines = [_listed(row, facts, in_line.get(row.name, 0)) for row in rows]
    if env().engine_items:
        engines += asyncio.run(_remote_engines(in_line, remote_limit_s))
    return engines


def _listed(row: Model, known: dict[int, Facts], in_line: int) -> dict[str, Any]:
    """One model: its engines together, and each of them where there are several."""
    engine, each = row.engine, list(row.engines.all())
    facts = together(known[one.pk] for one in each)
    memory = facts.memory if facts else None
    waiting = in_line + (facts.waiting or 0) if facts else in_line
    serves = engine is not None and engine.state in {EngineState.READY, EngineState.DRAINING}
    return {
        "model": row.name,
        "backend": row.backend,
        "state": engine.state if engine else EngineState.STOPPED.value,
        "message": engine.message if engine else "",
        "host": socket.gethostname(),
        "running": facts.running if facts else None,
        "waiting": waiting,
        "tokens_per_second": facts.tokens_per_s if facts else None,
        "kv_cache_usage": facts.kv_use if facts else None,
        "memory": {
            "total": memory.total if memory else 0,
            "gpu": memory.gpu if memory else 0,
            "breakdown": memory.breakdown if memory else {},
        },
        "uptime_seconds": _age(engine.ready_at) if engine and serves else None,
        "restarts": engine.tries if engine else 0,
        "started_at": timestamp(engine.started_at) if engine else None,
        "next_try_at": timestamp(engine.next_try_at) if engine else None,
        "replicas": [_replica(one, known[one.pk]) for one in each] if len(each) > 1 else [],
    }


def _replica(engine: Engine, facts: Facts) -> dict[str, Any]:
    return {
        "replica": engine.replica,
        "state": engine.state,
        "message": engine.message,
        "running": facts.running,
        "waiting": facts.waiting,
        "memory": facts.memory.total + facts.memory.gpu,
        "restarts": engine.tries,
    }


async def _remote_engines(in_line: dict[str, int], limit_s: float) -> list[dict[str, Any]]:
    """The models of LOCALAI_ENGINES; all are asked at the same time."""
    remote = remote_engines()
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(engine.ask() for engine in remote)), limit_s)
        return [
            {
                "model": target.name,
                "backend": "remote",
                "state": "ready" if target.state == "ready" else "waiting",
                "message": target.message,
                "host": _host_of(engine),
                **dict.fromkeys(("running", "tokens_per_second", "kv_cache_usage")),
                "waiting": in_line.pop(target.name, 0),  # told once of several addresses
                "memory": {"total": 0, "gpu": 0, "breakdown": {}},
                "restarts": 0,
                "replicas": [],
                **dict.fromkeys(("uptime_seconds", "started_at", "next_try_at")),
            }
            for engine in remote
            for target in engine.targets
        ]
    finally:
        for engine in remote:
            engine.close()


def _host_of(engine: RemoteEngine) -> str:
    """Without what an address may hold besides, such as a password."""
    parts = urlsplit(engine.url)
    name = parts.hostname or socket.gethostname()
    return f"{name}:{parts.port}" if parts.port else name


def _age(moment: datetime | None) -> int | None:
    return None if moment is None else max(0, int((timezone.now() - moment).total_seconds()))


def _in_line() -> dict[str, int]:
    """How many requests wait for a place at each engine, over all web workers of this machine."""
    counted: list[Metric] = metric_files.collect(env().data_path / "metrics")
    return {
        sample.labels["engine"]: int(sample.value)
        for family in counted
        if family.name == "gatehouse_waiting_requests"
        for sample in family.samples
    }
