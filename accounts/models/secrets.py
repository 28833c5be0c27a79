"""Which secrets this database's credentials were made with."""

from django.db import models
from django.utils import timezone


class SecretVersion(models.Model):
    """The public id of a secret (never the secret): a replica with none of them is misconfigured."""

    key_id = models.CharField(max_length=8, primary_key=True)
    first_seen_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.key_id
