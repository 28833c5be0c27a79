"""Show the letters that are files, because no mail server is configured (S-29)."""

import email
import email.policy
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Show the newest letters that were written to files."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--last", type=int, default=5)

    def handle(self, *_args: Any, **options: Any) -> None:
        files = sorted(Path(settings.EMAIL_FILE_PATH or ".").glob("*.eml"))[
            -max(1, options["last"]) :
        ]
        for path in files:
            letter = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            body = letter.get_body(preferencelist=("plain",))
            self.stdout.write(f"To: {letter['to']}\nSubject: {letter['subject']}\n")
            self.stdout.write(body.get_content() if body is not None else "")
        if not files:
            self.stdout.write("There are no letters in files.")
