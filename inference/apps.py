from django.apps import AppConfig


class InferenceConfig(AppConfig):
    name = "inference"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from inference import stored_responses
        from usage.drain import SINKS
        from usage.journal import RESPONSE

        SINKS[RESPONSE] = stored_responses.insert
