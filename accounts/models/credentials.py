"""What lets somebody in: sessions, API keys and invites. Only digests of secrets are stored."""

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models.people import Role, User


class Session(AbstractBaseSession):
    """A signed-in browser: Django's session, and what its owner is shown of it (S-25).

    `session_key` is no credential (the cookie is signed, see `accounts.sessions`), and yet never
    shown: `public_id` names a session to its owner.
    """

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="sessions")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(default=timezone.now, editable=False)
    address = models.CharField(max_length=64, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)

    class Meta(AbstractBaseSession.Meta):
        indexes: ClassVar = [
            # the owner's list, newest first
            models.Index(fields=["user", "-created_at"], name="session_by_owner"),
        ]

    def __str__(self) -> str:
        return str(self.public_id)

    @classmethod
    def get_session_store_class(cls) -> Any:
        from accounts.session_store import SessionStore  # the store imports this class

        return SessionStore

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Django saves a whole new object over the row: what it does not know stays as it was."""
        if kwargs.get("force_update") and not kwargs.get("update_fields"):
            kwargs["update_fields"] = ["session_data", "expire_date", "user"]
        super().save(*args, **kwargs)


class ApiKey(models.Model):
    """A credential of one account. Only its prefix and an HMAC of it are stored (contract 2.5)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12)
    digest = models.CharField(max_length=64, unique=True)
    digest_key_id = models.CharField(max_length=8)
    role = models.CharField(max_length=8, choices=Role)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        indexes: ClassVar = [
            # E-12 lists the caller's keys, newest first
            models.Index(fields=["user", "-created_at"], name="apikey_by_owner"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def is_usable(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


class Invite(models.Model):
    """A link that registers one account. Used means `used_at`, whoever was deleted since (W-04)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    prefix = models.CharField(max_length=8)
    digest = models.CharField(max_length=64, unique=True)
    digest_key_id = models.CharField(max_length=8)
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="invites_made"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="invites_used"
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(used_by__isnull=True) | Q(used_at__isnull=False),
                name="invite_used_by_means_used_at",
            ),
        ]
        indexes: ClassVar = [
            # E-31 lists invites, newest first
            models.Index(fields=["-created_at"], name="invite_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…"

    def state(self, now: datetime) -> str:
        """`used`, `expired` or `available`."""
        if self.used_at is not None:
            return "used"
        return "expired" if self.expires_at <= now else "available"
