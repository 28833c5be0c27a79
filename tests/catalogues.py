"""Reads a catalogue of translations (`.po`), with what gettext itself hides: flags and empty texts."""

import ast
from dataclasses import dataclass, field


@dataclass(slots=True)
class Entry:
    """One text; `plural` is empty where it has none, `msgstr` then holds one translation."""

    context: str = ""
    msgid: str = ""
    plural: str = ""
    msgstr: tuple[str, ...] = ()
    flags: set[str] = field(default_factory=set)


def entries(text: str) -> list[Entry]:
    """All but the head and the obsolete ones."""
    found = [_entry(block.splitlines()) for block in text.split("\n\n")]
    return [each for each in found if each.msgid]


def _entry(lines: list[str]) -> Entry:
    values: dict[str, str] = {}
    flags: set[str] = set()
    last = ""
    for line in lines:
        if line.startswith("#,"):
            flags |= {each.strip() for each in line[2:].split(",")}
        elif line.startswith("#") or not line:
            continue
        else:
            name, value = ("", line) if line.startswith('"') else line.split(" ", 1)
            last = name or last
            values[last] = values.get(last, "") + ast.literal_eval(value)
    texts = tuple(value for key, value in values.items() if key.startswith("msgstr"))
    given = (values.get(key, "") for key in ("msgctxt", "msgid", "msgid_plural"))
    return Entry(*given, texts, flags)
