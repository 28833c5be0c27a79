"""The ASGI application: the lane in front of Django, and the lifespan that both need."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "localai_project.settings")

from django.core.asgi import get_asgi_application

_django = get_asgi_application()

from django.conf import settings
from django.db import OperationalError

from accounts.credentials import Kind, KnownPrincipals, Resolver
from accounts.csrf import own_netlocs
from accounts.lookup import load_principal, touch
from accounts.middleware import host_rules
from accounts.runtime import auth_mode, env, exemptions, generations, keyring, stored_settings
from accounts.runtime_settings import in_force
from accounts.runtime_settings.keeper import SettingsKeeper
from accounts.secret_versions import check_secrets
from chat.desk import desk
from core import garbage
from core.call import Receive, Scope, Send
from core.drf import DATABASE_BUSY
from core.errors import UnavailableError
from core.principal import Principal
from core.response_headers import OriginRules
from core.starting import Unreadable, once_readable
from core.trace import Tracing
from inference.api.adapter import remote_engines, want_model, with_database
from inference.api.lane_routes import lane_routes, socket_routes
from inference.busy_watchdog import BusyWatchdog
from inference.engine_limits import request_limit
from inference.engine_rows import local_targets
from inference.engine_table import MAX_WAITING, EngineTable, Target
from inference.lane import ASGIApp, Lane
from inference.runtime import Runtime
from inference.schema_version import check_schema
from inference.socket_door import SocketDoor
from inference.stored_responses import load as load_response
from inference.table_keeper import TableKeeper
from inference.worker_metrics import WorkerMetrics
from usage.drain import journal_folder
from usage.journal.writer import SEGMENT_BYTES, Journal
from usage.metering import Meter
from usage.metrics import unrecorded
from usage.quotas.keeper import TermsKeeper
from usage.quotas.limiter import Limiter, Terms
from usage.quotas.service import terms_in_force
from usage.quotas.store import lane_counters
from usage.traces.settings import terms_in_force as trace_terms_in_force

log = logging.getLogger("gatehouse.web")
SHARED_FOLDER = (
    "models/"  # `models/<name>` is the lane's; `models/jobs` and its like stand before it
)
TERMS_S = 10.0  # a start waits so long for rules and prices; then they come behind it
DATABASE_WAIT_S = 50.0  # gunicorn takes a worker for hung that says nothing for 60


class Worker:
    """What one web process holds, from the lifespan's start to its end."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lookup")
        self._follow: list[asyncio.Task[None]] = []
        workers = env().web_workers or os.cpu_count() or 1
        self._table = EngineTable(
            engines_key=env().engines_key,
            max_waiting=max(16, MAX_WAITING // workers),
            concurrency=env().engine_concurrency,
            workers=workers,
            by_user=env().fairness == "user",
        )
        self._keeper = TableKeeper(
            self._table,
            load=self._load_targets,
            generations=generations(),
            remote=remote_engines(),
        )
        self._metrics = WorkerMetrics(self._table)
        known = KnownPrincipals(
            self._load_principal, generations=generations(), keyring=keyring("session")
        )
        self._limiter = Limiter(
            lane_counters(),
            away=env().quota_when_away,
            currency=env().currency,
            spawn=self._spawn,
        )
        self._terms = TermsKeeper(self._limiter, load=self._load_terms, generations=generations())
        self._stored = stored_settings()
        self._settings = SettingsKeeper(
            self._stored, load=self._load_settings, apply=self._apply_settings
        )
        self._resolver = Resolver(auth_mode, known, keyring("session"), accounts=env().auth)
        self.runtime = Runtime(
            recall=self._recall,
            resolve=self._resolve,
            meter=_meter(workers),
            limiter=self._limiter,
            engines=self._table,
            load_stored=self._load_stored,
            want_model=lambda name: self.in_background(want_model, name),
            refresh_engines=self._keeper.refresh_if_moved,
            hosts=host_rules(),
            origins=OriginRules(),
            body_limit=env().upload_limit * 1024 * 1024,
            opaque_errors=env().opaque_errors,
            own_netlocs=own_netlocs(),
            exemptions=exemptions(),
            tracing=_tracing(),
        )

    async def _run(self, work: Any, *arguments: Any) -> Any:
        """Work that asks the database, in a thread of ours."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, with_database, work, *arguments)

    def in_background(self, work: Any, *arguments: Any) -> None:
        future = self._threads.submit(with_database, work, *arguments)
        future.add_done_callback(_log_failure)

    async def _ask(self, work: Any, *arguments: Any) -> Any:
        """The same for a request: a database that is away is the slow door's 503, not a fault of ours."""
        try:
            return await self._run(work, *arguments)
        except OperationalError as exc:
            raise UnavailableError(DATABASE_BUSY, retry_after_s=5) from exc

    async def _load_principal(self, kind: Kind, secret: str) -> Principal | None:
        found: Principal | None = await self._ask(load_principal, kind, secret)
        if found is not None and found.stale:
            self.in_background(touch, found)
        return found

    async def _load_targets(self) -> list[Target]:
        found: list[Target] = await self._run(local_targets, env().local_models)
        return found

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.runtime.spawn(work, name)

    async def _load_terms(self) -> Terms:
        found: Terms = await self._run(terms_in_force)
        return found

    def _recall(self, headers: dict[bytes, bytes]) -> Principal | None:
        """Who calls, where nothing has to be waited for: an API key that is known, as most requests have."""
        return None if self._stored.is_stale() else self._resolver.recall(headers)

    def _resolve(self, headers: dict[bytes, bytes]) -> Awaitable[Principal | None]:
        """Who calls, by the keys of this moment: a change of them is waited for, nothing else is."""
        if self._stored.is_stale():
            return self._resolve_late(headers)
        return self._resolver.resolve(headers)

    async def _resolve_late(self, headers: dict[bytes, bytes]) -> Principal | None:
        await self._settings.catch_up()
        return await self._resolver.resolve(headers)

    async def _load_settings(self) -> None:
        await self._run(stored_settings().refresh)

    def _apply_settings(self) -> None:
        self.runtime.origins = in_force.origin_rules()
        self.runtime.check_origin = in_force.checks_origin()
        self.runtime.meter.traces = trace_terms_in_force()

    async def _load_stored(self, response_id: str, user_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self._ask(load_response, response_id, user_id)
        return found

    async def start(self) -> None:
        with suppress(Exception):  # until they were read, callers get 503
            async with asyncio.timeout(TERMS_S):
                await self._settings.refresh()
        with suppress(Exception):  # an engine table that cannot be read yet is read again behind
            await self._keeper.refresh_local()
        with suppress(Exception):  # nobody is let past a quota before they were read once
            async with asyncio.timeout(TERMS_S):
                await self._terms.refresh()
        follow = (
            self._keeper.follow_local(),
            self._keeper.follow_remote(),
            self._settings.follow(),
            self._terms.follow(),
            self._terms.beat(),
            self._metrics.follow(),
            BusyWatchdog(self._table, request_limit).follow(),
        )
        desk().open(self.runtime)
        self._follow = [asyncio.get_running_loop().create_task(each) for each in follow]

    async def stop(self) -> None:
        for task in self._follow:
            task.cancel()
        await self.runtime.finish()
        desk().close()
        await self._limiter.close()
        self._metrics.publish()
        self._keeper.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _meter(workers: int) -> Meter:
    """This worker's journal: bounded, but never below what the workers' own segments take."""
    limit = max(env().journal_limit * 1024 * 1024, 3 * workers * SEGMENT_BYTES)
    journal = Journal(journal_folder(), limit_bytes=limit, sync=env().usage_sync)
    serve_when_full = env().usage_when_full == "serve"
    return Meter(
        journal,
        records=not env().disable_stats,
        serve_when_full=serve_when_full,
        unrecorded=unrecorded,
    )


def _tracing() -> Tracing | None:
    """None where no collector is configured; then OpenTelemetry is not even imported."""
    if not env().otlp_endpoint:
        return None
    from inference.tracing import OtlpTracing

    return OtlpTracing(env().otlp_endpoint, version=settings.VERSION)


def _log_failure(future: Any) -> None:
    if (error := future.exception()) is not None:
        log.warning("background look-up failed: %s", type(error).__name__)


class Application:
    """Owns the lifespan; WebSockets go to their door, everything else to the lane."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._lane = Lane(cast("ASGIApp", _django), lane_routes(), self.runtime)
        self._sockets = SocketDoor(socket_routes(), self.runtime)

    def runtime(self) -> Runtime:
        if self._worker is None:
            raise RuntimeError("the lifespan has not started")
        return self._worker.runtime

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            return self._lane(scope, receive, send)
        if scope["type"] == "websocket":
            return self._sockets(scope, receive, send)
        return self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._worker = Worker()
                await self._worker.start()
                garbage.settle()
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._worker is not None:
                    await self._worker.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _complain(line: str) -> None:
    sys.stderr.write(f"gatehouse: {line}\n")
    sys.stderr.flush()


# A worker that takes another's place while the database is away would know nobody: it waits, and the
# others serve whom they remember.
if (
    problem := once_readable(
        lambda: check_schema() or check_secrets(), limit_s=DATABASE_WAIT_S, say=_complain
    )
) is not None:
    _complain(problem)
    # gunicorn starts the worker again where the database is away; else it stops (decision 005)
    sys.exit(1 if isinstance(problem, Unreadable) else 4)
application = Application()
