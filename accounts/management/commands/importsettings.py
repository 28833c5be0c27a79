"""Bring LocalAI's settings into the database, once (R-21): the files are read, never written."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.audit import CLI
from accounts.runtime import env
from accounts.runtime_settings import store
from core.errors import GatehouseError

MAX_BYTES = 1024 * 1024


class Command(BaseCommand):
    help = (
        "Take over runtime_settings.json or api_keys.json of LocalAI. What cannot be taken is named "
        "and left out; what is in the file and not named is in force at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *_args: Any, **options: Any) -> None:
        if env().disable_runtime_settings:
            raise CommandError("LOCALAI_DISABLE_RUNTIME_SETTINGS is on: they would not count.")
        given = _read(options["file"])
        taken = 0
        for name, value in given.items():
            try:
                store.change({name: value}, by=CLI)
                taken += value is not None
            except GatehouseError as exc:
                self.stderr.write(f"left out: {exc.message}")
        self.stdout.write(f"{taken} of {len(given)} settings are as the file has them.")


def _read(path: Path) -> dict[str, Any]:
    """What the file sets; a list is one of keys. Raises CommandError."""
    try:
        raw = path.read_bytes()
        found = json.loads(raw) if len(raw) <= MAX_BYTES else None
    except OSError as exc:
        raise CommandError(f"{path.name} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise CommandError(f"{path.name} is not JSON") from exc
    if isinstance(found, list):
        return {store.API_KEYS: found}
    if not isinstance(found, dict):
        raise CommandError(f"{path.name} is neither LocalAI's settings nor a list of keys")
    return found
