"""The settings that limit engines (surface, section 5), as they count at this moment."""

from dataclasses import dataclass
from typing import Any

from accounts.runtime import env
from accounts.runtime_settings.in_force import value
from core.durations import parse_duration
from core.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine process keeps to. Times in seconds; None and 0 are no limit."""

    ram_budget: str = ""
    vram_budget: str = ""
    max_models: int = 0
    force_when_busy: bool = False
    max_retries: int = 30
    retry_interval_s: float = 1.0
    reclaims_above: float | None = None
    idle_s: float | None = None
    busy_s: float | None = None
    interval_s: float = 2.0

    @property
    def measures(self) -> bool:
        """Whether anything depends on what engines take."""
        return bool(self.ram_budget or self.vram_budget)

    @property
    def looks(self) -> bool:
        """Whether anything depends on when engines were used."""
        return bool(self.measures or self.max_models or self.reclaims_above or self.idle_s)


def limits_in_force() -> Limits:
    """Asks no database: what this process knows of the settings."""
    on = bool(value("watchdog_enabled"))
    return Limits(
        ram_budget=env().ram_budget,
        vram_budget=str(value("vram_budget")),
        max_models=int(value("max_active_backends")),
        force_when_busy=bool(value("force_eviction_when_busy")),
        max_retries=int(value("lru_eviction_max_retries")),
        retry_interval_s=seconds("lru_eviction_retry_interval"),
        reclaims_above=_if(
            value("memory_reclaimer_enabled"), float(value("memory_reclaimer_threshold"))
        ),
        idle_s=_if(on and value("watchdog_idle_enabled"), seconds("watchdog_idle_timeout")),
        busy_s=_if(on and value("watchdog_busy_enabled"), seconds("watchdog_busy_timeout")),
        interval_s=seconds("watchdog_interval"),
    )


def request_limit() -> tuple[float | None, float]:
    """(how long a request may run, how often to look), for the web workers; None is no limit."""
    try:
        on = value("watchdog_enabled") and value("watchdog_busy_enabled")
        return _if(on, seconds("watchdog_busy_timeout")), seconds("watchdog_interval")
    except UnavailableError:  # the settings were never read yet
        return None, 1.0


def seconds(name: str) -> float:
    """A setting that is a duration."""
    return parse_duration(str(value(name))).total_seconds()


def _if(is_on: Any, limit: float) -> float | None:
    return limit if is_on else None
