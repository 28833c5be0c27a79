"""The chat page: a new conversation, one of the caller's own, or a new one with a named model (R-24, R-39).

The page is whole without script: its form says something and the answer's page comes; with script the
modules in `static/js/chat/` take over. Where nothing is kept (history off, no account) only script talks.
"""

from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from accounts.pages import page
from chat import answering, bounds, conversations, messages, pages
from chat.models import Conversation, Status
from chat.ui import picker, quota_words, side_list
from chat.ui.wording import for_script, plain_words
from core.errors import ConflictError, GatehouseError, InvalidRequestError, NotFoundError
from core.http import GatedRequest
from core.principal import Principal

LISTED = 50
LIMITS = {
    "files": bounds.MAX_FILES,
    "textChars": bounds.MAX_TEXT_CHARS,
    "imageBytes": bounds.MAX_IMAGE_BYTES,
    "imagesBytes": bounds.MAX_IMAGES_BYTES,
}


def _caller(request: HttpRequest) -> Principal:
    principal = cast("GatedRequest", request).principal
    assert principal is not None  # noqa: S101  # the gate saw to it
    return principal


@page
@require_http_methods(["GET", "POST"])
def new_chat(request: HttpRequest, model: str = "") -> HttpResponse:
    """`/app/chat`, and `/app/chat/<model>`, which begins with that model."""
    if request.method == "POST":
        return _say(request, None)
    return _shown(request, None, wanted=model)


@page
@require_http_methods(["GET", "POST"])
def conversation(request: HttpRequest, chat_id: UUID) -> HttpResponse:
    """`/app/chat/<id>`: the end of the branch that is shown. 404 for another's."""
    found = _own(request, chat_id)
    return _say(request, found) if request.method == "POST" else _shown(request, found)


@page
@require_GET
def listed(request: HttpRequest) -> HttpResponse:
    """The list beside, alone: for a search, for more of it, after a change. `at`: the chat that is open."""
    return render(request, "chat/partials/list.html", _list(request, request.GET.get("at", "")))


@page
@require_GET
def quota(request: HttpRequest) -> HttpResponse:
    """What is left for `model`, alone: asked again after each answer."""
    return render(
        request, "chat/partials/quota.html", _quota(request, request.GET.get("model", ""))
    )


def _own(request: HttpRequest, chat_id: UUID) -> Conversation:
    try:
        return conversations.of_owner(chat_id, _account_of(_caller(request)))
    except NotFoundError as exc:
        raise Http404 from exc


def _account_of(principal: Principal) -> str:
    """Raises Http404 for callers without an account: they have no conversations."""
    if not principal.has_account:
        raise Http404
    return principal.user_id


def _say(request: HttpRequest, found: Conversation | None) -> HttpResponse:
    """The form without script: what was written begins an answer, and its page is shown."""
    principal = _caller(request)
    content, model = request.POST.get("content", ""), request.POST.get("model", "")
    made: Conversation | None = None
    try:
        if not content.strip() or len(content) > bounds.MAX_TEXT_CHARS:
            raise InvalidRequestError("write something first", param="content")
        if not principal.has_account:
            raise ConflictError(_("Without an account this page needs JavaScript."))
        chat = found or (made := conversations.create(principal.user_id, {"model": model[:255]}))
        leaf = messages.of(chat, chat.leaf_id) if chat.leaf_id else None
        answering.begin(
            request, principal, chat, lambda: messages.ask(chat, leaf, content, []), model=model
        )
    except GatehouseError as exc:
        if made is not None:
            conversations.delete(made.pk, principal.user_id)
        error = plain_words(exc, model)
        return _shown(request, found, wanted=model, typed=content, error=error)
    return HttpResponseRedirect(reverse("chat-conversation", args=[chat.pk]))


def _shown(
    request: HttpRequest,
    found: Conversation | None,
    *,
    wanted: str = "",
    typed: str = "",
    error: tuple[str, str] | None = None,
) -> HttpResponse:
    principal = _caller(request)
    offered = picker.choices(principal)
    selected = picker.chosen(offered, wanted, found.model if found else "")
    if wanted and selected != wanted and error is None:
        error = (_("You may not use this model."), _("Ask an administrator, or choose another."))
    history = _history(principal)
    thread: dict[str, Any] = {"chat": None, "messages": [], "before": None}
    if found is not None:
        thread = pages.page(found, before=None, limit=bounds.MESSAGES_A_PAGE)
    shown = {
        "conversation": found,
        "said": thread["messages"],  # `messages` are the toasts of every page
        "before": thread["before"],
        "is_answering": any(m.get("status") == Status.STREAMING for m in thread["messages"]),
        "models": offered,
        "model": selected,
        "typed": typed,
        "error": error,
        "history": history,
        "state": _state(principal, thread, history, offered),
        **_list(request, str(found.pk) if found else ""),
        **_quota(request, selected),
    }
    return render(request, "chat/chat.html", shown, status=422 if error and typed else 200)


def _history(principal: Principal) -> dict[str, Any]:
    if not principal.has_account:
        return {"on": False, "offBy": "nobody"}
    history = conversations.history_of(principal.user_id)
    return {"on": history.on, "offBy": history.off_by}


def _state(
    principal: Principal,
    thread: dict[str, Any],
    history: dict[str, Any],
    offered: list[picker.Choice],
) -> dict[str, Any]:
    """What the script begins with. Texts of messages are not in it: they stand in the page."""
    heads = [{name: m[name] for name in m if name != "content"} for m in thread["messages"]]
    return {
        "chat": thread["chat"],
        "messages": heads,
        "before": thread["before"],
        "history": history,
        "hasAccount": principal.has_account,
        "models": {
            each.name: {"state": each.state, "images": each.takes_images} for each in offered
        },
        "limits": LIMITS,
        "words": for_script(),
    }


def _list(request: HttpRequest, at: str) -> dict[str, Any]:
    """One's conversations by day; `words` searched for, `more` the address of what comes after."""
    principal = _caller(request)
    words = request.GET.get("q", "").strip()[: bounds.MAX_SEARCH_CHARS]
    if not principal.has_account:
        return {"groups": [], "more": "", "words": words, "at": at}
    cursor = request.GET.get("cursor", "")
    try:
        found = conversations.search(principal.user_id, words=words, cursor=cursor, limit=LISTED)
    except InvalidRequestError:  # of an address that somebody made up
        found = conversations.search(principal.user_id, words=words, cursor="", limit=LISTED)
    query = urlencode({"q": words, "cursor": found.next or "", "at": at})
    return {
        "groups": side_list.by_day(found.conversations, timezone.now(), side_list.zone_of(request)),
        "more": f"{reverse('chat-list')}?{query}" if found.next else "",
        "words": words,
        "at": at,
    }


def _quota(request: HttpRequest, model: str) -> dict[str, Any]:
    standing = quota_words.standing(_caller(request), model)
    opens_at = standing.reached.opens_at if standing.reached else None
    zone = side_list.zone_of(request)
    return {
        "left": standing.left,
        "reached": standing.reached,
        "opens_at": opens_at.astimezone(zone) if opens_at else None,
    }
