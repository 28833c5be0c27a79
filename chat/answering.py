"""Asking for an answer: what is written down first, and the way to the desk."""

from collections.abc import Callable

from django.db import IntegrityError, transaction
from django.http import HttpRequest

from accounts.middleware import raw_headers
from chat import conversations, messages, prompt
from chat.desk import desk
from chat.live import Live, Text
from chat.messages import Begun
from chat.models import Conversation, Message
from chat.producing import Order
from core import correlation
from core.call import correlation_id_for
from core.errors import ConflictError
from core.principal import Principal

# Of the caller's request these go with the engine's: for traces, for how long one waits, for the books.
_TAKEN_ALONG = (b"user-agent", b"x-forwarded-for", b"prefer", b"x-correlation-id")


class AskedTwice(Exception):  # noqa: N818  # no error: it is answered already
    """Another request with the same key was quicker."""


def known(conversation: Conversation, key: str) -> Message | None:
    """The answer that a request with this key began; None without a key."""
    if not key:
        return None
    rows = Message.objects.filter(conversation=conversation, request_key=key)
    return rows.select_related("parent").first()


def begin(
    request: HttpRequest,
    principal: Principal,
    conversation: Conversation,
    write_down: Callable[[], Begun],
    *,
    model: str = "",
    key: str = "",
) -> tuple[Begun, Live]:
    """Write down what `write_down` does, and have the answer written. `key` is the request's own.

    Raises AskedTwice where another one with this key began it, and the GatehouseError that refused it:
    by the history that is off, by too many at once, by the rights, quota or engine of the model. Nothing
    is left of it then.
    """
    conversations.refuse_without_history(principal.user_id)
    messages.refuse_too_many(principal.user_id)
    begun = write_down()
    live = _live(begun)
    try:
        _keep_key(begun.answer, key)
        order = _order(request, principal, conversation, begun, model)
        live.token = order.correlation_id.decode("latin-1")
        desk().begin(live, order)
    except BaseException:
        messages.take_back(begun)
        raise
    return begun, live


def _keep_key(answer: Message, key: str) -> None:
    if not key:
        return
    try:
        with transaction.atomic():
            Message.objects.filter(pk=answer.pk).update(request_key=key)
    except IntegrityError as exc:
        raise AskedTwice from exc


def _live(begun: Begun) -> Live:
    answer = begun.answer
    return Live(
        answer.pk,
        begun_with=Text(answer.content, answer.reasoning),
        tokens_before=answer.completion_tokens or 0,
        ms_before=answer.duration_ms or 0,
        first_ms_before=answer.first_token_ms,
    )


def _order(
    request: HttpRequest,
    principal: Principal,
    conversation: Conversation,
    begun: Begun,
    model: str,
) -> Order:
    continues = bool(begun.before)
    answer = begun.answer
    named = model or (answer.model if continues else "") or conversation.model
    target = desk().target(named)
    question = begun.question or answer.parent
    assert question is not None  # noqa: S101  # a constraint of the table
    wanted = prompt.write(
        conversation,
        answer if continues else question,
        model=named,
        context=target.context_length if target else 0,
        continues=continues,
    )
    correlation_id = correlation.current.get() or correlation_id_for(None)
    answer.left_out, answer.correlation_id = wanted.left_out, correlation_id.decode("latin-1")
    Message.objects.filter(pk=answer.pk).update(
        left_out=answer.left_out, correlation_id=answer.correlation_id
    )
    given = raw_headers(request)
    return Order(
        principal=principal,
        body=wanted.body,
        headers={name: given[name] for name in _TAKEN_ALONG if name in given},
        client=request.META.get("REMOTE_ADDR", ""),
        correlation_id=correlation_id,
        has_images=wanted.has_images,
    )


def stop(message: Message) -> None:
    """Ask whoever writes it to stop. Raises ConflictError where nobody does any more."""
    asked = Message.objects.filter(pk=message.pk, status="streaming").update(stop_asked=True)
    if not asked:
        raise ConflictError("This answer has come to its end.")
    desk().stop(message.pk)
