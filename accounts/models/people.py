"""Accounts: one row per person, and the lock that admins are counted under."""

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import F, Func, Q, TextField
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


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


class Theme(models.TextChoices):
    SYSTEM = "system", _("As the system")
    LIGHT = "light", _("Light")
    DARK = "dark", _("Dark")


class RoleSource(models.TextChoices):
    HAND = "hand", "Given by hand"
    GROUPS = "groups", "From the provider's groups"


class ShownName(Func):
    """The name in lower case, or the address of who has none: what lists of people are ordered by.

    Written without parameters, so that SQLite finds the index on it.
    """

    template = "LOWER(COALESCE(NULLIF(%(expressions)s))"
    arg_joiner = ", ''), "
    output_field = TextField()

    def __init__(self) -> None:
        super().__init__(F("name"), F("email"))


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
    # when a session or key of theirs was last used, to the minute (accounts.lookup.touch)
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    email_verified_at = models.DateTimeField(null=True, blank=True, editable=False)
    # where the role comes from, and when a sign-in last showed the group (S-44)
    role_source = models.CharField(max_length=8, choices=RoleSource, default=RoleSource.HAND)
    groups_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    # E-23: what was set, by feature; what is missing has its default (accounts.features)
    permissions = models.JSONField(default=dict, blank=True)
    # E-24: only these may be used, where the restriction is on
    models_restricted = models.BooleanField(default=False)
    allowed_models = models.JSONField(default=list, blank=True)
    # after an admin's reset (E-20): a session may do nothing but set a new password
    must_change_password = models.BooleanField(default=False)
    # how the pages look to this person; an empty language is the browser's
    theme = models.CharField(max_length=6, choices=Theme, default=Theme.SYSTEM)
    language = models.CharField(max_length=10, blank=True)
    shortcuts = models.BooleanField(default=True)  # single-letter keys (WCAG 2.1.4)

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
            models.CheckConstraint(condition=Q(theme__in=Theme.values), name="user_theme_is_known"),
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
            models.Index(ShownName(), "id", name="user_by_shown_name"),
            # who waits is counted on every admin's page
            models.Index(
                fields=["created_at", "id"], condition=Q(status=Status.PENDING), name="user_waiting"
            ),
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

    @classmethod
    def take(cls) -> None:
        """Until the running transaction ends."""
        cls.objects.select_for_update().get_or_create(id=1)
