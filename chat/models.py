"""Conversations, their messages as a tree, and what is attached to them (R-39)."""

import uuid
from typing import ClassVar

import uuid_utils.compat
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from chat import bounds


def new_id() -> uuid.UUID:
    """UUIDv7: ids go with time."""
    return uuid_utils.compat.uuid7()


class Role(models.TextChoices):
    USER = "user", "User"
    ASSISTANT = "assistant", "Assistant"


class Status(models.TextChoices):
    STREAMING = "streaming", "Being written"
    DONE = "done", "Done"
    STOPPED = "stopped", "Stopped"
    CUT = "cut", "Cut off"
    FAILED = "failed", "Failed"


class Conversation(models.Model):
    """One conversation of one person; nobody else's, an admin's neither.

    `leaf` is the last message of the branch that is shown; None while there are no messages. An empty
    `model` is the server's default one. It is deleted with its owner. What is None of the sampling
    settings is the engine's to choose.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="conversations", db_index=False
    )
    title = models.CharField(max_length=bounds.MAX_TITLE_CHARS, blank=True)
    model = models.CharField(max_length=255, blank=True)
    system = models.TextField(blank=True)
    temperature = models.FloatField(null=True, blank=True)
    top_p = models.FloatField(null=True, blank=True)
    max_tokens = models.PositiveIntegerField(null=True, blank=True)
    seed = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now)
    n_messages = models.PositiveIntegerField(default=0)
    # of the request that made it; one that comes again makes nothing
    request_key = models.CharField(max_length=bounds.MAX_KEY_CHARS, blank=True, default="")
    # goes with the conversation, in one transaction; constraints are looked at when that ends
    leaf = models.ForeignKey(
        "Message", models.DO_NOTHING, null=True, blank=True, related_name="+", db_index=False
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(temperature__isnull=True) | Q(temperature__gte=0, temperature__lte=2),
                name="conversation_temperature",
            ),
            models.CheckConstraint(
                condition=Q(top_p__isnull=True) | Q(top_p__gt=0, top_p__lte=1),
                name="conversation_top_p",
            ),
            models.CheckConstraint(
                condition=Q(max_tokens__isnull=True)
                | Q(max_tokens__gte=1, max_tokens__lte=bounds.MAX_MAX_TOKENS),
                name="conversation_max_tokens",
            ),
            models.CheckConstraint(
                condition=Q(n_messages__lte=bounds.MAX_MESSAGES), name="conversation_size"
            ),
            models.UniqueConstraint(
                fields=["user", "request_key"],
                condition=~Q(request_key=""),
                name="conversation_of_one_request",
            ),
        ]
        indexes: ClassVar = [
            # the list of one person's, newest first, page by page
            models.Index(fields=["user", "-updated_at", "-id"], name="conversation_of_user"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class Message(models.Model):
    """One message. Its `parent` is what it answers, so that several under one parent are branches.

    A person's message hangs under an answer, or under nothing; an answer under a person's message.
    `depth` is how many stand above it. `reason` and `error` say why an answer was cut off or failed, the
    second in words. Counts are the engine's, times from when the answer was asked for. Who writes an
    answer holds it until `lease_until`: past that its process is dead (`chat.leases`).
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    conversation = models.ForeignKey(
        Conversation, models.CASCADE, related_name="messages", db_index=False
    )
    # all of a conversation goes at once; following children one by one would be as deep as it is long
    parent = models.ForeignKey("self", models.DO_NOTHING, null=True, related_name="children")
    depth = models.PositiveIntegerField(default=0)
    role = models.CharField(max_length=9, choices=Role)
    content = models.TextField(blank=True)
    reasoning = models.TextField(blank=True)
    model = models.CharField(max_length=255, blank=True)
    status = models.CharField(max_length=9, choices=Status, default=Status.DONE)
    reason = models.CharField(max_length=40, blank=True)
    error = models.CharField(max_length=500, blank=True)
    finish_reason = models.CharField(max_length=40, blank=True)
    prompt_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(null=True)
    first_token_ms = models.PositiveIntegerField(null=True)
    duration_ms = models.PositiveIntegerField(null=True)
    left_out = models.PositiveIntegerField(default=0)
    correlation_id = models.CharField(max_length=128, blank=True)
    # of the request that began it; one that comes again, as browsers send it after a reset, begins nothing
    request_key = models.CharField(max_length=bounds.MAX_KEY_CHARS, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    lease_until = models.DateTimeField(null=True)
    stop_asked = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(role__in=Role.values), name="message_role_is_known"),
            models.CheckConstraint(
                condition=Q(status__in=Status.values), name="message_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(role=Role.ASSISTANT) | Q(status=Status.DONE),
                name="message_of_a_person_is_done",
            ),
            models.CheckConstraint(
                condition=Q(role=Role.USER) | Q(parent__isnull=False),
                name="message_answers_something",
            ),
            models.CheckConstraint(
                condition=Q(parent__isnull=True, depth=0) | Q(parent__isnull=False, depth__gt=0),
                name="message_depth",
            ),
            models.CheckConstraint(
                condition=~Q(parent=F("id")), name="message_is_not_its_own_parent"
            ),
            models.CheckConstraint(
                condition=Q(status=Status.STREAMING, lease_until__isnull=False)
                | (~Q(status=Status.STREAMING) & Q(lease_until__isnull=True)),
                name="message_lease_while_streaming",
            ),
            models.UniqueConstraint(
                fields=["conversation", "request_key"],
                condition=~Q(request_key=""),
                name="message_of_one_request",
            ),
        ]
        indexes: ClassVar = [
            # the first messages of a conversation, and all of it for search and export
            models.Index(fields=["conversation", "parent"], name="message_of_conversation"),
            # those under way, of which there are few: leases that ended
            models.Index(
                fields=["lease_until"], condition=Q(status="streaming"), name="message_under_way"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.id}"


class Attachment(models.Model):
    """A file of a person's message: its text, or an image as it is."""

    class Kind(models.TextChoices):
        TEXT = "text", "Text"
        IMAGE = "image", "Image"

    message = models.ForeignKey(Message, models.CASCADE, related_name="files", db_index=False)
    number = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=5, choices=Kind)
    name = models.CharField(max_length=bounds.MAX_FILE_NAME_CHARS)
    media_type = models.CharField(max_length=100)
    size = models.PositiveIntegerField()
    text = models.TextField(blank=True)
    data = models.BinaryField(default=bytes)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["message", "number"], name="attachment_in_order"),
            models.CheckConstraint(
                condition=Q(number__lt=bounds.MAX_FILES), name="attachment_number"
            ),
            models.CheckConstraint(
                condition=Q(kind="text", size__lte=4 * bounds.MAX_TEXT_CHARS)
                | Q(kind="image", size__lte=bounds.MAX_IMAGE_BYTES),
                name="attachment_size",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Preference(models.Model):
    """What one person wants of the chat; who has no row has everything as usual."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True)
    keeps_history = models.BooleanField(default=True)

    def __str__(self) -> str:
        return str(self.user_id)
