"""The settings of traces: registered here, and in force in every worker within 250 ms (R-22)."""

from accounts.runtime import stored_settings
from accounts.runtime_settings.in_force import value
from accounts.runtime_settings.kinds import Count, Flag
from accounts.runtime_settings.registry import SettingKey
from usage.traces.terms import HARD_BODY_BYTES, HARD_ITEMS, TraceTerms

KEYS = (
    SettingKey("enable_tracing", Flag, default=True),
    SettingKey("tracing_bodies", Flag, default=False),
    SettingKey("tracing_redact_prompts", Flag, default=False),
    SettingKey("tracing_max_items", Count, 1024),
    SettingKey("tracing_max_body_bytes", Count, 65_536),
)


def terms_in_force() -> TraceTerms | None:
    """What this process knows of them, without a query; None where nothing is traced."""
    if not value("enable_tracing"):
        return None
    return TraceTerms(
        bodies=bool(value("tracing_bodies")),
        body_bytes=_bounded(value("tracing_max_body_bytes"), HARD_BODY_BYTES),
        redact_prompts=bool(value("tracing_redact_prompts")),
    )


def is_on() -> bool:
    """Whether traces are kept now."""
    stored_settings().fresh()
    return bool(value("enable_tracing"))


def keeps_bodies() -> bool:
    """Whether headers and bodies are kept, too (R-11)."""
    return bool(value("tracing_bodies"))


def max_items() -> int:
    """How many rows each list keeps now."""
    stored_settings().fresh()
    return _bounded(value("tracing_max_items"), HARD_ITEMS)


def _bounded(given: int, most: int) -> int:
    return min(given or most, most)
