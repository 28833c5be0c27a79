"""The audit trail: who did what, from where, what was before and after."""

from typing import Any, ClassVar, NoReturn

from django.db import models
from django.utils import timezone


class AuditRecord(models.Model):
    """One line of the trail. No foreign keys: it outlives whoever it names. Never changed (W-18)."""

    at = models.DateTimeField(default=timezone.now, editable=False)
    action = models.CharField(max_length=40)
    actor_id = models.CharField(max_length=36, blank=True)
    actor_name = models.CharField(max_length=254, blank=True)
    source = models.CharField(max_length=10)
    address = models.CharField(max_length=64, blank=True)
    subject_id = models.CharField(max_length=36, blank=True)
    subject_name = models.CharField(max_length=254, blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    class Meta:
        indexes: ClassVar = [
            # newest first; one actor's; one kind of action
            models.Index(fields=["-at", "-id"], name="audit_by_time"),
            models.Index(fields=["actor_id", "-at"], name="audit_by_actor"),
            models.Index(fields=["action", "-at"], name="audit_by_action"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Only ever inserted."""
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError("the audit trail is append-only")
