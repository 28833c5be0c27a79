"""`GET /metrics`: what all our processes counted, and how the server stands at this moment."""

from collections.abc import Iterable

from django.db import DatabaseError
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from accounts.runtime import env
from core import metric_files
from core.call_times import API_CALL
from core.declared import Content, declares
from inference.models import Engine, EngineState
from inference.worker_metrics import REMOTE_ENGINES, WAITING
from usage.backlog import backlog_now
from usage.metrics import books_difference, counters


@declares("Prometheus' metrics", answer=Content("text/plain"))
def metrics(_request: HttpRequest) -> HttpResponse:
    """The Prometheus text format (surface, `GET /metrics`)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Everything())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class Everything(Collector):
    """One scrape. What was never counted has its HELP and TYPE lines all the same."""

    def collect(self) -> Iterable[Metric]:
        counted = metric_files.collect(env().data_path / "metrics")
        yield from counted
        names = {family.name for family in counted}
        for metric in (API_CALL, WAITING, REMOTE_ENGINES, *counters().all()):
            yield from (family for family in metric.describe() if family.name not in names)
        yield from _gauges()


def _gauges() -> list[Metric]:
    """What is read now; a database that does not answer leaves out what it would say."""
    difference = _gauge("books_difference", "By how much journal, events and rollups differ")
    try:
        found = [*_journal(), _engines()]
        if (value := books_difference()) is not None:
            difference.add_metric([], value)
    except DatabaseError:
        return [difference]
    return [*found, difference]


def _gauge(
    name: str, words: str, value: float | None = None, labels: Iterable[str] = ()
) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"gatehouse_{name}", words, value, list(labels) or None)


def _journal() -> list[Metric]:
    now = backlog_now()
    return [
        _gauge("journal_bytes", "Bytes of the usage journal on disk", now.n_bytes),
        _gauge("journal_segments", "Segments of the usage journal", now.n_segments),
        _gauge(
            "journal_oldest_seconds", "Age of the oldest record not yet in the books", now.oldest_s
        ),
        _gauge("journal_rejected_bytes", "Usage records that were set aside", now.rejected_bytes),
    ]


def _engines() -> Metric:
    rows = Engine.objects.values_list("state").annotate(Count("pk")).order_by()
    counts: dict[str, int] = dict(rows)
    family = _gauge("engines", "Engines of this machine, by state", labels=["state"])
    for state in EngineState.values:
        family.add_metric([state], counts.get(state, 0))
    return family
