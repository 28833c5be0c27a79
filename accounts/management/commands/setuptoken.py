"""Show the token that the first account of a reachable server needs (S-29, S-30)."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.registration import needs_setup_token, setup_token_path
from core.files import secret_from_file


class Command(BaseCommand):
    help = "Show the set-up token that the first account of a reachable server needs."

    def handle(self, *_args: Any, **_options: Any) -> None:
        if needs_setup_token():
            self.stdout.write(secret_from_file(setup_token_path()))
        else:
            self.stdout.write("No set-up token is needed.")
