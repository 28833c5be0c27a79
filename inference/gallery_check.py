"""Looking at what a gallery's entries point to, and writing down what was seen (R-32)."""

import json
import re
from datetime import date
from pathlib import Path

from core.fetcher import Limits
from core.strict_yaml import read_yaml
from inference import hub
from inference.gallery_schema import Checked, Entry, read_entries
from inference.model_sources import HubSource, read_source

_CONFIG = Limits(max_bytes=1024 * 1024, read_s=20, total_s=30)
_ENTRY, _CHECKED = re.compile(r"- name: \S+\s*"), re.compile(r"  checked: \{.*\}\s*")


class NotWrittenError(Exception):
    """The file is laid out in a way that would not survive being written."""


def look_at(entry: Entry, *, today: date) -> Checked | None:
    """What the hub says of it now; None for what comes from elsewhere.

    Raises InstallError, FetchError, also where it could not be installed as it is.
    """
    source = read_source(entry.files[0].uri)
    if not isinstance(source, HubSource):
        return None
    found = hub.look_up(source)
    size = sum(file.size for file in hub.chosen(found))
    context = _context(hub.read_file(source, found.commit, "config.json", _CONFIG))
    return Checked(
        date=today.isoformat(), size=size or None, context=context, license=found.license or None
    )


def _context(body: bytes) -> int | None:
    try:
        config = json.loads(body)
    except ValueError:
        return None
    for part in (config, config.get("text_config") if isinstance(config, dict) else None):
        length = part.get("max_position_embeddings") if isinstance(part, dict) else None
        if type(length) is int and length > 0:
            return length
    return None


def write_down(path: Path, seen: dict[str, Checked]) -> None:
    """Put what was seen into the file, each entry's own line; everything else stays as it is.

    Raises NotWrittenError where an entry does not begin with a line `- name: …` of its own.
    """
    text = path.read_text()
    lines = text.splitlines()
    document = read_yaml(text)
    for i in reversed(range(len(document.data or []))):
        checked = seen.get(str(document.data[i]["name"]))
        if checked is None:
            continue
        begin = document.line_of((i,)) - 1
        if not _ENTRY.fullmatch(lines[begin]):
            raise NotWrittenError(f"line {begin + 1}: wants `- name: …` alone on its line")
        new = f"  checked: {_flow(checked)}"
        if "checked" in document.data[i]:
            at = document.line_of((i, "checked")) - 1
            if not _CHECKED.fullmatch(lines[at]):
                raise NotWrittenError(f"line {at + 1}: wants `  checked: {{…}}` on one line")
            lines[at] = new
        else:
            lines.insert(begin + 1, new)
    written = "\n".join(lines) + "\n"
    read_entries(written, called=path.name)  # never leave a file that cannot be read
    path.write_text(written)


def _flow(checked: Checked) -> str:
    """As YAML on one line; JSON is YAML."""
    known = {key: value for key, value in checked.model_dump().items() if value is not None}
    return json.dumps(known)
