"""Django's admin site for prices and quota rules: looked at here, changed by the API."""

from django.contrib import admin
from django.http import HttpRequest

from accounts.admin import ReadOnlyAdmin
from usage.models import Price, QuotaRule
from usage.quotas.words import window_name


@admin.register(QuotaRule)
class QuotaRuleAdmin(ReadOnlyAdmin):
    list_display = (
        *("user", "api_key", "model", "window", "max_requests", "max_total_tokens", "max_cost"),
        "max_concurrent",
    )
    list_select_related = ("user", "api_key")
    search_fields = ("user__email", "model")

    @admin.display(description="Window")
    def window(self, rule: QuotaRule) -> str:
        return window_name(rule.window_s)

    def has_delete_permission(self, _request: HttpRequest, _obj: object = None) -> bool:
        return False


@admin.register(Price)
class PriceAdmin(ReadOnlyAdmin):
    list_display = ("model", "valid_from", "prompt", "cached_prompt", "completion", "unit")
    search_fields = ("model",)
    ordering = ("-valid_from",)

    def has_delete_permission(self, _request: HttpRequest, _obj: object = None) -> bool:
        return False
