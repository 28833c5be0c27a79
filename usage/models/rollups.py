"""Sums of events by hour, day and month (UTC), and the proof that they are right."""

from typing import ClassVar

from django.db import models

_EMPTY = models.Value({}, models.JSONField())


class Grain(models.IntegerChoices):
    """The width of a rollup's bucket. A bucket is a number: hours or days since 1970, or months
    since the year 0 (`year * 12 + month - 1`)."""

    HOUR = 0, "hour"
    DAY = 1, "day"
    MONTH = 2, "month"


class Sums(models.Model):
    """What every rollup adds up. `last_ms` is the latest event's time, milliseconds since 1970."""

    requests = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    prompt_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    units = models.BigIntegerField(default=0)
    cost = models.BigIntegerField(default=0)
    last_ms = models.BigIntegerField(default=0)

    class Meta:
        abstract = True


class UsageRollup(Sums):
    """Sums of one series in one bucket; written in the transaction of its events."""

    pk = models.CompositePrimaryKey("grain", "bucket", "series_id")
    grain = models.SmallIntegerField(choices=Grain)
    bucket = models.IntegerField()
    series_id = models.IntegerField()

    class Meta:
        db_table = "usage_rollup"

    def __str__(self) -> str:
        return f"{self.grain}/{self.bucket}/{self.series_id}"


class ModelRollup(Sums):
    """Sums of one model in one bucket, everybody's: the dashboard's curves, and how long things took.

    `durations` and `first_tokens` are histograms of milliseconds: bin → count (`usage.histograms`).
    `statuses` counts events by HTTP status.
    """

    pk = models.CompositePrimaryKey("grain", "bucket", "model")
    grain = models.SmallIntegerField(choices=Grain)
    bucket = models.IntegerField()
    model = models.CharField(max_length=255)
    durations = models.JSONField(default=dict, db_default=_EMPTY)
    first_tokens = models.JSONField(default=dict, db_default=_EMPTY)
    statuses = models.JSONField(default=dict, db_default=_EMPTY)

    class Meta:
        db_table = "usage_modelrollup"

    def __str__(self) -> str:
        return f"{self.grain}/{self.bucket}/{self.model}"


class BooksCheck(models.Model):
    """One comparison of journal, events and rollups (`usage.books`). `difference` has to be 0."""

    at = models.DateTimeField()
    difference = models.BigIntegerField()
    report = models.JSONField()

    class Meta:
        indexes: ClassVar = [
            # the latest one is what is shown
            models.Index(fields=["-at"], name="bookscheck_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.at}: {self.difference}"
