"""Settings that were changed while the server ran."""

from typing import ClassVar

from django.db import models
from django.db.models import Q


class ServerSetting(models.Model):
    """One setting by its key (R-21). A row stands for what differs from the default, or once did.

    Secrets are in here as HMACs or sealed (`accounts.runtime_settings.secret_keys`).
    """

    key = models.CharField(max_length=64, primary_key=True)
    value = models.JSONField(null=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(key=""), name="serversetting_has_a_key"),
        ]

    def __str__(self) -> str:
        return self.key
