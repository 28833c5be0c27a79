"""`python -m bench.pages`: server time of pages over 10,000 people and a million usage events.

    python -m bench.pages                        the pages of the list below, SQLite and PostgreSQL
    python -m bench.pages --only SQLite --urls /app /app/usage?period=all
    python -m bench.pages --keep                 leave the databases for the next run

Django's test client calls each page as an ordinary person in the middle of the ranking, as the one who
used most, and as an admin; the time is from the request to the last byte of the answer, in the process,
without network. A page that is not there yet, or not for that person, is left out and named. Prints
Markdown. Parts of `bench.usage` make the databases, under .bench.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

CALLS, WARM_UP, LIMIT_MS = 60, 3, 50
USERS, KEYS, MODELS, EVENTS = 10_000, 30_000, 10, 1_000_000
PERIODS = ("day", "week", "month", "all")
URLS = (
    *("/app", "/app/chat", "/app/api", "/app/account"),
    *(f"/app/usage?period={period}" for period in PERIODS),
    *("/app/users", "/app/users/invites", "/app/users/audit", "/app/models", "/app/backends"),
    *("/app/system", "/app/traces", "/app/traces/engines", "/app/settings"),
)
ADMINS_URLS = (
    "/app/usage?period=month&page=40",
    "/app/usage?period=month&q=user-12",
    "/app/usage?period=month&user={middle}",
    "/app/usage?period=month&user={first}",
    "/app/usage?period=all&of=me",
)


# --- in a process of its own, with the database's environment ----------------------------------


def load() -> dict[str, Any]:
    from datetime import UTC, datetime

    from bench.usage_data import Shape
    from bench.usage_load import load as load_events
    from bench.usage_reports import say

    seconds = load_events(EVENTS, datetime.now(UTC), say, Shape(USERS, KEYS, MODELS))
    return {"seconds": seconds}


def measure(urls: list[str]) -> dict[str, Any]:
    """{who: {url: {p50, p95, queries, bytes} or {"status": …}}}."""
    from django.db.models import F, Sum

    from accounts.models import User
    from bench.usage_load import ADMIN
    from bench.usage_reports import middle_user, signed_in
    from usage.models import Grain, QuotaRule, UsageRollup, UsageSeries

    sums = UsageRollup.objects.filter(grain=Grain.MONTH).values("series_id")
    most = sums.annotate(n=Sum(F("requests"))).order_by("-n")[0]["series_id"]
    first, middle = UsageSeries.objects.get(pk=most).user_id, middle_user()
    for user_id in (first, middle):
        for window_s in (3600, 604_800):
            maxima = {"defaults": {"max_requests": 10**9, "max_total_tokens": 10**12}}
            QuotaRule.objects.get_or_create(user_id=user_id, model="", window_s=window_s, **maxima)
    emails = dict(User.objects.filter(pk__in=[first, middle]).values_list("pk", "email"))
    emails = {str(pk): email for pk, email in emails.items()}
    more = ADMINS_URLS if any(url.startswith("/app/usage") for url in urls) else ()
    admins = [*urls, *(each.format(first=first, middle=middle) for each in more)]
    people = (
        ("an ordinary person", emails[middle], urls),
        ("who used most", emails[first], urls),
        ("an admin", ADMIN, admins),
    )
    return {
        who: {
            url.replace(first, "FIRST").replace(middle, "MIDDLE"): timed(client, url)
            for url in mine
        }
        for who, email, mine in people
        for client in [signed_in(email)]
    }


def timed(client: Any, url: str) -> dict[str, Any]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from core import garbage

    for _ in range(WARM_UP):
        with CaptureQueriesContext(connection) as captured:
            answer = client.get(url, headers={"accept": "text/html"})
        queries = len(captured)
        if answer.status_code != 200:
            return {"status": answer.status_code}
    garbage.settle()  # as a web worker does
    taken = []
    for _ in range(CALLS):
        began = time.perf_counter()
        answer = client.get(url, headers={"accept": "text/html"})
        taken.append((time.perf_counter() - began) * 1000)
    taken.sort()
    p50, p95 = taken[len(taken) // 2], taken[int(len(taken) * 0.95)]
    return {
        "p50": p50,
        "p95": p95,
        "most": taken[-1],
        "queries": queries,
        "bytes": len(answer.content),
    }


# --- the whole ----------------------------------------------------------------------------------


def tables(found: dict[str, Any]) -> Iterator[str]:
    for who, pages in found.items():
        yield f"\n{who}, {CALLS} calls each, warm:\n"
        yield "| page | p50 ms | p95 ms | slowest ms | queries | KB | under 50 ms |"
        yield "|---|---|---|---|---|---|---|"
        for url, each in pages.items():
            if "status" in each:
                continue
            met = "met" if each["p95"] < LIMIT_MS else "**not met**"
            cells = [f"{each[name]:.1f}" for name in ("p50", "p95", "most")]
            cells += [str(each["queries"]), f"{each['bytes'] / 1024:.0f}", met]
            yield f"| `{url}` | {' | '.join(cells)} |"
        left_out = [
            f"`{url}` ({each['status']})" for url, each in pages.items() if "status" in each
        ]
        if left_out:
            yield f"\nLeft out: {', '.join(left_out)}."


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"))
    parser.add_argument("--urls", nargs="+", default=list(URLS))
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()

    from bench.processes import ROOT
    from bench.usage import OPTIONS, Database
    from tests.postgresql import Cluster

    folder = ROOT / ".bench" / "pages"
    cluster = None
    try:
        for kind in ("SQLite", "PostgreSQL"):
            if arguments.only not in (None, kind):
                continue
            url = ""
            if kind == "PostgreSQL":
                cluster = Cluster(folder / "postgresql", options=OPTIONS, keep=arguments.keep)
                cluster.ensure("pages")
                url = cluster.url("pages")
            database = Database(folder / kind, url)
            database.migrate()
            loaded = folder / f"{kind}.loaded"
            if not loaded.exists():
                database.ask("bench.pages", "--load")
                loaded.touch()
            found = database.ask("bench.pages", "--measure", " ".join(arguments.urls))
            print(f"\n### Pages on {kind}: {USERS:,} people, {EVENTS:,} events")
            print("\n".join(tables(found)), flush=True)
    finally:
        if cluster is not None:
            cluster.stop()
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


def inner(what: str, urls: list[str]) -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "localai_project.settings")
    django.setup()
    print(json.dumps(load() if what == "--load" else measure(urls)))


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in {"--load", "--measure"}:
        inner(sys.argv[1], " ".join(sys.argv[2:]).split())
    else:
        main()
