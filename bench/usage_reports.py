"""One database of events: loaded, checked and asked, in a process of its own.

`python -m bench.usage_reports load N` and `… measure` print a JSON object; the database is the one that
LOCALAI_AUTH_DATABASE_URL and LOCALAI_DATA_PATH name, migrated and (for load) empty.
"""

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "localai_project.settings")
django.setup()

from django.db import connection
from django.db.models import F, Sum
from django.test import Client

from bench.usage_load import ADMIN, PASSWORD, load
from usage import books
from usage.buckets import day_of, hour_of, month_of
from usage.models import Grain, QuotaRule, UsageEvent, UsageRollup, UsageSeries

CALLS, WARM_UP = 60, 3
PERIODS = {"day": 1, "week": 7, "month": 30, "all": None}
ADMIN_USAGE, ADMIN_SOURCES = "/api/auth/admin/usage", "/api/auth/admin/usage/sources"


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def sizes() -> dict[str, int]:
    """Bytes on disk with indexes, and rows, of events and rollups."""
    rows = {
        "rollup_rows": UsageRollup.objects.count(),
        "series": UsageSeries.objects.count(),
        "events": UsageEvent.objects.count(),
    }
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT sum(pg_total_relation_size(i.inhrelid)), "
                "pg_total_relation_size('usage_rollup'), pg_total_relation_size('usage_modelrollup') "
                "FROM pg_inherits i WHERE i.inhparent = 'usage_event'::regclass"
            )
            names = ("event_bytes", "rollup_bytes", "model_bytes")
            return rows | dict(zip(names, map(int, cursor.fetchone()), strict=True))
        cursor.execute("PRAGMA page_count")
        pages = cursor.fetchone()[0]
        cursor.execute("PRAGMA page_size")
        return rows | {"database_bytes": pages * cursor.fetchone()[0]}


def checked() -> dict[str, Any]:
    """What `usage.books.check` says of the last days."""
    started = time.perf_counter()
    found = books.check(datetime.now(UTC))
    report = [
        {"what": each["what"], "difference": each["difference"]}
        for each in found.report["findings"]
    ]
    took = time.perf_counter() - started
    return {"difference": found.difference, "findings": report, "seconds": took}


def middle_user() -> str:
    """Who has the median number of requests."""
    found = UsageRollup.objects.filter(grain=Grain.MONTH).values("series_id")
    by_series = dict(found.annotate(n=Sum(F("requests"))).values_list("series_id", "n"))
    by_user: dict[str, int] = {}
    for number, user in UsageSeries.objects.values_list("id", "user_id"):
        by_user[user] = by_user.get(user, 0) + by_series.get(number, 0)
    ranked = sorted(by_user, key=lambda user: by_user[user])
    return ranked[len(ranked) // 2]


def signed_in(email: str) -> Client:
    client = Client(headers={"host": "localhost"})
    body = json.dumps({"email": email, "password": PASSWORD})
    answer = client.post("/api/auth/login", body, content_type="application/json")
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.status_code}: {answer.content.decode()}")
    return client


def since(days: int | None) -> str:
    """`from` of a rolling window, as a dashboard writes it; from the beginning without one."""
    start = datetime.now(UTC) - timedelta(days=days or 0)
    return f"from={start:%Y-%m-%dT%H:%M:%SZ}&" if days else ""


def no_whole_month() -> str:
    """`from` and `to` of the longest window without one: every day is read, as on a month's first."""
    end = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0) - timedelta(days=1)
    start = end.replace(day=1) + timedelta(days=1)
    return f"from={start:%Y-%m-%d}&to={end:%Y-%m-%d}&"


def own_paths() -> dict[str, str]:
    found = {}
    for name, path in (("usage", "/api/auth/usage"), ("sources", "/api/auth/usage/sources")):
        for period in PERIODS:
            found[f"own {name}, {period}"] = f"{path}?period={period}"
    return {**found, "own quota": "/api/auth/quota"}


