"""Accounts, API keys and invites. Sessions are Django's own rows (see `accounts.sessions`)."""

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone


class Role(models.TextChoices):
    ADMIN = "admin", "Admin"
    USER = "user", "User"


class Status(models.TextChoices):
    ACTIVE = "active", "Active"
    PENDING = "pending", "Waiting"
    DISABLED = "disabled", "Disabled"


class Provider(models.TextChoices):
    LOCAL = "local", "Email and password"
    GITHUB = "github", "GitHub"
    OIDC = "oidc", "SSO"


class UserManager(BaseUserManager["User"]):
    """Accounts are found by their address, lower-cased."""

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").strip().lower())

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """An active admin, as `manage.py createsuperuser` makes it."""
        user = self.model(
            email=email.strip().lower(),
            name=fields.get("name") or email,
            role=Role.ADMIN,
            status=Status.ACTIVE,
        )
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser):
    """One account per e-mail address, whatever the provider (C-18).

    `provider` says how it was created; `subject` is the provider's own id of the person.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=200, blank=True)
    avatar_url = models.CharField(max_length=512, blank=True)
    role = models.CharField(max_length=8, choices=Role, default=Role.USER)
    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING)
    provider = models.CharField(max_length=8, choices=Provider, default=Provider.LOCAL)
    subject = models.CharField(max_length=255, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["provider", "subject"],
                condition=Q(subject__isnull=False),
                name="user_one_per_subject",
            ),
            models.CheckConstraint(
                condition=Q(email=Lower(F("email"))),
                name="user_email_is_lower_case",
                violation_error_message="Write the address in lower case.",
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="user_role_is_known"),
            models.CheckConstraint(
                condition=Q(status__in=Status.values), name="user_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(provider__in=Provider.values), name="user_provider_is_known"
            ),
        ]
        indexes: ClassVar = [
            # E-17 lists accounts oldest first
            models.Index(fields=["created_at"], name="user_by_age"),
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def display_name(self) -> str:
        return self.name or self.email

    @property
    def is_active(self) -> bool:  # type: ignore[override]  # Django asks by this name
        return self.status == Status.ACTIVE

    @property
    def is_staff(self) -> bool:
        return self.role == Role.ADMIN and self.is_active

    @property
    def is_superuser(self) -> bool:
        return self.is_staff

    def has_perm(self, _perm: str, _obj: object = None) -> bool:
        """Django's admin site asks here; the gate's table is what decides elsewhere."""
        return self.is_staff

    def has_module_perms(self, _app_label: str) -> bool:
        return self.is_staff


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


class SignUpLock(models.Model):
    """One row, locked while an account is made or an admin loses a right.

    "No human admin exists yet" (S-31) and "the last active admin" (S-08) are counted under it, so
    that two at once cannot both be right. SQLite's immediate transactions do the same by themselves.
    """

    id = models.PositiveSmallIntegerField(primary_key=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="signuplock_is_one_row"),
        ]

    def __str__(self) -> str:
        return "sign-up lock"
