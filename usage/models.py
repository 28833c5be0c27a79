"""What was used: one row per inference request, and how far the journal has been read."""

from typing import ClassVar

from django.db import models


class UsageEvent(models.Model):
    """One inference request. No foreign keys: it outlives user, key and model (contract 5.1).

    `id` is a UUIDv7 made at admission; recording it twice counts once. `counted` is False for what
    failed or was refused before any output (S-17, S-49): it is an error, never a request.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    created_at = models.DateTimeField()
    user_id = models.CharField(max_length=36)
    user_name = models.CharField(max_length=254)
    source = models.CharField(max_length=8)
    api_key_id = models.CharField(max_length=36, null=True)
    api_key_name = models.CharField(max_length=100, null=True)
    model = models.CharField(max_length=255)
    served_model = models.CharField(max_length=255)
    endpoint = models.CharField(max_length=200)
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    status = models.PositiveSmallIntegerField()
    counted = models.BooleanField()
    estimated = models.BooleanField(default=False)
    duration_ms = models.PositiveIntegerField(default=0)
    correlation_id = models.CharField(max_length=128, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(prompt_tokens__gte=0, completion_tokens__gte=0),
                name="usageevent_tokens_not_negative",
            ),
        ]
        indexes: ClassVar = [
            # E-14: one caller's window
            models.Index(fields=["user_id", "created_at"], name="usageevent_by_user"),
            # E-28: everybody's window
            models.Index(fields=["created_at"], name="usageevent_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.model}"


class JournalMark(models.Model):
    """How many bytes of a journal segment are in the database, moved with the rows themselves."""

    segment = models.CharField(max_length=120, primary_key=True)
    offset = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.segment}@{self.offset}"
