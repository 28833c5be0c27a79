"""Messages and answers of a conversation: `/api/chats/:id/messages` and below (R-39)."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework.request import Request
from rest_framework.response import Response

from chat import answering, following, messages, pages, shown
from chat.api import shapes
from chat.api.base import ChatView
from chat.api.given import body_of, id_in, key_of, model_in, said, wants_stream
from chat.live import Live
from chat.models import Attachment, Conversation, Message, Role, Status
from core.declared import JSON, Content, declares
from core.errors import ConflictError, InvalidRequestError, NotFoundError
from core.pictures import KINDS

STOP_S, LOOK_S = 3.0, 0.05
EVENTS = Content("text/event-stream", shapes.AnswerEvent)
ANSWER = {
    "answer": [Content(JSON, shapes.AnswerBegun), EVENTS],
    "status": 202,
    "more": {200: EVENTS},
    "errors": (404, 409, 429, 502, 504),
}


class AnswerView(ChatView):
    """What begins an answer: as JSON at once (202), or as a stream of it, which nobody has to stay for."""

    adds_question = False

    def begin(
        self,
        request: Request,
        conversation: Conversation,
        write_down: Callable[[], messages.Begun],
        data: dict[str, Any],
    ) -> HttpResponseBase:
        if streams := wants_stream(data, request._request):  # noqa: SLF001  # DRF's own name
            following.refuse_too_many()
        key = key_of(request._request)  # noqa: SLF001
        if (answer := answering.known(conversation, key)) is not None:
            return self._again(request, conversation, answer, streams=streams)
        try:
            begun, live = answering.begin(
                request._request,  # noqa: SLF001
                self.principal(request),
                conversation,
                write_down,
                model=model_in(data),
                key=key,
            )
        except answering.AskedTwice:
            answer = answering.known(conversation, key)
            if answer is None:  # that one was refused
                raise ConflictError("This request was sent twice; send it again.") from None
            return self._again(request, conversation, answer, streams=streams)
        body = _begun(begun)
        if not streams:
            return Response(body, status=202)
        place = following.Place(len(begun.answer.content), len(begun.answer.reasoning))
        return _stream(request, body, begun.answer, place, live)

    def _again(
        self, request: Request, conversation: Conversation, answer: Message, *, streams: bool
    ) -> HttpResponseBase:
        """The same request once more, as after a reset: what it began, from the beginning."""
        question = answer.parent if self.adds_question else None
        body = _begun(messages.Begun(conversation, answer, question=question))
        if not streams:
            return Response(body, status=202)
        body["answer"] |= {"content": "", "reasoning": "", "status": Status.STREAMING}
        return _stream(request, body, answer, following.Place())


def _begun(begun: messages.Begun) -> dict[str, Any]:
    conversation = begun.conversation
    added = [begun.question, begun.answer] if begun.question else [begun.answer]
    shown_all = pages.listed(conversation, added)
    question = shown_all[0] if begun.question else None
    return {"chat": shown.chat(conversation), "question": question, "answer": shown_all[-1]}


def _stream(
    request: Request,
    body: dict[str, Any],
    answer: Message,
    place: following.Place,
    live: Live | None = None,
) -> HttpResponseBase:
    first = following.event("begin", body, place)
    events = following.behind(first, following.follow(answer.pk, place, live))
    return following.response(request._request, events)  # noqa: SLF001


class MessagesView(AnswerView):
    """A person's message, and an answer to it."""

    adds_question = True

    @declares(
        "Say something", body=shapes.NewMessage, body_example=shapes.EXAMPLE_MESSAGE, **ANSWER
    )
    def post(self, request: Request, chat_id: UUID) -> HttpResponseBase:
        conversation = self.conversation(request, chat_id)
        data = body_of(request)
        content, files = said(data)
        parent = self._parent(conversation, data)
        return self.begin(
            request,
            conversation,
            lambda: messages.ask(conversation, parent, content, files),
            data,
        )

    @staticmethod
    def _parent(conversation: Conversation, data: dict[str, Any]) -> Message | None:
        named = id_in(data, "parent") if "parent" in data else conversation.leaf_id
        if named is None:
            return None
        return messages.of(conversation, named, param="parent")


