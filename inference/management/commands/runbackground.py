"""The background process: `manage.py runbackground`. Drains the journal, sweeps what expired."""

import logging
import os
import signal
import threading
import time
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from accounts import invalidation
from accounts.mail.queue import run_queue
from accounts.models import ApiKey, Session
from accounts.people import expire_group_admins
from accounts.social.availability import keep_fresh
from core.files import AlreadyHeldError, HeldLock
from core.stopping import Stop
from core.sweeps import SWEEPS
from inference import operations, stored_responses
from inference.pictures import keep_pictures
from usage.drain import background_lock, drain_quietly
from usage.upkeep import Upkeep

log = logging.getLogger("gatehouse.background")
DRAIN_EVERY_S, AFTER_FAILURE_S, SWEEP_EVERY_S = 0.5, 2.0, 3600.0
TASKS_EVERY_S, TASKS_KEPT = 2.0, timedelta(days=7)


def sweep() -> None:
    """Delete sessions, keys, stored responses and operations that have expired."""
    now = timezone.now()
    Session.objects.filter(expire_date__lte=now).delete()
    ApiKey.objects.filter(expires_at__lte=now).delete()
    DBTaskResult.objects.finished().filter(finished_at__lt=now - TASKS_KEPT).delete()
    expire_group_admins(now)
    stored_responses.sweep()
    operations.sweep()
    for work in SWEEPS:
        work()


def run_tasks(stop: Stop) -> None:
    """What may take long or wait for other servers, in a thread of its own until `stop`: the queue
    (mail), asking identity providers how they are, the upkeep of the books.
    """
    upkeep = Upkeep()
    while not stop.wait(TASKS_EVERY_S):
        try:
            upkeep.run()
            keep_fresh()
            run_queue(f"background-{os.getpid()}")
        except DatabaseError as exc:
            log.warning("queued work waits: %s", type(exc).__name__)
        except Exception:  # whatever it was, the next round comes
            log.exception("queued work went wrong")
        finally:
            connection.close()


class Command(BaseCommand):
    help = "Bring usage from the journal into the database and sweep what expired."

    def handle(self, *_args: Any, **_options: Any) -> None:
        stop = Stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        try:
            lock = HeldLock(background_lock())
        except AlreadyHeldError as exc:
            raise CommandError("Another background process has this data path.") from exc
        os.nice(10)  # behind the web processes where there are few processors
        if invalidation.is_needed():
            hear = threading.Thread(target=invalidation.follow, args=(stop,), daemon=True)
            hear.start()
        letters = threading.Thread(target=run_tasks, args=(stop,), name="tasks", daemon=True)
        letters.start()
        threading.Thread(target=keep_pictures, args=(stop,), name="pictures", daemon=True).start()
        swept_at = float("-inf")
        while not stop.is_set():
            drained = drain_quietly()
            if drained and time.monotonic() - swept_at > SWEEP_EVERY_S:
                swept_at = time.monotonic()
                self._sweep()
            if not drained:
                close_old_connections()
            stop.wait(DRAIN_EVERY_S if drained else AFTER_FAILURE_S)
        drain_quietly()
        lock.release()

    @staticmethod
    def _sweep() -> None:
        try:
            sweep()
        except DatabaseError as exc:
            log.warning("nothing was swept: %s", type(exc).__name__)
