"""gunicorn's own lines as JSON, for `LOCALAI_LOG_FORMAT=json`: its master reads no Django settings."""

from gunicorn.config import Config
from gunicorn.glogging import Logger

from core.json_lines import JsonLines


class JsonLogger(Logger):  # type: ignore[misc]  # the package has no types
    """Named on gunicorn's command line (inference.web_server)."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonLines())
