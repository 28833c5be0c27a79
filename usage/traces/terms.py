"""What the settings say of traces, as the inference path is told it."""

from dataclasses import dataclass

HARD_ITEMS = 20_000  # rows of each list, whatever `tracing_max_items` says; 0 means as many
HARD_BODY_BYTES = 1024 * 1024  # of each body, whatever `tracing_max_body_bytes` says; 0 the same


@dataclass(frozen=True, slots=True)
class TraceTerms:
    """How traces are kept, where they are: with bodies (R-11), cut at `body_bytes`, without what was
    asked and answered (`redact_prompts`).
    """

    bodies: bool = False
    body_bytes: int = 65_536
    redact_prompts: bool = False