def admin_paths(user: str) -> dict[str, str]:
    found = {}
    for period, days in PERIODS.items():
        found[f"curve by model, {period}"] = f"{ADMIN_USAGE}?period={period}&group_by=model"
        for group in ("user", "key", "source"):
            query = f"{since(days)}bucket=none&group_by={group}&order=tokens&limit=50"
            found[f"totals by {group}, {period}"] = f"{ADMIN_USAGE}?{query}"
        found[f"one user's usage, {period}"] = f"{ADMIN_USAGE}?period={period}&user_id={user}"
        found[f"latency by model, {period}"] = f"{ADMIN_USAGE}/latency?period={period}"
    for group in ("user", "key", "source"):
        query = f"{no_whole_month()}bucket=none&group_by={group}&order=tokens&limit=50"
        found[f"totals by {group}, 29 single days"] = f"{ADMIN_USAGE}?{query}"
    return dict(sorted(found.items()))


def dumps() -> dict[str, str]:
    return {
        f"dump of {name}, {period}": f"{path}?period={period}"
        for name, path in (("usage", ADMIN_USAGE), ("sources", ADMIN_SOURCES))
        for period in PERIODS
    }


def timed(client: Client, path: str, calls: int, limit_s: float) -> dict[str, Any]:
    """Seconds of `calls` calls after a few that warm up; fewer, three at least, past `limit_s`."""
    for _ in range(WARM_UP if calls > 3 else 1):
        answer = client.get(path)
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.content[:300].decode()}")
    taken: list[float] = []
    deadline = time.perf_counter() + limit_s
    while len(taken) < calls and (len(taken) < 3 or time.perf_counter() < deadline):
        started = time.perf_counter()
        answer = client.get(path)
        taken.append(time.perf_counter() - started)
    taken.sort()
    body = answer.json()
    rows = body.get("usage", body.get("buckets", body.get("latency", body.get("quotas", []))))
    return {
        "n": len(taken),
        "p50": taken[len(taken) // 2] * 1000,
        "p95": taken[min(len(taken) - 1, int(len(taken) * 0.95))] * 1000,
        "rows": len(rows),
        "bytes": len(answer.content),
    }


def measure(calls: int) -> dict[str, Any]:
    """Every report by name: n, p50 and p95 in ms, rows and bytes of the answer."""
    user = middle_user()
    QuotaRule.objects.get_or_create(
        user_id=user, model="", window_s=3600, defaults={"max_requests": 10**9}
    )
    QuotaRule.objects.get_or_create(
        user_id=user, model="", window_s=30 * 86400, defaults={"max_total_tokens": 10**12}
    )
    email = (
        f"user-{UsageSeries.objects.filter(user_id=user).first().user_name.split()[1]}@example.org"
    )
    own, admin = signed_in(email), signed_in(ADMIN)
    found: dict[str, Any] = {}
    for client, paths in ((own, own_paths()), (admin, admin_paths(user))):
        for name, path in paths.items():
            found[name] = timed(client, path, calls, 60)
            say(f"{name}: {found[name]['p50']:.1f} ms, {found[name]['p95']:.1f} ms")
    shown: dict[str, Any] = {}
    for period in ("day", "month"):
        name = f"own latency, {period} (single events)"
        shown[name] = timed(own, f"/api/auth/usage/latency?period={period}", 3, 10)
    for name, path in dumps().items():
        shown[name] = timed(admin, path, 3, 10)
        say(f"{name}: {shown[name]['p50']:.0f} ms, {shown[name]['rows']:,} rows")
    return {"reports": found, "shown": shown}


def main() -> None:
    what, number = sys.argv[1], int(sys.argv[2])
    if what == "load":
        now = datetime.now(UTC)
        took = load(number, now, say)
        found: dict[str, Any] = {"seconds": took, **sizes(), "check": checked()}
        found["until"] = month_of(day_of(hour_of(now)))
    else:
        found = measure(number)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
