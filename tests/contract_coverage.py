"""`python -m tests.contract_coverage` writes docs/contract-coverage.md from the tests' own names.

A test covers a row by naming it, in its name (`test_w09_…`) or its docstring (`W-09`); a route or a
setting in its docstring or in a text of its own (`GET /api/models`, `SET:api_keys`).
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

from tests.contract_rows import LATER, rows

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "contract-coverage.md"
_NAMED = re.compile(r"(?<![a-z0-9])(e|w|s|c|g|q|u|r|tok|reg)-?_?(\d\d)(?!\d)", re.IGNORECASE)


def named_in(text: str) -> set[str]:
    """The rows that a text names; `e33_to_e36` names all between."""
    found = {f"{kind.upper()}-{number}" for kind, number in _NAMED.findall(text.replace("_", " "))}
    for kind, first, last in re.findall(r"([a-z])(\d\d)_to_[a-z](\d\d)", text):
        found |= {f"{kind.upper()}-{number:02d}" for number in range(int(first), int(last) + 1)}
    return found


_UNNUMBERED = re.compile(r"(?:GET|POST|PUT|WS) /[\w/:.-]*[\w]|SET:\w+")


def unnumbered_in(node: ast.AST) -> set[str]:
    """The routes and settings that a test's texts name."""
    texts = [
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    return {found for text in texts for found in _UNNUMBERED.findall(text)}


def covering() -> dict[str, list[str]]:
    """Row → `file::test` of every test that names it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(ROOT.glob("**/test_*.py")):
        if ".venv" in path.parts or ".bench" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
                "test_"
            ):
                rows_named = named_in(node.name + " " + (ast.get_docstring(node) or ""))
                for row in sorted(rows_named | unnumbered_in(node)):
                    found[row].append(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def page() -> str:
    """The whole file."""
    tests = covering()
    lines = [
        "# The contract, row by row",
        "",
        "Written by `python -m tests.contract_coverage` from the names of the tests; a test fails where it is stale.",
        "",
        "| row | about | state | tests |",
        "|---|---|---|---|",
    ]
    gaps = 0
    for row, words in rows():
        named = tests.get(row, [])
        state = "covered" if named else f"later: {LATER[row]}" if row in LATER else "**gap**"
        gaps += state == "**gap**"
        shown = "<br>".join(f"`{name.split('/')[-1]}`" for name in named[:4])
        more = f" and {len(named) - 4} more" if len(named) > 4 else ""
        lines.append(f"| {row} | {words} | {state} | {shown}{more} |")
    lines += ["", f"{len(rows())} rows, {gaps} of them without a test that names them.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
