"""The list of everybody, and what an admin does to one or several of them (E-17 to E-21, R-40)."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import over, people
from accounts.audit import actor_of
from accounts.models import Provider, Role, Status, User
from accounts.pages import page
from accounts.passwords import PasswordError
from accounts.people_tabs import people_tabs
from accounts.social import availability
from accounts.ui.pages import page_before
from accounts.wording import in_words, plain_words
from core.errors import GatehouseError
from usage.people import listing
from usage.series import forget_user

MAX_AT_ONCE = 100


@page
@require_GET
def users(request: HttpRequest) -> HttpResponse:
    """Who waits for approval, and everybody else: a fixed number of queries."""
    principal = request.principal  # type: ignore[attr-defined]  # the gate put it there
    choice, counted = listing.choice_of(request.GET), listing.counts()
    page_obj = listing.page_of(choice, counted["people"])
    shown = {
        "tabs": people_tabs("users-page", waiting=counted["waiting"]),
        "counted": counted,
        "choice": choice,
        "page_obj": page_obj,
        "rows": listing.rows(page_obj, self_id=principal.user_id),
        "waiting": listing.waiting() if counted["waiting"] else [],
        "roles": [("", _("All roles")), ("admin", _("Administrators")), ("user", _("Users"))],
        "states": [("", _("All states")), ("active", _("Active")), ("disabled", _("Disabled"))],
        "providers": availability.configured(),
        "in_djangos_admin": principal.has_account,
    }
    return render(request, "usage/people/users.html", shown)


def back(request: HttpRequest) -> HttpResponse:
    """To the list as it was, or to the page that the form stood on."""
    before = page_before(request)
    here = before.startswith(reverse("users-page"))
    return HttpResponseRedirect(before if here else reverse("users-page"))


def refuse_self(request: HttpRequest, user_id: UUID) -> bool:
    """Whether this is the admin's own account, which is left as it is; says so."""
    principal = request.principal  # type: ignore[attr-defined]
    if str(user_id) != principal.user_id:
        return False
    messages.warning(request, _("Your own account is left as it is."))
    return True


def each(request: HttpRequest, user_ids: list[str], change: Callable[[UUID], Any]) -> int:
    """Apply one change to each, oneself left out; say what did not work. How many did."""
    done = 0
    for text in user_ids[:MAX_AT_ONCE]:
        try:
            user_id = UUID(text)
            if refuse_self(request, user_id):
                continue
            change(user_id)
        except ValueError:
            continue  # not from a form of ours
        except GatehouseError as exc:
            messages.error(request, in_words(exc))
        else:
            done += 1
    return done


@page
@require_POST
def answer_waiting(request: HttpRequest) -> HttpResponse:
    """Approve or decline who waits, one (a row's button) or all that are ticked (R-40)."""
    by, post = actor_of(request), request.POST
    one = post.get("approve") or post.get("decline")
    chosen = [one] if one else post.getlist("user")
    if not chosen:
        messages.warning(request, _("Nobody is selected."))
        return back(request)
    if post.get("approve") or post.get("do") == "approve":
        n = each(request, chosen, lambda pk: people.set_status(pk, Status.ACTIVE, by=by))
        told = ngettext("%(n)d person approved.", "%(n)d people approved.", n)
    elif post.get("decline") or post.get("do") == "decline":
        n = each(request, chosen, lambda pk: people.decline(pk, by=by))
        told = ngettext("%(n)d person declined.", "%(n)d people declined.", n)
    else:
        return back(request)
    if n:
        messages.success(request, told % {"n": n})
    return back(request)


@page
@require_POST
def set_status_of_many(request: HttpRequest) -> HttpResponse:
    """Enable or disable all that are ticked (E-19)."""
    status = {"enable": Status.ACTIVE, "disable": Status.DISABLED}.get(request.POST.get("do", ""))
    chosen = request.POST.getlist("user")
    if status is None or not chosen:
        messages.warning(request, _("Nobody is selected."))
        return back(request)
    by = actor_of(request)
    n = each(request, chosen, lambda pk: people.set_status(pk, status, by=by))
    if n:
        told = ngettext("%(n)d person changed.", "%(n)d people changed.", n)
        messages.success(request, told % {"n": n})
    return back(request)


@page
@require_POST
def set_role(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """E-18."""
    role = request.POST.get("role", "")
    if role not in Role.values:
        return back(request)
    by = actor_of(request)
    if each(request, [str(user_id)], lambda pk: people.set_role(pk, role, by=by)):
        messages.success(request, _("The role is changed."))
    return back(request)


@page
@require_POST
def set_status(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """E-19."""
    status = request.POST.get("status", "")
    if status not in {Status.ACTIVE, Status.DISABLED}:
        return back(request)
    by = actor_of(request)
    if each(request, [str(user_id)], lambda pk: people.set_status(pk, status, by=by)):
        enabled = status == Status.ACTIVE
        messages.success(
            request, _("The account is enabled.") if enabled else _("The account is disabled.")
        )
    return back(request)


def _over(
    request: HttpRequest, name: str, shown: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """A form over the list."""
    shown = {**shown, "back_label": _("Users")}
    address = reverse("users-page")
    return over.show(request, f"usage/people/{name}.html", shown, back=address, status=status)


@page
@require_http_methods(["GET", "POST"])
def reset_password(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """E-20: a new password that its owner has to replace at the next sign-in."""
    user = get_object_or_404(User, pk=user_id)
    shown: dict[str, Any] = {"person": user, "is_local": user.provider == Provider.LOCAL}
    if request.method == "GET":
        return _over(request, "password", shown)
    if refuse_self(request, user_id):
        return over.done(request, reverse("users-page"))
    try:
        people.reset_password(
            user_id,
            request.POST.get("password", ""),
            acknowledged=request.POST.get("acknowledge") == "on",
            by=actor_of(request),
        )
    except GatehouseError as exc:
        may_acknowledge = isinstance(exc, PasswordError) and exc.overridable
        shown.update(error=plain_words(exc), may_acknowledge=may_acknowledge)
        return _over(request, "password", shown, status=422)
    messages.success(request, _("The password is reset. Its owner has to choose a new one."))
    return over.done(request, reverse("users-page"))


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """E-21, asked for first. The usage stays, as nobody's (S-19)."""
    user = get_object_or_404(User, pk=user_id)
    if request.method == "GET":
        return _over(request, "delete", {"person": user})
    if refuse_self(request, user_id):
        return over.done(request, reverse("users-page"))
    try:
        with transaction.atomic():
            people.delete(user_id, by=actor_of(request))
            forget_user(user_id)
    except GatehouseError as exc:
        messages.error(request, in_words(exc))
    else:
        messages.success(request, _("The account is deleted."))
    return over.done(request, reverse("users-page"))
