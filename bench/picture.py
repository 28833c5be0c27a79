"""The README's picture of the way through: `python -m bench.picture` draws what `make bench-peers` found last."""

import datetime as dt
import json
import sys
from html import escape
from typing import Any

from bench.processes import ROOT, machine

FOUND = ROOT / ".bench" / "gateways.json"
PICTURE = ROOT / "docs" / "pictures" / "speed.svg"
WIDTH, LEFT, RIGHT, TOP, ROW = 860, 150, 250, 74, 44
DOES = {"Gatehouse": "accounts, quotas, usage books", "nginx": "a plain proxy"}
STYLE = """
svg { font: 14px system-ui, sans-serif; fill: #1c2024; background: #fff; }
.soft { fill: #5b6470; font-size: 12px; } .ours { fill: #1f6feb; } .other { fill: #8c959f; }
.head { font-size: 16px; font-weight: 600; } .value { font-weight: 600; }
.value .soft { font-weight: 400; }
@media (prefers-color-scheme: dark) {
  svg { fill: #e6edf3; background: #0d1117; } .soft { fill: #9da7b3; }
  .ours { fill: #4c9aff; } .other { fill: #6e7681; }
}
"""


def keep(found: list[dict[str, Any]], n_pairs: int) -> None:
    """Each gateway's `name`, `rps`, and the product's `ours_rps` of the same minutes."""
    date = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    whole = {"gateways": found, "machine": machine(), "date": date, "pairs": n_pairs}
    FOUND.write_text(json.dumps(whole))


def draw(found: dict[str, Any]) -> str:
    """The whole SVG. The product's bar is its slowest median beside any of the others."""
    others = [(each["name"], each["rps"]) for each in found["gateways"]]
    ours = min(each["ours_rps"] for each in found["gateways"])
    rows = sorted([("Gatehouse", ours), *others], key=lambda row: -row[1])
    scale = (WIDTH - LEFT - RIGHT) / rows[0][1]
    height = TOP + ROW * len(rows) + 46
    said = f"Requests a second by gateway: {', '.join(f'{n} {v:,.0f}' for n, v in rows)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(said)}">',
        f"<style>{STYLE}</style>",
        '<text class="head" x="20" y="32">Requests a second through one core</text>',
        '<text class="soft" x="20" y="54">32 connections, short answers of a stub engine, on a Unix socket for Gatehouse, on a port for the others</text>',
    ]
    for index, (name, value) in enumerate(rows):
        y, kind = TOP + ROW * index, "ours" if name == "Gatehouse" else "other"
        end = LEFT + max(2.0, value * scale)
        does = f'<tspan class="soft" dx="10">{DOES.get(name, "records nothing")}</tspan>'
        parts += [
            f'<text x="{LEFT - 12}" y="{y + 21}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{LEFT}" y="{y + 4}" width="{end - LEFT:.1f}" height="26" rx="3"/>',
            f'<text class="value" x="{end + 10:.1f}" y="{y + 22}">{value:,.0f}{does}</text>',
        ]
    foot = f"make bench-peers, {found['date']}: {found['machine']}; medians of {found['pairs']} pairs in turn"
    parts += [f'<text class="soft" x="20" y="{height - 18}">{escape(foot)}</text>', "</svg>"]
    return "\n".join(parts) + "\n"


def main() -> None:
    if not FOUND.exists():
        sys.exit("gatehouse: nothing was measured here yet; run make bench-peers first")
    PICTURE.write_text(draw(json.loads(FOUND.read_text())))


if __name__ == "__main__":
    main()
