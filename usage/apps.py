from django.apps import AppConfig


class UsageConfig(AppConfig):
    name = "usage"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from usage.drain import ORPHAN_LISTENERS
        from usage.quotas.service import charge_orphans

        ORPHAN_LISTENERS.append(charge_orphans)
