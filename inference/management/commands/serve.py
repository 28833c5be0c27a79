"""Start everything of one machine: `manage.py serve`, which `make serve` calls."""

import logging
import shutil
import signal
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from accounts.runtime import env
from core import metric_files
from core.static_files import collect_once
from inference.schema_version import check_schema, migrate_once
from inference.serving import ServeError, Server, listening_socket

log = logging.getLogger("gatehouse.serve")
MIN_FREE = 200 * 1024 * 1024


class Command(BaseCommand):
    help = "Migrate, then start web, background and engine processes; stop them all on Ctrl-C."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--web-only", action="store_true", help="no engine process: all engines are remote"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        for warning in settings.ENVIRONMENT_WARNINGS:
            self.say(f"warning: {warning}")
        if shutil.disk_usage(env().data_path).free < MIN_FREE:
            raise CommandError("the disk is full; free some space and start again")
        try:
            listening = listening_socket()
        except ServeError as exc:
            raise CommandError(str(exc)) from exc
        metric_files.empty(env().data_path / "metrics")
        self._migrate()
        if not collect_once():
            self.say("warning: staticfiles/ cannot be written; static files go out uncompressed")
        # also without a configured model, as an admin may install some; not where all are remote
        has_own = bool(env().local_models) or not env().engines
        with_engines = has_own and not options["web_only"]
        server = Server(listening, with_engines=with_engines, say=self.say)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: server.stop())
        status = server.run()
        if status:
            sys.exit(status)

    def _migrate(self) -> None:
        try:
            applied = migrate_once()
        except DatabaseError as exc:
            text = str(exc).strip().splitlines()
            raise CommandError(
                f"the database cannot be used ({type(exc).__name__}: {text[0] if text else ''}); "
                "is it running, and is LOCALAI_AUTH_DATABASE_URL right?"
            ) from exc
        if applied:
            self.say(f"database: {applied} migrations applied")
        if (problem := check_schema()) is not None:
            raise CommandError(problem)

    def say(self, line: str) -> None:
        if env().log_format == "json":
            log.info("%s", line)
            return
        self.stdout.write(line)
        self.stdout.flush()
