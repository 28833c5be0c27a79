"""The Markdown of `bench.usage`."""

from collections.abc import Iterator
from typing import Any

Found = dict[str, dict[str, Any]]


def verdict(what: str, found: float, wanted: str, *, met: bool, unit: str = "") -> str:
    shown = f"{found:,.0f}" if found >= 1000 else f"{found:.3g}"
    return f"| {what} | {shown}{unit} | {wanted} | {'met' if met else '**not met**'} |"


def stored(n: int, loaded: dict[str, Any]) -> str:
    """How a database came about and what it takes on the disk."""
    check = loaded["check"]
    if "database_bytes" in loaded:
        size = f"the whole database {loaded['database_bytes'] / 1e9:.2f} GB"
    else:
        size = f"events {loaded['event_bytes'] / 1e9:.2f} GB ({loaded['event_bytes'] / n:.0f} bytes an event), "
        size += f"rollups {loaded['rollup_bytes'] / 1e9:.2f} GB, by model {loaded['model_bytes'] / 1e6:.0f} MB"
    told = f"{n:,} events loaded in {loaded['seconds']:,.0f} s: {size}; {loaded['rollup_rows']:,} rollup rows, {loaded['series']:,} series."
    findings = ", ".join(f"{each['what']}: {each['difference']}" for each in check["findings"])
    return f"{told} `usage.books.check`: difference {check['difference']} ({findings}) in {check['seconds']:.1f} s.\n"


def report_rows(small: Found, big: Found, few: int, many: int) -> Iterator[str]:
    """p50 and p95 of each report at both sizes."""
    yield f"\n| report | {few:,}: p50 ms | p95 ms | {many:,}: p50 ms | p95 ms | rows | p95 ratio | under 100 ms |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in big:
        one, other = small[name], big[name]
        cells = [f"{one['p50']:.1f}", f"{one['p95']:.1f}", f"{other['p50']:.1f}"]
        cells += [f"{other['p95']:.1f}", f"{other['rows']:,}", f"{other['p95'] / one['p95']:.2f}"]
        cells.append("met" if max(one["p95"], other["p95"]) < 100 else "**not met**")
        yield f"| {name} | {' | '.join(cells)} |"
    n = sorted({each["n"] for each in (*small.values(), *big.values())})
    yield f"\n{n[0]} calls each, warm." if len(n) == 1 else f"\n{n[0]} to {n[-1]} calls each, warm."


def dump_rows(small: Found, big: Found, few: int, many: int) -> Iterator[str]:
    """What no dashboard asks for: whole lists and single events, outside the verdict."""
    yield f"\n| outside the verdict (median of three) | {few:,}: ms | {many:,}: ms | rows | MB |"
    yield "|---|---|---|---|---|"
    for name in big:
        other = big[name]
        cells = (f"{small[name]['p50']:,.0f}", f"{other['p50']:,.0f}", f"{other['rows']:,}")
        yield f"| {name} | {' | '.join(cells)} | {other['bytes'] / 1e6:.2f} |"
