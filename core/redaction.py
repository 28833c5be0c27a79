"""No link, code or token in any log, whoever writes the line (S-02, S-29)."""

import logging
import re

# Every one takes time in proportion to the text, whatever a caller makes of it: what repeats is
# possessive, and a token is looked for once in each run of its characters.
_IN_PATHS = re.compile(r"(/(?:invite|reset|verify)/)[^/\s\"'?]+")
_IN_QUERIES = re.compile(
    r"((?:^|[?&\s\"'])(?:invite_code|setup_token|token|code|state|id_token_hint|access_token"
    r"|refresh_token|api[_-]?key|client_secret|password)=)[^&\s\"']+"
)
_CREDENTIALS = re.compile(
    r"(lai-[0-9a-f]{8})[0-9a-f]{20,}|((?i:bearer) )[^\s\"'\\]+"
    r"|(?<!\w)((?:sk-|hf_|gh[pousr]_)\w{3})[\w-]{20,}"  # keys of other places
    r"|(?<![\w-])((?>[\w-]*?eyJ)[\w-]{5})[\w-]++\.[\w-]++(?:\.[\w-]*+)*+"
)


def redacted(text: str) -> str:
    """`text` with everything taken out that would let somebody in."""
    text = _IN_PATHS.sub(r"\1…", text)
    text = _IN_QUERIES.sub(r"\1…", text)
    return _CREDENTIALS.sub(lambda found: (found[found.lastindex or 0]) + "…", text)


class Redacting(logging.Formatter):
    """Formats as usual, traceback included, then redacts."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))
