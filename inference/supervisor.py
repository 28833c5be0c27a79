"""One engine's life: start, watch, start again with back-off, give up loudly, stop.

A runner is a state machine that `tick` moves; every change goes into its row, and the generation
counter tells the web workers. One thread owns it.
"""

import logging
import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from accounts.runtime import env, generations
from accounts.runtime_settings.in_force import value
from core.generations import ENGINES
from core.redaction import redacted
from inference.engine_output import EngineOutput
from inference.guarded import Guarded
from inference.hardware import host_environment
from inference.log_files import LogWriter, log_folder
from inference.models import SWITCHING, Engine, EngineState, Model
from inference.recipes import Recipe, RecipeError, command_line, engine_environment, placeholders
from inference.sockets import At, address_of, answers, free_port, read_metrics, socket_for

log = logging.getLogger("gatehouse.engine")
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0)
MAX_TRIES = len(BACKOFF_S)
START_TIMEOUT_S = 900.0
PROBE_STARTING_S, PROBE_READY_S, PROBE_TIMEOUT_S = 0.25, 2.0, 5.0
MISSES_ALLOWED = 5
STEADY_S = 60.0
IDLE_LOOK_S = 10.0
# Every worker knows of a drain after 0.1 s and may be sending a last request then.
DRAIN_LEAST_S, DRAIN_LIMIT_S, DRAIN_LOOK_S, END_LIMIT_S = 0.5, 60.0, 0.2, 10.0
_PATHS = re.compile(r"(?:/[\w.@+-]+){2,}")


def publish(model_name: str, **fields: Any) -> None:
    """Write what an engine is at and tell every worker."""
    Engine.objects.update_or_create(model_id=model_name, defaults=fields)
    generations().bump(ENGINES)


def fault_in(lines: list[str]) -> str:
    """The line of a log that says best what went wrong, without paths of the machine."""
    telling = [line for line in lines if re.search(r"\w*(Error|error|Exception|denied)\b", line)]
    found = (telling or lines or ["it ended without a word"])[-1]
    return _PATHS.sub("…", redacted(found)).strip()[-300:]  # callers see it


def busy(path: At) -> float | None:
    """How many requests an engine works on or has waiting; None where it does not answer."""
    found = read_metrics(path, timeout_s=2)
    if found is None:
        return None
    return found.get("vllm:num_requests_running", 0) + found.get("vllm:num_requests_waiting", 0)


