"""Look at every entry of a gallery where it comes from: `manage.py checkgallery [--write]`."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from core.fetch_addresses import FetchError
from core.sizes import shown_size
from inference.gallery import BUILT_IN
from inference.gallery_check import NotWrittenError, look_at, write_down
from inference.gallery_schema import Checked, Entry, GalleryFaultError, read_entries
from inference.installing import InstallError


class Command(BaseCommand):
    help = "Check that the models of a gallery file are there; needs the Hugging Face Hub in reach."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, default=BUILT_IN, help="a gallery file")
        parser.add_argument("--write", action="store_true", help="put what was seen into the file")
        parser.add_argument("--only", metavar="NAME", help="this entry alone")

    def handle(self, *_args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            entries = read_entries(path.read_text(), called=path.name)
        except OSError as exc:
            raise CommandError(f"{path.name} cannot be read") from exc
        except GalleryFaultError as exc:
            raise CommandError(str(exc)) from exc
        wanted = [entry for entry in entries if options["only"] in {None, entry.name}]
        seen: dict[str, Checked] = {}
        failed = sum(not self._check(entry, seen) for entry in wanted)
        if options["write"] and seen:
            try:
                write_down(path, seen)
            except NotWrittenError as exc:
                raise CommandError(f"{path.name}, {exc}") from exc
        if failed:
            raise CommandError(f"{failed} of {len(wanted)} entries could not be checked")

    def _check(self, entry: Entry, seen: dict[str, Checked]) -> bool:
        """Say how it is, in one line; False where something is wrong."""
        try:
            found = look_at(entry, today=timezone.now().date())
        except (InstallError, FetchError) as exc:
            self.stdout.write(f"{entry.name}: {exc}")
            return False
        if found is None:
            self.stdout.write(f"{entry.name}: not of the hub, not looked at")
            return True
        seen[entry.name] = found
        size, context = shown_size(found.size) or "?", found.context or "?"
        line = f"{entry.name}: {size}, context {context}, licence {found.license or '?'}"
        said = (entry.license or "").lower()
        if found.license and said and found.license.lower() != said:
            line += f" (the gallery says {entry.license})"
        self.stdout.write(line)
        return True
