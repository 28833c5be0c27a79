"""Running what is queued: by the background process, and by whoever wants it done now."""

from django_tasks_db.management.commands.db_worker import Worker


def run_queue(worker_id: str) -> None:
    """Run everything that is due, then return. Raises DatabaseError where the queue cannot be read."""
    Worker(
        queue_names=["*"],
        interval=0,
        batch=True,
        backend_name="default",
        startup_delay=False,
        max_tasks=None,
        worker_id=worker_id,
        excluded_queue_names=[],
    ).run()