class Runner:
    """One model's engine. `tick` is called several times a second; `stop` ends it for good.

    One that is made `beside` another (an upgrade of its backend: `switching`) says nothing of itself
    in the table until it takes over, and has a socket by another name.
    """

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        probes: ThreadPoolExecutor,
        *,
        beside: "Runner | None" = None,
        socket_name: str = "",
    ) -> None:
        self.name = model.name
        self._model = model
        self._recipe = recipe
        self._probes = probes
        self._socket = socket_for(socket_name or model.name, env().data_path)
        self._at: At = self._socket
        self._speaks = beside is None
        self._drain_limit_s = DRAIN_LIMIT_S
        self._engine: Guarded | None = None
        self._state = EngineState.STOPPED
        self._tries = 0
        self._since = self._next = self._probed_at = self._ready_at = 0.0
        self._probe: Future[bool] | None = None
        self._misses = 0
        self._used = -1.0
        self._used_at = self._looked_at = 0.0
        self._log: LogWriter = (
            beside._log  # noqa: SLF001  # a log has one writer
            if beside is not None
            else LogWriter(log_folder(env().data_path, model.name), model.name)
        )
        self._drain: Future[float | None] | None = None
        self._drain_ends = self._drained_at = 0.0
        self._drain_message = ""

    def follow(self, model: Model) -> None:
        """Take over what an admin changed about the model; a running engine keeps its options."""
        self._model = model

    @property
    def recipe(self) -> Recipe:
        return self._recipe

    @property
    def state(self) -> str:
        return str(self._state)

    @property
    def pid(self) -> int | None:
        """The guardian's, while there is one."""
        return self._engine.pid if self._engine is not None else None

    def start(self, message: str = "starting") -> None:
        """Start the engine; one that its recipe has no command line for has failed at once."""
        private = self._socket.parent
        try:
            for folder in (private / "home", private / "tmp"):
                folder.mkdir(exist_ok=True, mode=0o700)
            self._socket.unlink(missing_ok=True)
            self._at = free_port() if self._recipe.wants_port else self._socket
            given: dict[str, Any] = {
                "python": self._recipe.python(env().backends_path),
                "model": Path(self._model.directory),
                "name": self.name,
                "socket": self._socket,
                "port": self._at if isinstance(self._at, int) else 0,
                "options": self._model.options,
            }
            line = command_line(self._recipe, **given)
            values = placeholders(self._recipe, **given)
            environment = engine_environment(self._recipe, host_environment(), private, values)
            output = EngineOutput(self._log, keeps=lambda: bool(value("enable_backend_logging")))
            self._engine = Guarded(line, environment=environment, log=output)
        except (RecipeError, OSError, ValueError) as exc:  # such as an argument that is too long
            why = str(exc)[:500] if isinstance(exc, RecipeError) else "its process cannot be made"
            self._go(EngineState.FAILED, message=why, pid=None, address="")
            return
        self._since, self._misses, self._probe = time.monotonic(), 0, None
        self._go(
            EngineState.STARTING,
            message=message,
            address=address_of(self._at),
            pid=self._engine.pid,
            tries=self._tries,
            started_at=timezone.now(),
            next_try_at=None,
        )

    def start_anew(self) -> None:
        """Start one that stopped, or gave up: what it tried before does not count."""
        self._tries = 0
        self.start()

    def take_over(self) -> None:
        """It is this one's turn: from now on the table has its address, and callers come here."""
        self._speaks = True
        moment = timezone.now()
        self._go(
            EngineState.READY,
            message="",
            address=address_of(self._at),
            pid=self.pid,
            tries=0,
            started_at=moment,
            ready_at=moment,
            next_try_at=None,
        )

    def retire(self, *, limit_s: float) -> None:
        """Another one has taken over: end quietly once the callers it has are served."""
        self._speaks, self._drain_limit_s = False, limit_s
        self.drain("another version has taken over")

    def _go(self, state: EngineState, **fields: Any) -> None:
        self._state = state
        if self._speaks:
            publish(self.name, state=state, **fields)

    def tick(self) -> None:
        now = time.monotonic()
        if self._state == EngineState.WAITING and now >= self._next:
            self.start()
        if self._state == EngineState.DRAINING:
            self._watch_drain(now)
        if self._engine is None or self._state not in {EngineState.STARTING, EngineState.READY}:
            return
        if self._engine.exit_status() is not None:
            self._fell("the engine ended: " + fault_in(self._engine.last_lines()))
            return
        self._watch(now)
        if self._state == EngineState.READY:
            self._watch_idle(now)

    def _watch(self, now: float) -> None:
        """Ask for its health; a start or a silence that takes too long counts as a fall."""
        if self._probe is not None and self._probe.done():
            healthy, self._probe = self._probe.result(), None
            if healthy:
                self._healthy(now)
            elif self._state == EngineState.READY:
                self._misses += 1
                if self._misses >= MISSES_ALLOWED:
                    self._fell("the engine stopped answering")
                    return
        every = PROBE_STARTING_S if self._state == EngineState.STARTING else PROBE_READY_S
        if self._probe is None and now - self._probed_at >= every:
            self._probed_at = now
            self._probe = self._probes.submit(
                answers, self._at, self._recipe.health, timeout_s=PROBE_TIMEOUT_S
            )
        if self._state == EngineState.STARTING and now - self._since > START_TIMEOUT_S:
            self._fell("the engine did not become ready in time")

    def _healthy(self, now: float) -> None:
        self._misses = 0
        if self._state == EngineState.STARTING:
            self._ready_at = self._used_at = now
            self._go(EngineState.READY, message="", ready_at=timezone.now())
            log.info("%s is ready after %.0f s", self.name, now - self._since)
        elif self._tries and now - self._ready_at > STEADY_S:
            self._tries = 0
            self._go(EngineState.READY, tries=0)

    def _fell(self, why: str) -> None:
        """Count a failed try: start again after a while, or give up."""
        if self._engine is not None:
            self._engine.stop()
            self._engine = None
        self._tries += 1
        if self._tries >= MAX_TRIES:
            log.error("%s: gave up after %d tries: %s", self.name, self._tries, why)
            self._go(EngineState.FAILED, message=why, tries=self._tries, pid=None)
            return
        wait_s = BACKOFF_S[self._tries - 1]
        self._next = time.monotonic() + wait_s
        log.warning("%s: %s; starting again in %.0f s", self.name, why, wait_s)
        self._go(
            EngineState.WAITING,
            message=why,
            tries=self._tries,
            pid=None,
            next_try_at=timezone.now() + timedelta(seconds=wait_s),
        )

    def _watch_idle(self, now: float) -> None:
        """Unload a model that was told to leave when idle; it comes back on first use."""
        timeout_s = self._model.idle_timeout_s
        if timeout_s is None or now - self._looked_at < min(IDLE_LOOK_S, timeout_s / 2):
            return
        self._looked_at = now
        found = read_metrics(self._at, timeout_s=2)
        if found is None:
            return
        done = found.get("vllm:request_success_total", 0.0)
        if found.get("vllm:num_requests_running") or done != self._used:
            self._used, self._used_at = done, now
        elif now - self._used_at >= timeout_s:
            log.info("%s was idle for %d s", self.name, timeout_s)
            self.stop("unloaded: it was idle")

    def drain(self, message: str) -> None:
        """Stop once the callers it has are served, `DRAIN_LIMIT_S` at most; nobody new gets in."""
        if self._state == EngineState.DRAINING:
            return
        if self._state != EngineState.READY:
            self.stop(message)
            return
        now = time.monotonic()
        self._since, self._drain_ends, self._drained_at = now, now + self._drain_limit_s, 0.0
        self._drain, self._drain_message = None, message
        shown = message if message == SWITCHING else "stopping once its callers are served"
        self._go(EngineState.DRAINING, message=shown)

    def _watch_drain(self, now: float) -> None:
        """Look whether it is idle, ask it to end, and wait for that without holding up the others."""
        if self._engine is None or self._engine.exit_status() is not None:
            self.stop(self._drain_message)
        elif self._drained_at:
            if now - self._drained_at > END_LIMIT_S:
                self.stop(self._drain_message)
        elif self._is_drained(now):
            self._drained_at = now
            self._engine.ask_to_stop()

    def _is_drained(self, now: float) -> bool:
        if now >= self._drain_ends:
            log.warning("%s still had callers %.0f s after its drain", self.name, now - self._since)
            return True
        if now - self._since < DRAIN_LEAST_S:
            return False
        if self._drain is None:
            if now - self._probed_at >= DRAIN_LOOK_S:
                self._probed_at = now
                self._drain = self._probes.submit(busy, self._at)
            return False
        if not self._drain.done():
            return False
        found, self._drain = self._drain.result(), None
        return found == 0

    def stop(self, message: str = "") -> None:
        """End the engine and say so; nothing starts it again but `start`."""
        if self._engine is not None:
            self._engine.stop()
            self._engine = None
        self._socket.unlink(missing_ok=True)
        if self._state != EngineState.FAILED:
            self._go(EngineState.STOPPED, message=message, pid=None, address="")

    def ask_to_stop(self) -> None:
        """So that several end at the same time; `stop` waits for each."""
        if self._engine is not None:
            self._engine.ask_to_stop()
