"""Conversations: `/api/chats` and below (R-39)."""

from uuid import UUID

from django.http import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.answers import Message as Said
from accounts.api.audit import page_number
from chat import bounds, conversations, export, pages, shown
from chat.api import shapes
from chat.api.base import ChatView
from chat.api.given import body_of, conversation_fields, id_in, key_of
from chat.desk import desk
from core.declared import JSON, Content, declares
from core.drf import read_json
from core.errors import InvalidRequestError


def _history(user_id: str) -> dict[str, object]:
    history = conversations.history_of(user_id)
    return {"on": history.on, "offBy": history.off_by}


class ChatsView(ChatView):
    """One's conversations, the newest first."""

    @declares("One's chats", query=shapes.ChatsQuery, answer=shapes.Chats)
    def get(self, request: Request) -> Response:
        given = request.query_params
        words = given.get("q", "").strip()
        if len(words) > bounds.MAX_SEARCH_CHARS:
            raise InvalidRequestError(
                f"q must have at most {bounds.MAX_SEARCH_CHARS} characters", param="q"
            )
        user_id = self.principal(request).user_id
        found = conversations.search(
            user_id,
            words=words,
            cursor=given.get("cursor", ""),
            limit=page_number(
                given.get("limit", ""), "limit", bounds.CHATS_A_PAGE, 1, bounds.MAX_CHATS_A_PAGE
            ),
        )
        chats = [shown.chat(each) for each in found.conversations]
        return Response({"chats": chats, "next": found.next, "history": _history(user_id)})

    @declares(
        "Begin a chat",
        body=shapes.NewChat,
        body_example={"model": "qwen3-8b", "system": "Answer briefly."},
        answer=shapes.Chat,
        status=201,
        errors=(409,),
    )
    def post(self, request: Request) -> Response:
        fields = conversation_fields(body_of(request))
        user_id = self.principal(request).user_id
        made = conversations.create(user_id, fields, key=key_of(request))
        return Response(shown.chat(made), status=201)

    @declares("Delete all of one's chats", answer=shapes.ChatsDeleted)
    def delete(self, request: Request) -> Response:
        n_deleted, under_way = conversations.delete_all(self.principal(request).user_id)
        desk().forget(under_way)
        return Response({"message": "chats deleted", "deleted": n_deleted})


class OneChatView(ChatView):
    """One conversation with the branch that is shown, page by page from its end."""

    @declares("A chat", query=shapes.PageQuery, answer=shapes.ChatPage, errors=(404,))
    def get(self, request: Request, chat_id: UUID) -> Response:
        conversation = self.conversation(request, chat_id)
        given = request.query_params
        limit = page_number(
            given.get("limit", ""), "limit", bounds.MESSAGES_A_PAGE, 1, bounds.MAX_MESSAGES_A_PAGE
        )
        before = id_in({"before": given.get("before") or None}, "before")
        return Response(pages.page(conversation, before=before, limit=limit))

    @declares(
        "Rename a chat, set its model and sampling, or show another branch",
        body=shapes.ChatChange,
        answer=shapes.Chat,
        errors=(404,),
    )
    def patch(self, request: Request, chat_id: UUID) -> Response:
        conversation = self.conversation(request, chat_id)
        data = body_of(request)
        fields = conversation_fields(data)
        leaf, through = id_in(data, "leaf"), id_in(data, "show")
        if leaf is not None and through is not None:
            raise InvalidRequestError("give leaf or show, not both", param="show")
        if leaf is not None or through is not None:
            wanted = leaf or through
            assert wanted is not None  # noqa: S101  # one of them
            conversations.show(conversation, wanted, to_the_end=leaf is None)
        return Response(shown.chat(conversations.change(conversation, fields)))

    @declares("Delete a chat", answer=Said, errors=(404,))
    def delete(self, request: Request, chat_id: UUID) -> Response:
        desk().forget(conversations.delete(chat_id, self.principal(request).user_id))
        return Response({"message": "chat deleted"})


class ExportView(ChatView):
    """All of a conversation as a file: every branch as JSON, the one that is shown as Markdown."""

    @declares(
        "A chat as a file",
        query=shapes.ExportQuery,
        answer=[Content(JSON, shapes.ExportedChat), Content("text/markdown")],
        errors=(404,),
    )
    def get(self, request: Request, chat_id: UUID) -> HttpResponseBase:
        conversation = self.conversation(request, chat_id)
        kind = request.query_params.get("format") or "json"
        if kind not in export.FORMATS:
            raise InvalidRequestError("format must be json or markdown", param="format")
        return export.response(request._request, conversation, kind)  # noqa: SLF001


class PreferencesView(ChatView):
    """Whether one's conversations are kept."""

    @declares("What one wants of the chat", answer=shapes.ChatPreferencesShown)
    def get(self, request: Request) -> Response:
        return Response({"history": _history(self.principal(request).user_id)})

    @declares(
        "Switch the history on or off",
        body=shapes.ChatPreferences,
        body_example={"history": False},
        answer=shapes.ChatPreferencesShown,
    )
    def put(self, request: Request) -> Response:
        keep = read_json(request._request).get("history")  # noqa: SLF001
        if not isinstance(keep, bool):
            raise InvalidRequestError("history must be true or false", param="history")
        user_id = self.principal(request).user_id
        conversations.keep_history(user_id, keep=keep)
        return Response({"history": _history(user_id)})
