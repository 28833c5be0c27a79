"""One person's role, features, models and quotas: a page of its own, and a drawer over the list.

All changes are sent together, and all are made or none. What differs goes through the same services
as E-18, E-23 and E-24 to E-27, one after the other, so each is in the audit trail by itself.
Nothing is saved over what somebody else changed after the form was shown: then it comes again.
"""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import over, people
from accounts.api.admin import MAX_MODEL_CHARS, MAX_MODELS
from accounts.audit import Actor, actor_of
from accounts.feature_words import GROUPS, label
from accounts.features import ALL_FEATURES, features_of
from accounts.meanwhile import FIELD, ChangedMeanwhileError
from accounts.models import Role, User
from accounts.page_sources import model_names
from accounts.pages import page
from accounts.wording import in_words
from core.errors import GatehouseError, InvalidRequestError
from usage.people import held, quota_form
from usage.quotas.service import statuses_of


@page
@require_http_methods(["GET", "POST"])
def person(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """GET shows the form, POST saves what differs and goes back to the list."""
    user = get_object_or_404(User, pk=user_id)
    principal = request.principal  # type: ignore[attr-defined]  # the gate put it there
    is_self = str(user.pk) == principal.user_id
    fault: GatehouseError | None = None
    if request.method == "POST":
        try:
            with transaction.atomic():
                n = _save(user_id, request.POST, is_self=is_self, by=actor_of(request))
        except GatehouseError as exc:
            fault, user = exc, get_object_or_404(User, pk=user_id)
        else:
            words = _("Saved.") if n else _("Nothing was changed.")
            messages.success(request, words)
            return over.done(request, reverse("users-page"))
    shown = _context(user, request.POST if fault else None, fault)
    shown.update(is_self=is_self, in_djangos_admin=principal.has_account, back_label=_("Users"))
    status, back = 422 if fault else 200, reverse("users-page")
    return over.show(request, "usage/people/person.html", shown, back=back, status=status)


def _context(user: User, given: Any, fault: GatehouseError | None) -> dict[str, Any]:
    """The form as the account stands, or as it was sent where it was refused."""
    statuses = statuses_of(str(user.pk))
    now = held.of(user, quota_form.held(statuses))
    stamp, news = given.get(FIELD, "") if given else held.stamp(now), []
    if isinstance(fault, ChangedMeanwhileError):
        before = held.shown(stamp, user.pk) or now
        stamp, news, given = held.stamp(now), held.news(before, now), held.kept(before, now, given)
    has = set(given.getlist("feature")) if given else features_of("user", user.permissions)
    allowed = set(given.getlist("model")) if given else set(user.allowed_models)
    known = dict(model_names())
    gone = sorted(set(user.allowed_models) - set(known))
    names = [*known.items(), *((name, _("Not installed")) for name in gone)]
    return {
        "person": user,
        "fault": in_words(fault) if fault else "",
        "stamp": stamp,
        "news": news,
        "role": given.get("role", user.role) if given else user.role,
        "roles": [("user", _("User")), ("admin", _("Administrator"))],
        "groups": [
            {
                "key": key,
                "label": words,
                "features": [
                    {"name": name, "label": label(name), "on": name in has} for name in members
                ],
            }
            for key, words, members in GROUPS
        ],
        "restricted": "restricted" in given if given else user.models_restricted,
        "models": [{"name": n, "words": words, "on": n in allowed} for n, words in names],
        **quota_form.context(user, statuses, given, [name for name, _words in names]),
    }


def _save(user_id: UUID, post: Any, *, is_self: bool, by: Actor) -> int:
    """Everything that differs, checked before anything is written. How many changes there were.

    Within a transaction. Raises GatehouseError; ChangedMeanwhileError where the form is behind.
    """
    user = people.locked(user_id)
    now = held.of(user, quota_form.locked(user))
    if held.shown(post.get(FIELD, ""), user_id) != now:
        raise ChangedMeanwhileError
    role = post.get("role", user.role)
    if role not in Role.values:
        raise InvalidRequestError("role must be 'admin' or 'user'", param="role")
    features = set(post.getlist("feature")) & set(ALL_FEATURES)
    restricted, models = post.get("restricted") == "on", _models(post.getlist("model"))
    quotas = quota_form.changes(user, post)
    changed = 0
    if role != user.role:
        if is_self:
            raise InvalidRequestError("cannot change your own role", param="role")
        people.set_role(user.pk, role, by=by)
        changed += 1
    if features != features_of("user", user.permissions):
        stored = {name: name in features for name in ALL_FEATURES}
        people.set_permissions(user.pk, stored, by=by)
        changed += 1
    same_models = sorted(models) == sorted(user.allowed_models)
    if restricted != user.models_restricted or not same_models:
        people.set_models(user.pk, restricted=restricted, models=models, by=by)
        changed += 1
    return changed + quota_form.save(user, quotas, by=by)


def _models(names: list[str]) -> list[str]:
    """The ticked names, each once. Raises InvalidRequestError for what E-24 would refuse."""
    fits = all(0 < len(name) <= MAX_MODEL_CHARS and "\0" not in name for name in names)
    if not fits or len(names) > MAX_MODELS:
        raise InvalidRequestError("invalid request body", param="models")
    return list(dict.fromkeys(names))
