"""Traces: the last requests and engine calls, in tables that never grow past a bound (R-30)."""

from typing import ClassVar

from django.db import models


class RequestTrace(models.Model):
    """One inference request (R-12). `id` is its usage event's; who, with what and where are in its series.

    Times are microseconds; `ended_us` is since 1970, and rows go by it, the oldest first. No foreign
    keys: events go by their own retention.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    ended_us = models.BigIntegerField()
    series_id = models.IntegerField()
    status = models.SmallIntegerField()
    streamed = models.BooleanField()
    prompt_tokens = models.IntegerField()
    completion_tokens = models.IntegerField()
    gate_us = models.BigIntegerField()
    queue_us = models.BigIntegerField()
    first_us = models.BigIntegerField()
    rest_us = models.BigIntegerField()
    total_us = models.BigIntegerField()
    request_bytes = models.BigIntegerField()
    response_bytes = models.BigIntegerField()
    correlation_id = models.CharField(max_length=128)
    unknown_model = models.CharField(max_length=255, null=True)
    client_ip = models.CharField(max_length=64, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        indexes: ClassVar = [
            # the list, newest first, and what is to go
            models.Index(fields=["ended_us", "id"], name="requesttrace_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.status} {self.correlation_id}"


class TraceContent(models.Model):
    """Headers and bodies of a traced request, where they are kept (R-11): `data` as the journal had it.

    `n_bytes` is how much that is, `user_id` whose.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    kept_us = models.BigIntegerField()
    n_bytes = models.IntegerField()
    user_id = models.CharField(max_length=36)
    data = models.TextField()

    class Meta:
        indexes: ClassVar = [
            # what is to go
            models.Index(fields=["kept_us", "id"], name="tracecontent_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.pk}"


class EngineTrace(models.Model):
    """One call of an engine, or one load of a model (`kind`: `model_load`, empty for calls).

    A call has the id of its request. It says nothing of people.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    ended_us = models.BigIntegerField()
    kind = models.CharField(max_length=20, blank=True)
    model = models.CharField(max_length=255)
    backend = models.CharField(max_length=100, blank=True)
    endpoint = models.CharField(max_length=200, blank=True)
    status = models.SmallIntegerField()
    streamed = models.BooleanField(default=False)
    prompt_tokens = models.IntegerField(default=0)
    completion_tokens = models.IntegerField(default=0)
    first_us = models.BigIntegerField(default=0)
    total_us = models.BigIntegerField()
    correlation_id = models.CharField(max_length=128, blank=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        indexes: ClassVar = [
            # the list, newest first, and what is to go
            models.Index(fields=["ended_us", "id"], name="enginetrace_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.kind or self.endpoint} {self.model}"
