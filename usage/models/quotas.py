"""How much may be used: rules on a person or on one of their API keys."""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import ApiKey, User


class QuotaRule(models.Model):
    """One limit set over a sliding window (contract 4.4, S-51). An empty maximum is no limit.

    On a user, or on one of their keys (`api_key`); on one model, or on all (`model` empty). Groups
    will be a third kind of subject. `max_cost` is in 10⁻⁹ of LOCALAI_CURRENCY. What the window holds
    is not here: `usage.quotas` counts it, and goes on counting when a maximum changes.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="quota_rules")
    api_key = models.ForeignKey(
        ApiKey, models.CASCADE, null=True, blank=True, related_name="quota_rules"
    )
    model = models.CharField(max_length=255, blank=True)
    window_s = models.PositiveIntegerField()
    max_requests = models.BigIntegerField(null=True, blank=True)
    max_total_tokens = models.BigIntegerField(null=True, blank=True)
    max_cost = models.BigIntegerField(null=True, blank=True)
    max_concurrent = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "model", "window_s"],
                condition=Q(api_key__isnull=True),
                name="quotarule_one_per_user_model_window",
            ),
            models.UniqueConstraint(
                fields=["api_key", "model", "window_s"],
                condition=Q(api_key__isnull=False),
                name="quotarule_one_per_key_model_window",
            ),
            models.CheckConstraint(condition=Q(window_s__gte=1), name="quotarule_window_positive"),
            models.CheckConstraint(
                condition=(
                    (Q(max_requests__isnull=True) | Q(max_requests__gte=0))
                    & (Q(max_total_tokens__isnull=True) | Q(max_total_tokens__gte=0))
                    & (Q(max_cost__isnull=True) | Q(max_cost__gte=0))
                ),
                name="quotarule_maxima_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.model or 'all models'} {self.window_s} s"
