"""The product's worker on asyncio's own loop, for `bench.choices`."""

from typing import Any, ClassVar

from inference import web_worker


class Worker(web_worker.Worker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {**web_worker.Worker.CONFIG_KWARGS, "loop": "asyncio"}
