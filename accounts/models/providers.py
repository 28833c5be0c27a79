"""What was last learnt of an identity provider."""

from django.db import models


class IdentityProvider(models.Model):
    """One configured provider that has metadata to fetch (OpenID Connect Discovery)."""

    name = models.CharField(max_length=16, primary_key=True)
    issuer = models.CharField(max_length=512)
    works = models.BooleanField()
    reason = models.CharField(max_length=300, blank=True)
    document = models.JSONField(default=dict)
    checked_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
