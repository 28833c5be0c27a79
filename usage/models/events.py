"""What happened: one row per inference request, the names it refers to, and the journal's marks."""

from datetime import UTC, datetime
from typing import ClassVar

from django.db import models


class UsageSeries(models.Model):
    """Who, with what, on which model, where: the names that events and rollups refer to by number.

    One row per combination that ever occurred. No foreign keys: it outlives user, key and model, and
    a deleted user's rows become nobody's here, in a few rows, whatever the number of events (S-19).
    `digest` is of the combination, or of the row's own id once it was anonymised.
    """

    id = models.AutoField(primary_key=True)
    digest = models.CharField(max_length=32, unique=True)
    user_id = models.CharField(max_length=36)
    user_name = models.CharField(max_length=254)
    source = models.CharField(max_length=8)
    api_key_id = models.CharField(max_length=36, null=True)
    api_key_name = models.CharField(max_length=100, null=True)
    model = models.CharField(max_length=255, blank=True)
    served_model = models.CharField(max_length=255, blank=True)
    endpoint = models.CharField(max_length=200)
    # what `units` of its events count: seconds, characters, images, steps; empty for tokens alone
    unit = models.CharField(max_length=10, blank=True)

    class Meta:
        indexes: ClassVar = [
            # E-14, E-15 and forgetting a user: one person's combinations
            models.Index(fields=["user_id"], name="usageseries_by_user"),
            # E-29: one key's combinations
            models.Index(fields=["api_key_id"], name="usageseries_by_key"),
        ]

    def __str__(self) -> str:
        return f"{self.user_name} {self.model} {self.endpoint}"


class UsageEvent(models.Model):
    """One inference request (contract 5.1).

    `id` is a UUIDv7 made at admission, so it holds the time; recording it twice counts once. On
    PostgreSQL the table is partitioned by month on it, and has an index on (series_id, id) besides: one
    person's exports and latency would read everybody's months otherwise.

    `counted` is False for what failed or was refused before any output (S-17, S-49): an error, never a
    request. `units` are thousandths of the series' unit, `cost` 10⁻⁹ of the currency. `unknown_model` is
    what was asked for where no model has that name.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    cost = models.BigIntegerField(default=0)
    units = models.BigIntegerField(default=0)
    series_id = models.IntegerField()
    prompt_tokens = models.IntegerField(default=0)
    cached_tokens = models.IntegerField(default=0)
    completion_tokens = models.IntegerField(default=0)
    duration_ms = models.IntegerField(default=0)
    first_token_ms = models.IntegerField(null=True)
    queue_ms = models.IntegerField(default=0)
    status = models.SmallIntegerField()
    counted = models.BooleanField()
    estimated = models.BooleanField(default=False)
    streamed = models.BooleanField(default=False)
    correlation_id = models.CharField(max_length=128, blank=True)
    unknown_model = models.CharField(max_length=255, null=True)

    class Meta:
        db_table = "usage_event"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(
                    prompt_tokens__gte=0,
                    cached_tokens__gte=0,
                    completion_tokens__gte=0,
                    units__gte=0,
                ),
                name="usageevent_counts_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id}: {self.status}"

    @property
    def at(self) -> datetime:
        """When the request was admitted, to the millisecond."""
        return datetime.fromtimestamp((self.id.int >> 80) / 1000, tz=UTC)


class JournalMark(models.Model):
    """How far a journal segment is in the database, moved in the transaction of the rows themselves.

    Kept after the segment is gone (`done_at`), so that one that comes back, from a backup say, is not
    read again.
    """

    segment = models.CharField(max_length=120, primary_key=True)
    offset = models.BigIntegerField()
    done_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.segment}@{self.offset}"


class RetentionMark(models.Model):
    """Events of before `expired_before` may be gone; their sums are not. One row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    expired_before = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="retentionmark_is_one_row"),
        ]

    def __str__(self) -> str:
        return f"{self.expired_before}"
