"""A line of an engine's log as a page shows it: no terminal codes, and how bad it is.

`static/js/loglines.js` does the same to the lines that come live; a test holds the two together.
"""

import re
from typing import Literal

import orjson

Level = Literal["", "w", "e"]
Line = dict[str, str | int]
# What a terminal would act on: sequences that begin with ESC or its one-character form, then whatever
# other control characters there are, and those that turn the direction of text.
_SEQUENCES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ERROR = re.compile(r"\b(?:(?:ERROR|CRITICAL|FATAL|Traceback)\b|[A-Za-z]*(?:Error|Exception):)")
_WARNING = re.compile(r"\b(?:WARN(?:ING)?\b|[A-Za-z]*Warning:)")
LOOK_AT = 200


def plain(text: str) -> str:
    """The text without what a terminal would act on."""
    return _CONTROLS.sub("", _SEQUENCES.sub("", text))


def level(text: str) -> Level:
    """By the words of its beginning: `e` an error, `w` a warning."""
    beginning = text[:LOOK_AT]
    if _ERROR.search(beginning):
        return "e"
    return "w" if _WARNING.search(beginning) else ""


def shown(raw: bytes) -> Line:
    """A kept line for a template: number, time of day, whole moment, text, level.

    The text of another replica than the first begins with its number.
    """
    line = orjson.loads(raw)
    said = plain(line["text"])
    text = f"[{line['replica']}] {said}" if line.get("replica") else said
    return {
        "seq": line["seq"],
        "moment": line["timestamp"],
        "time": line["timestamp"][11:23],
        "text": text,
        "level": level(said),
    }
