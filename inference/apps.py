from django.apps import AppConfig


class InferenceConfig(AppConfig):
    name = "inference"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.gate import close_to_admins
        from accounts.runtime import env
        from inference import stored_responses
        from usage.drain import SINKS
        from usage.journal.lines import RESPONSE

        SINKS[RESPONSE] = stored_responses.insert
        if env().metrics_users:
            close_to_admins("metrics")
