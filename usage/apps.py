from django.apps import AppConfig


class UsageConfig(AppConfig):
    name = "usage"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.page_sources import QUOTA_LINES
        from accounts.runtime_settings.registry import register
        from usage import books, drain, metrics
        from usage.journal.lines import TRACE
        from usage.people.quota_words import lines_of
        from usage.quotas.service import charge_orphans
        from usage.traces import rows, settings

        register(settings.KEYS)
        QUOTA_LINES.append(lines_of)
        drain.SINKS[TRACE] = rows.insert_contents
        drain.LISTENERS.append(rows.trim_after)
        drain.LISTENERS.append(metrics.count)
        drain.ORPHAN_LISTENERS.append(charge_orphans)
        metrics.register_books_difference(books.latest_difference)
