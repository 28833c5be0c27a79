from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from chat import conversations, leases
        from core.sweeps import SWEEPS

        SWEEPS.extend((leases.sweep, conversations.sweep))
