"""Log lines as JSON, for machines to read (`LOCALAI_LOG_FORMAT=json`): one object a line."""

import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from core import correlation
from core.redaction import redacted


def process_name(argv: Sequence[str]) -> str:
    """Which of our processes this is: `web`, `background`, `engine`, `serve`, …"""
    program = argv[0] if argv else ""
    if "gunicorn" in program:
        return "web"
    return argv[1].removeprefix("run") if len(argv) > 1 else Path(program).stem


class JsonLines(logging.Formatter):
    """Redacts as `core.redaction.Redacting` does, traceback included."""

    def __init__(self) -> None:
        super().__init__()
        self._process = process_name(sys.argv)

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        entry = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
            "process": self._process,
            "pid": record.process,
        }
        if given := correlation.current.get():
            entry["correlation_id"] = redacted(given.decode("latin-1"))
        if record.exc_info:
            entry["exception"] = redacted(self.formatException(record.exc_info))
        if record.stack_info:
            entry["stack"] = redacted(record.stack_info)
        return json.dumps(entry)
