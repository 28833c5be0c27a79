from django.apps import AppConfig


class UsageConfig(AppConfig):
    name = "usage"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from usage import books, drain, metrics
        from usage.quotas.service import charge_orphans

        drain.LISTENERS.append(metrics.count)
        drain.ORPHAN_LISTENERS.append(charge_orphans)
        metrics.register_books_difference(books.latest_difference)