class RegenerateView(AnswerView):
    """Another answer to the same: of a person's message, or beside an answer."""

    @declares("Answer again", body=shapes.AnswerAgain, **ANSWER)
    def post(self, request: Request, chat_id: UUID, message_id: UUID) -> HttpResponseBase:
        conversation = self.conversation(request, chat_id)
        found = messages.of(conversation, message_id)
        question = found.parent if found.role == Role.ASSISTANT else found
        assert question is not None  # noqa: S101  # a constraint of the table
        return self.begin(
            request,
            conversation,
            lambda: messages.answer_again(conversation, question),
            body_of(request),
        )


class ContinueView(AnswerView):
    """An answer that was cut off, stopped, or came to its limit goes on, as the same message."""

    @declares("Continue an answer", body=shapes.AnswerAgain, **ANSWER)
    def post(self, request: Request, chat_id: UUID, message_id: UUID) -> HttpResponseBase:
        conversation = self.conversation(request, chat_id)
        answer = messages.of(conversation, message_id)
        return self.begin(
            request,
            conversation,
            lambda: messages.go_on(conversation, answer),
            body_of(request),
        )


class OneMessageView(ChatView):
    """One message as it is now."""

    @declares("A message", answer=shapes.MessageShown, errors=(404,))
    def get(self, request: Request, chat_id: UUID, message_id: UUID) -> Response:
        conversation = self.conversation(request, chat_id)
        return Response(pages.one(conversation, messages.of(conversation, message_id)))


class StopView(ChatView):
    """An answer ends where it is; what came is kept, and billed."""

    @declares(
        "Stop an answer",
        answer=shapes.MessageShown,
        more={202: shapes.MessageShown},
        errors=(404, 409),
    )
    def post(self, request: Request, chat_id: UUID, message_id: UUID) -> Response:
        conversation = self.conversation(request, chat_id)
        message = messages.of(conversation, message_id)
        answering.stop(message)
        deadline = time.monotonic() + STOP_S
        while message.status == Status.STREAMING and time.monotonic() < deadline:
            time.sleep(LOOK_S)
            message = messages.of(conversation, message_id)
        status = 202 if message.status == Status.STREAMING else 200
        return Response(pages.one(conversation, message), status=status)


class StreamView(ChatView):
    """Server-sent events: `delta` (content, reasoning, tokens), `reset` (begin with nothing), then `end` or
    `gone`. The id of each goes into `after` of who comes back.
    """

    @declares("Follow an answer", query=shapes.FollowQuery, answer=EVENTS, errors=(404,))
    def get(self, request: Request, chat_id: UUID, message_id: UUID) -> HttpResponseBase:
        conversation = self.conversation(request, chat_id)
        message = messages.of(conversation, message_id)
        if message.role != Role.ASSISTANT:
            raise InvalidRequestError("only an answer can be followed")
        following.refuse_too_many()
        after = request.headers.get("last-event-id") or request.query_params.get("after", "")
        events = following.follow(message.pk, following.Place.read(after))
        return following.response(request._request, events)  # noqa: SLF001


class FileView(ChatView):
    """What was attached: an image to be shown, or a text."""

    @declares(
        "A file of a message",
        answer=[Content(kind) for kind in ("text/plain", *KINDS.values())],
        more={304: None},
        errors=(404,),
    )
    def get(
        self, request: Request, chat_id: UUID, message_id: UUID, number: int
    ) -> HttpResponseBase:
        conversation = self.conversation(request, chat_id)
        rows = Attachment.objects.filter(message__conversation=conversation)
        found = rows.filter(message_id=message_id, number=number).first()
        if found is None:
            raise NotFoundError("file not found")
        is_text = found.kind == Attachment.Kind.TEXT
        content = found.text.encode() if is_text else bytes(found.data)
        kind = "text/plain; charset=utf-8" if is_text else found.media_type
        response = HttpResponse(content, content_type=kind)
        etag = (
            f'"{found.pk}"'  # it never changes; whoever has it is asked who they are all the same
        )
        response["ETag"], response["Cache-Control"] = etag, "private, no-cache"
        kept = get_conditional_response(request._request, etag=etag, response=response)  # noqa: SLF001
        assert kept is not None  # noqa: S101  # it gives the response back
        return kept
