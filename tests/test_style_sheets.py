"""Our style sheets are whole: what stands outside the layers would win over everything in them."""

import re

import pytest

from tests.servers import ROOT

SHEETS = sorted((ROOT / "static").glob("*.css"))


def outside(css):
    """What stands outside any block, up to its brace; None where braces do not match."""
    css = re.sub(r'/\*.*?\*/|"[^"]*"', "", css, flags=re.DOTALL)
    depth, found, begin = 0, [], 0
    for i, letter in enumerate(css):
        if letter == "{":
            if depth == 0:
                found.append(css[begin:i].strip())
            depth += 1
        elif letter == "}":
            depth, begin = depth - 1, i + 1
            if depth < 0:
                return None
    return found if depth == 0 else None


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_every_rule_is_in_a_layer(sheet):
    found = outside(sheet.read_text())

    assert found is not None, "braces do not match"
    named = ("@layer tokens, base, components;", "@layer", "@font-face")
    assert [each for each in found if not each.startswith(named)] == []


def test_a_brace_too_many_is_found():
    assert outside("@layer a { .b { } } .c { }") == ["@layer a", ".c"]
    assert outside("@layer a { .b { } } }") is None
    assert outside("@layer a { .b {") is None
