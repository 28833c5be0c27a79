"""One engine's life: start, watch, start again with back-off, give up loudly, stop.

A runner is a state machine that `tick` moves; every change goes into its row, and the generation
counter tells the web workers. One thread owns it.
"""

import logging
import re
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.runtime import env, generations
from core.generations import ENGINES
from core.redaction import redacted
from inference.engine_start import start_engine
from inference.engine_use import Footprint, Use
from inference.guarded import Guarded
from inference.log_files import LogWriter, log_folder
from inference.memory_need import needed_bytes
from inference.models import SWITCHING, Engine, EngineState, Model
from inference.recipes import Recipe, RecipeError
from inference.sockets import At, address_of, answers, free_port, read_metrics, socket_for
from usage.traces.rows import keep_load

log = logging.getLogger("gatehouse.engine")
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0)
MAX_TRIES = len(BACKOFF_S)
START_TIMEOUT_S = 900.0
PROBE_STARTING_S, PROBE_READY_S, PROBE_TIMEOUT_S = 0.25, 2.0, 5.0
MISSES_ALLOWED = 5
STEADY_S = 60.0
# Every worker knows of a drain after 0.1 s and may be sending a last request then.
DRAIN_LEAST_S, DRAIN_LIMIT_S, DRAIN_LOOK_S, END_LIMIT_S = 0.5, 60.0, 0.2, 10.0
_DRAINS = "stopping once its callers are served"
_PATHS = re.compile(r"(?:/[\w.@+-]+){2,}")


def publish(model_name: str, replica: int = 0, **fields: Any) -> None:
    """Write what an engine is at and tell every worker."""
    Engine.objects.update_or_create(model_id=model_name, replica=replica, defaults=fields)
    generations().bump(ENGINES)


def fault_in(lines: list[str]) -> str:
    """The line of a log that says best what went wrong, without paths of the machine."""
    telling = [line for line in lines if re.search(r"\w*(Error|error|Exception|denied)\b", line)]
    found = (telling or lines or ["it ended without a word"])[-1]
    return _PATHS.sub("…", redacted(found)).strip()[-300:]  # callers see it


def busy(path: At) -> float | None:
    """How many requests an engine works on or has waiting; None where it does not answer."""
    found = read_metrics(path, timeout_s=2)
    if found is None or "vllm:num_requests_running" not in found:  # one that does not count
        return None
    return found["vllm:num_requests_running"] + found.get("vllm:num_requests_waiting", 0)


