"""Finding people among ten thousand: search, filters, order, pages, and what a row shows of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.features import AGENT_FEATURES, features_of
from accounts.models import Role, ShownName, Status, User
from accounts.presence import by_last_seen, last_seen
from usage.people.quota_words import percent_of
from usage.quotas.service import statuses

PAGE_SIZE = 25
MAX_WAITING = 25
MAX_QUERY_CHARS = 100
SORTS = ("name", "-name", "seen", "-seen", "created", "-created")


@dataclass(frozen=True, slots=True)
class Choice:
    """What of everybody is wanted; unknown values of the address mean all."""

    q: str = ""
    role: str = ""
    status: str = ""
    sort: str = "name"
    page: str = "1"

    @property
    def is_narrow(self) -> bool:
        return bool(self.q or self.role or self.status)


@dataclass(frozen=True, slots=True)
class Row:
    """One person of the list. `fullest` is the percentage of the fullest quota."""

    user: User
    may_use: str
    limited: bool
    fullest: float | None
    last_seen: datetime | None
    is_self: bool


def choice_of(given: Any) -> Choice:
    """The query string as a choice."""
    sort, role, status = given.get("sort", ""), given.get("role", ""), given.get("status", "")
    return Choice(
        q=given.get("q", "").replace("\0", "").strip()[:MAX_QUERY_CHARS],
        role=role if role in Role.values else "",
        status=status if status in {Status.ACTIVE, Status.DISABLED} else "",
        sort=sort if sort in SORTS else "name",
        page=given.get("page", "1"),
    )


def found(choice: Choice) -> QuerySet[User]:
    """Everybody that a choice leaves, in its order. Who waits has a list of their own."""
    users = User.objects.exclude(status=Status.PENDING)
    if choice.status:
        users = users.filter(status=choice.status)
    if choice.role:
        users = users.filter(role=choice.role)
    if choice.q:
        users = users.filter(Q(name__icontains=choice.q) | Q(email__icontains=choice.q))
    key, down = choice.sort.lstrip("-"), choice.sort.startswith("-")
    if key == "name":
        order: Any = ShownName()
    elif key == "seen":
        order = by_last_seen()
    else:
        return users.order_by("-created_at" if down else "created_at", "pk")
    return users.order_by(*((order.desc(), "-pk") if down else (order.asc(), "pk")))


def page_of(choice: Choice, people: int) -> Page[User]:
    """One page of a choice, out of so many `people` in all: a query, and one for a choice that is narrow."""
    paginator = Paginator(found(choice), PAGE_SIZE)
    if not choice.is_narrow:
        paginator.count = people
    return paginator.get_page(choice.page)


def waiting() -> list[User]:
    """Who waits for approval, the longest first; as many as one page shows."""
    return list(
        User.objects.filter(status=Status.PENDING).order_by("created_at", "pk")[:MAX_WAITING]
    )


def counts() -> dict[str, int]:
    """How many people there are, and how many wait: one query."""
    return User.objects.aggregate(
        people=Count("pk", filter=~Q(status=Status.PENDING)),
        waiting=Count("pk", filter=Q(status=Status.PENDING)),
    )


def rows(users: Iterable[User], *, self_id: str) -> list[Row]:
    """What the list shows of these people: one query, however many they are."""
    people = list(users)
    quotas = statuses([str(user.pk) for user in people])
    return [
        Row(
            user=user,
            may_use=may_use(user),
            limited=user.role != Role.ADMIN,
            fullest=_fullest(quotas.get(str(user.pk), [])),
            last_seen=last_seen(user),
            is_self=str(user.pk) == self_id,
        )
        for user in people
    ]


def _fullest(of_user: list[dict[str, Any]]) -> float | None:
    """The fullest of somebody's quotas; None without one, or where nothing counts now."""
    known = [share for each in of_user if (share := percent_of(each)) is not None]
    return max(known, default=None)


def may_use(user: User) -> str:
    """`Everything`, `All models, agents`, `2 models`, `No models`."""
    if user.role == Role.ADMIN:
        return _("Everything")
    models = _("All models")
    if user.models_restricted:
        n = len(user.allowed_models)
        models = ngettext("%(n)d model", "%(n)d models", n) % {"n": n} if n else _("No models")
    has_agents = features_of(user.role, user.permissions) & set(AGENT_FEATURES)
    return _("%(models)s, agents") % {"models": models} if has_agents else models
