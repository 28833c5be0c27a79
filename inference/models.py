"""Models, their engines, operations that take long, and stored responses."""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone


class Model(models.Model):
    """One installed model: a row and a directory below the models path.

    `options` are names that the backend's recipe declares; `source` says where it came from and
    `checksum` what arrived. A row is made when the directory is whole (R-16). `wanted_at` and
    `unload_asked_at` ask the engine process to load or unload it, which empties them when it did.
    `memory_bytes` is what one engine of it was measured to take, on its card or of the RAM.
    A `pinned` model is never unloaded to make room for another; `replicas` engines serve it.

    `size_bytes` are its files on disk, None where nobody looked. `file_digest` notes
    which texts of its configuration file are ours (inference/configuration_files.py).
    """

    name = models.CharField(max_length=255, primary_key=True)
    description = models.CharField(max_length=500, blank=True)
    source = models.CharField(max_length=500)
    checksum = models.CharField(max_length=64, blank=True)
    backend = models.CharField(max_length=50)
    directory = models.CharField(max_length=500)
    options = models.JSONField(default=dict)
    capabilities = models.JSONField(default=list)
    is_default = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    load_at_start = models.BooleanField(default=True)
    pinned = models.BooleanField(default=False)
    replicas = models.PositiveSmallIntegerField(default=1)
    memory_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    idle_timeout_s = models.PositiveIntegerField(null=True, blank=True)
    wanted_at = models.DateTimeField(null=True, blank=True)
    unload_asked_at = models.DateTimeField(null=True, blank=True)
    installed_at = models.DateTimeField(default=timezone.now)
    size_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    file_digest = models.CharField(max_length=130, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="model_one_default"
            ),
            models.CheckConstraint(
                condition=Q(replicas__gte=1, replicas__lte=64), name="model_replicas"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def engine(self) -> "Engine | None":
        """The engine that speaks for the model: one that serves, else one that is about to.

        None where nobody ever started one. Costs no query where `engines` were prefetched.
        """
        engines = self.engines.all()
        return min(engines, key=lambda each: (says_most(each.state), each.replica), default=None)


class ModelAlias(models.Model):
    """Another name that callers may use for a model: nobody else's alias, and no model's name.

    The first is the key's doing, the second that of `inference.model_names`, which holds the lock.
    """

    name = models.CharField(max_length=255, primary_key=True)
    model = models.ForeignKey(Model, models.CASCADE, related_name="aliases")

    def __str__(self) -> str:
        return f"{self.name} -> {self.model_id}"


class EngineState(models.TextChoices):
    STARTING = "starting", "Loading"
    READY = "ready", "Ready"
    DRAINING = "draining", "Stopping"
    WAITING = "waiting", "Waiting to start again"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"


# What an engine's row says while its backend is upgraded in its place: callers are held meanwhile.
SWITCHING = "its backend is being upgraded"
_IN_ORDER = [
    EngineState.READY,
    EngineState.STARTING,
    EngineState.WAITING,
    EngineState.DRAINING,
    EngineState.STOPPED,
    EngineState.FAILED,
]


def says_most(state: str) -> int:
    """The place of a state among those of a model's engines: the lowest is the model's own."""
    return _IN_ORDER.index(EngineState(state))


class Engine(models.Model):
    """One engine process of this machine, as its supervisor last saw it.

    A model has as many as it has replicas; the first is number 0.
    """

    model = models.ForeignKey(Model, models.CASCADE, related_name="engines", db_index=False)
    replica = models.PositiveSmallIntegerField(default=0)
    state = models.CharField(max_length=8, choices=EngineState, default=EngineState.STOPPED)
    address = models.CharField(max_length=200, blank=True)
    pid = models.PositiveIntegerField(null=True, blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    message = models.CharField(max_length=500, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ready_at = models.DateTimeField(null=True, blank=True)
    next_try_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "replica"], name="engine_one_per_replica"),
            models.CheckConstraint(
                condition=Q(state__in=EngineState.values), name="engine_state_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model_id} ({self.replica}): {self.state}"


class OperationState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Operation(models.Model):
    """Something that takes long; its row is its queue (design.md, "Processes").

    `kind`, `action` and `target` say what: install or delete a backend or a model, by its name
    here. `asked_for` is what the caller named (`gallery@name`), `details` the rest of the request.
    Sizes are None while nobody knows them; `log_tail` are its last words, one a line.
    """

    class Kind(models.TextChoices):
        BACKEND = "backend", "Backend"
        MODEL = "model", "Model"

    class Action(models.TextChoices):
        INSTALL = "install", "Install"
        DELETE = "delete", "Delete"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=8, choices=Kind)
    action = models.CharField(max_length=7, choices=Action, default=Action.INSTALL)
    target = models.CharField(max_length=255)
    asked_for = models.CharField(max_length=500, blank=True)
    asked_by = models.CharField(max_length=254, blank=True)
    details = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=9, choices=OperationState, default=OperationState.QUEUED)
    progress = models.PositiveSmallIntegerField(default=0)
    phase = models.CharField(max_length=40, blank=True)
    current_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    total_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    message = models.CharField(max_length=500, blank=True)
    log_tail = models.TextField(blank=True)
    cancel_asked = models.BooleanField(default=False)
    dismissed = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "action", "target"],
                condition=Q(state__in=["queued", "running"]),
                name="operation_once_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state__in=OperationState.values), name="operation_state_is_known"
            ),
            models.CheckConstraint(condition=Q(progress__lte=100), name="operation_per_cent"),
            models.CheckConstraint(
                condition=Q(action__in=["install", "delete"]), name="operation_action_is_known"
            ),
        ]
        indexes: ClassVar = [
            # the engine process takes the oldest queued one
            models.Index(fields=["state", "created_at"], name="operation_queue"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.kind} {self.target}: {self.state}"

    @property
    def is_deletion(self) -> bool:
        return self.action == self.Action.DELETE

    @property
    def task_type(self) -> str:
        """LocalAI's word for it."""
        return "deletion" if self.is_deletion else "installation"


class RequestKey(models.Model):
    """An `Idempotency-Key` that somebody sent, and the operation it stands for (R-35)."""

    digest = models.CharField(max_length=64, primary_key=True)
    operation = models.ForeignKey(Operation, models.CASCADE, related_name="request_keys")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [
            # the sweep of those older than a day
            models.Index(fields=["created_at"], name="requestkey_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.digest[:8]}: {self.operation_id}"


class StoredResponse(models.Model):
    """An answer of `/v1/responses` for its owner, kept 30 days (design.md)."""

    id = models.CharField(max_length=100, primary_key=True)
    user_id = models.CharField(max_length=36)
    created_at = models.DateTimeField()
    response = models.JSONField()
    input = models.JSONField()

    class Meta:
        indexes: ClassVar = [
            # the sweep of what expired
            models.Index(fields=["created_at"], name="storedresponse_by_age"),
        ]

    def __str__(self) -> str:
        return self.id
