"""The engine process: `manage.py runengine`."""

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.files import AlreadyHeldError
from inference.engine_process import EngineProcess


class Command(BaseCommand):
    help = "Own every model server of this machine: start, watch, restart, stop."

    def handle(self, *_args: Any, **_options: Any) -> None:
        process = EngineProcess()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: process.stop())
        try:
            process.run()
        except AlreadyHeldError as exc:
            raise CommandError("Another engine process already has this data path.") from exc
