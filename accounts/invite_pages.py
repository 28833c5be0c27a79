"""Invite links for admins: made, shown once, revoked (E-30 to E-32)."""

from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts import invites
from accounts.api.invites import invite_hours
from accounts.audit import actor_of
from accounts.models import Invite, Status, User
from accounts.pages import page
from accounts.people_tabs import people_tabs
from accounts.runtime import env
from accounts.wording import in_words
from core.errors import GatehouseError
from core.http import GatedRequest

PAGE_SIZE = 50


def lengths() -> list[tuple[str, str]]:
    """How long a link may be good for."""
    return [("24", _("1 day")), ("72", _("3 days")), ("168", _("7 days")), ("720", _("30 days"))]


@page
@require_http_methods(["GET", "POST"])
def invite_list(request: HttpRequest) -> HttpResponse:
    """All invites. A POST makes one; the page is the answer, so nothing stores the link."""
    if request.method == "GET":
        return _shown(request)
    principal = cast("GatedRequest", request).principal
    assert principal is not None  # noqa: S101  # the gate saw to it
    maker = User.objects.filter(pk=principal.user_id).first() if principal.has_account else None
    given = request.POST.get("hours", "")
    try:
        hours = invite_hours(
            {"expiresInHours": int(given) if given.isdecimal() and len(given) < 6 else given}
        )
        invite, code = invites.create(
            created_by=maker, hours=hours, now=timezone.now(), by=actor_of(request)
        )
    except GatehouseError as exc:
        return _shown(request, error=in_words(exc), status=422)
    return _shown(request, made=invite, link=f"{env().public_url}/invite/{code}", chosen=given)


def _shown(request: HttpRequest, *, status: int = 200, **extra: Any) -> HttpResponse:
    now = timezone.now()
    found = Invite.objects.select_related("created_by", "used_by").order_by("-created_at", "pk")
    shown_page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    available = Q(used_at__isnull=True, expires_at__gt=now)
    waiting = User.objects.filter(status=Status.PENDING).count()
    shown = {
        "tabs": people_tabs("invites-page", waiting=waiting),
        "page_obj": shown_page,
        "invites": [{"row": row, "state": row.state(now)} for row in shown_page],
        "available": Invite.objects.filter(available).count(),
        "lengths": lengths(),
        "chosen": "168",
        **extra,
    }
    return render(request, "accounts/invites.html", shown, status=status)


@page
@require_POST
def revoke(request: HttpRequest, invite_id: UUID) -> HttpResponse:
    try:
        invites.revoke(invite_id, by=actor_of(request))
    except GatehouseError as exc:
        messages.error(request, in_words(exc))
    else:
        messages.success(request, _("The invite is revoked."))
    return HttpResponseRedirect(reverse("invites-page"))
