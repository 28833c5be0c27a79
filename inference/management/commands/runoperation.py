"""Work one operation off, as the engine process's child: `manage.py runoperation ID`."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand

from inference.models import Operation
from inference.operation_work import work_off


class Command(BaseCommand):
    help = "Work one operation off (the engine process starts this)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=UUID)

    def handle(self, *_args: Any, **options: Any) -> None:
        work_off(Operation.objects.get(pk=options["id"]))
