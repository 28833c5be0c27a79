"""Whether the database's schema is the one this code was written for, and bringing it there."""

from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from accounts.runtime import env
from core.files import exclusive
from core.starting import Unreadable

_ADVISORY_LOCK = 0x6761_7465  # any constant of ours


def check_schema() -> str | None:
    """One line where the schema is older or newer than the code, or Unreadable; else None."""
    try:
        executor = MigrationExecutor(connection)
        known = set(executor.loader.graph.nodes)
        applied = set(executor.loader.applied_migrations)
    except DatabaseError as exc:
        return Unreadable.because_of(exc)
    finally:
        connection.close()
    apps = {app for app, _ in known}
    if newer := sorted(f"{app}.{name}" for app, name in applied - known if app in apps):
        return f"the database is newer than this version ({newer[-1]}); update Gatehouse"
    if known - applied:
        return "the database is older than this version; run `python manage.py migrate`"
    return None


def migrate_once() -> int:
    """Apply what is missing, while nobody else does; how many migrations that were.

    The lock is a file for this machine, and PostgreSQL's own for several. Raises DatabaseError.
    """
    with exclusive(env().data_path / "state" / "migrate.lock"):
        on_postgresql = connection.vendor == "postgresql"
        with connection.cursor() as cursor:
            if on_postgresql:
                cursor.execute("SELECT pg_advisory_lock(%s)", [_ADVISORY_LOCK])
            executor = MigrationExecutor(connection)
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
            if plan:
                call_command("migrate", verbosity=0, interactive=False)
            if on_postgresql:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_ADVISORY_LOCK])
        return len(plan)
