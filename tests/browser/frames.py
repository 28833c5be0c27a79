"""What a page's main thread does per frame: CPU time from Chromium's trace, so that a busy machine counts little."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FRAME_US = 16_667
CATEGORIES = "devtools.timeline,toplevel"
TASK = "ThreadControllerImpl::RunTask"


@dataclass(frozen=True, slots=True)
class Work:
    """Milliseconds of work in every 60th of a second in which there was any."""

    frames: int
    mean: float
    median: float
    p95: float
    most: float


def work_per_frame(page: Any, during: Callable[[], None]) -> Work:
    """Trace the page's main thread while `during` runs."""
    devtools = page.context.new_cdp_session(page)
    events: list[dict[str, Any]] = []
    over: list[bool] = []
    devtools.on("Tracing.dataCollected", lambda piece: events.extend(piece["value"]))
    devtools.on("Tracing.tracingComplete", lambda _: over.append(True))
    devtools.send("Tracing.start", {"categories": CATEGORIES, "transferMode": "ReportEvents"})
    during()
    devtools.send("Tracing.end")
    while not over:
        page.wait_for_timeout(50)
    devtools.detach()
    return _summed(events)


def _summed(events: list[dict[str, Any]]) -> Work:
    drawn = Counter((e["pid"], e["tid"]) for e in events if e["name"] == "FireAnimationFrame")
    thread, frames = drawn.most_common(1)[0]
    work: dict[int, float] = defaultdict(float)
    for event in events:
        is_task = event["name"] == TASK and (event["pid"], event["tid"]) == thread
        if is_task and "tdur" in event:
            work[event["ts"] // FRAME_US] += event["tdur"] / 1000
    found = sorted(work.values())
    return Work(
        frames=frames,
        mean=sum(found) / len(found),
        median=found[len(found) // 2],
        p95=found[int(len(found) * 0.95)],
        most=found[-1],
    )
