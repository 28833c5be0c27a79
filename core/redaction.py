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
_KEYS = re.compile(r"(lai-[0-9a-f]{8})[0-9a-f]{20,}")
_BEARERS = re.compile(r"([Bb](?:earer|EARER) )[^\s\"'\\]+")
_OTHERS_KEYS = re.compile(r"(?<!\w)((?:sk-|hf_|gh[pousr]_)\w{3})[\w-]{20,}")
_TOKENS = re.compile(
    r"(?<![\w-])((?>[\w-]*?eyJ)[\w-]{5})[\w-]++\.[\w-]++(?:\.[\w-]*+)*+"
)  # JWT and the like, cut ones too
_ALL = (_IN_PATHS, _IN_QUERIES, _KEYS, _BEARERS, _OTHERS_KEYS)


def redacted(text: str) -> str:
    """`text` with everything taken out that would let somebody in."""
    for each in _ALL:
        text = each.sub(r"\1…", text)
    return _TOKENS.sub(r"\1…", text) if "eyJ" in text else text


class Redacting(logging.Formatter):
    """Formats as usual, traceback included, then redacts."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))
