from django.apps import AppConfig


class InferenceConfig(AppConfig):
    name = "inference"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.gate import close_to_admins
        from accounts.page_sources import MODEL_NAMES
        from accounts.runtime import env
        from accounts.runtime_settings.registry import register
        from inference import setting_keys, stored_responses
        from inference.model_names import names_for_pages
        from usage.drain import SINKS
        from usage.journal.lines import RESPONSE

        register(setting_keys.KEYS, setting_keys.consequences)
        MODEL_NAMES.append(names_for_pages)
        SINKS[RESPONSE] = stored_responses.insert
        if env().metrics_users:
            close_to_admins("metrics")