class Runner:
    """One engine of a model. `tick` is called several times a second; `stop` ends it for good.

    `replica` is its number among the model's engines, which write their lines through one `writer`.
    One that is to take the place of another of that number (`switching`) has a `variant` of its own
    for its socket, and `speaks` in the table from when it takes over.
    """

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        probes: ThreadPoolExecutor,
        *,
        replica: int = 0,
        writer: LogWriter | None = None,
        variant: int = 0,
        speaks: bool = True,
    ) -> None:
        self.name = model.name
        self.replica = replica
        self._model = model
        self._recipe = self._next_recipe = recipe
        self._probes = probes
        name = f"{model.name} {variant}" if variant else model.name  # no model's name has a space
        self._socket = socket_for(name, env().data_path, replica)
        self._at: At = self._socket
        self._speaks = speaks
        self.use = Use(lambda: self._at, probes)
        self.footprint = Footprint(probes, on_card=self.on_card)
        self.pool: int | None = None  # the budget that it counts in (inference.room)
        self.started_with: dict[str, Any] = {}  # the model's options when it was started
        self.card: int | None = None  # the card that it was given, where there are several
        self.is_held = False
        self.is_switching = False  # it ended, to start again with another version of its backend
        self._engine: Guarded | None = None
        self._state = EngineState.STOPPED
        self._tries = 0
        self._since = self._next = self._probed_at = self._ready_at = 0.0
        self._probe: Future[bool] | None = None
        self._misses = 0
        self._log = writer or LogWriter(log_folder(env().data_path, model.name), model.name)
        self._drain: Future[float | None] | None = None
        self._drain_ends = self._drained_at = 0.0
        self._drain_message = ""
        self._drain_after: Sequence[Runner] = ()

    def follow(self, model: Model, recipe: Recipe) -> None:
        """Take over what was changed about the model or its backend; a running engine keeps what it
        was started with.
        """
        self._model, self._next_recipe = model, recipe
        if self._engine is None:
            self._recipe = recipe

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

    def start(self) -> None:
        """Start the engine; one that its recipe has no command line for has failed at once."""
        self._recipe = self._next_recipe
        self.is_held, self.started_with = False, self._model.options
        try:
            self._at = free_port() if self._recipe.wants_port else self._socket
            self._engine = start_engine(
                self._model,
                self._recipe,
                self._socket,
                self._at,
                card=self.card,
                writer=self._log,
                replica=self.replica,
            )
        except (RecipeError, OSError, ValueError) as exc:  # such as an argument that is too long
            why = str(exc)[:500] if isinstance(exc, RecipeError) else "its process cannot be made"
            self.is_switching = False
            self._go(EngineState.FAILED, message=why, pid=None, address="")
            return
        self._since, self._misses, self._probe = time.monotonic(), 0, None
        self._go(
            EngineState.STARTING,
            message=SWITCHING if self.is_switching else "starting",
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

    def want(self) -> None:
        """Start it unless it runs, loads, or is still ending."""
        if self.is_held or self._state in {EngineState.STOPPED, EngineState.FAILED}:
            self.start_anew()
        elif self._state == EngineState.WAITING:  # now, but its failed tries go on counting
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

    def retire(self, limit_s: float) -> None:
        """Another one has taken over: end quietly once the callers it has are served."""
        self._speaks = False
        self.drain("another version has taken over", limit_s)

    def hush(self) -> None:
        """Its model is gone, so there is no row any more to say anything in."""
        self._speaks = False

    def _go(self, state: EngineState, **fields: Any) -> None:
        self._state = state
        if self._speaks:
            publish(self.name, self.replica, state=state, **fields)

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
            self._ready_at, self.is_switching = now, False
            self.use.begin(now)
            self.footprint.begin(now)
            self._go(EngineState.READY, message="", ready_at=timezone.now())
            self._trace_load()
            log.info("%s is ready after %.0f s", self.name, now - self._since)
        elif self._tries and now - self._ready_at > STEADY_S:
            self._tries = 0
            self._go(EngineState.READY, tries=0)

    def _trace_load(self, error: str = "") -> None:
        seconds = time.monotonic() - self._since
        keep_load(model=self.name, backend=self._model.backend, seconds=seconds, error=error)

    def _fell(self, why: str) -> None:
        """Count a failed try: start again after a while, or give up."""
        if self._state == EngineState.STARTING:
            self._trace_load(error=why)
        if self._engine is not None:
            self._engine.stop()
            self._engine = None
        self.is_switching = False
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

    def start_over(self, why: str) -> None:
        """End an engine that is of no use as it is; the next try comes after the usual wait."""
        self._fell(why)

    def hold(self, message: str) -> None:
        """There is no room for it yet: to callers it loads, and its row says what it waits for."""
        self.is_held = True
        self._go(EngineState.STARTING, message=message, pid=None, address="")

    @property
    def on_card(self) -> bool:
        """Whether its backend computes on a graphics card."""
        return "nvidia" in self._recipe.hardware

    @property
    def takes_memory(self) -> bool:
        return not self.is_held and self._state not in {EngineState.STOPPED, EngineState.FAILED}

    def needed_bytes(self, card_total: int | None) -> int:
        """What it takes, or will: the most that was measured, now or before, else estimated."""
        measured = max(self.footprint.bytes, self._model.memory_bytes or 0)
        return measured or needed_bytes(self._model, self._recipe, card_total=card_total)

    def drain(
        self, message: str, limit_s: float | None = None, after: "Sequence[Runner]" = ()
    ) -> None:
        """Stop once the callers it has are served, `DRAIN_LIMIT_S` at most; nobody new gets in.

        `after` are those that leave already and whose callers it speaks for, too.
        """
        if self._state == EngineState.DRAINING:
            if self._drain_message == SWITCHING != message:  # it does not come back
                self._drain_message = message
                self._go(EngineState.DRAINING, message=_DRAINS)
            return
        if self._state != EngineState.READY:
            self.stop(message)
            return
        now = time.monotonic()
        self._since, self._drained_at = now, 0.0
        self._drain_ends = now + (DRAIN_LIMIT_S if limit_s is None else limit_s)
        self._drain, self._drain_message, self._drain_after = None, message, after
        self._go(EngineState.DRAINING, message=message if message == SWITCHING else _DRAINS)

    def hurry(self, limit_s: float) -> None:
        """One that drains has that long from now, at most."""
        self._drain_ends = min(self._drain_ends, time.monotonic() + limit_s)

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
        if any(each.state == EngineState.DRAINING for each in self._drain_after):
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
        self.is_held, self.is_switching = False, message == SWITCHING
        self.footprint.bytes = 0
        if self._state != EngineState.FAILED:
            self._go(EngineState.STOPPED, message=message, pid=None, address="")

    def say(self, message: str) -> None:
        """Let its row say why it is not loaded."""
        self._go(self._state, message=message)

    def ask_to_stop(self) -> None:
        """So that several end at the same time; `stop` waits for each."""
        if self._engine is not None:
            self._engine.ask_to_stop()
