"""Usage by person, a page at a time, for the admins' usage page: who used most comes first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from accounts.models import User
from core.principal import LEGACY_ID, LOCAL_ID
from usage.records import ID
from usage.reports.overview import Line, Sums, share_out
from usage.reports.ranking import ranking
from usage.reports.sums import Question, ask
from usage.reports.windows import Window
from usage.series import DELETED_ID

PAGE = 25
# Who has usage and no account.
NOBODIES = (LEGACY_ID, LOCAL_ID, DELETED_ID)


@dataclass(slots=True)
class Person(Line):
    """One person's line: `name` and `email` are the account's where there is one."""

    user_id: str = ""
    email: str = ""
    avatar_url: str = ""
    has_account: bool = False


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """`n_people` of the window (those found by a search are `n_found`), and the page's `lines`.

    `sorted_at` is when the order was found: the numbers are of now.
    """

    lines: list[Person]
    number: int
    n_people: int
    n_found: int
    sorted_at: datetime


def people_page(window: Window, *, search: str, number: int, opened: str = "") -> PeoplePage:
    """Page `number` (from 1) of everybody who used anything in `window`, or of those found.

    Where the one who is `opened` is not on that page, the list is of them alone. Four queries, and one
    more for a search.
    """
    order = ranking(window)
    found = order.user_ids
    if search:
        wanted = _found(search)
        found = [each for each in found if each in wanted]
    number = min(max(1, number), max(1, -(-len(found) // PAGE)))
    shown = found[(number - 1) * PAGE : number * PAGE]
    if opened and opened not in shown:
        found, shown, number = [opened], [opened], 1
    lines = _lines(window, shown)
    return PeoplePage(lines, number, len(order.user_ids), len(found), order.at)


def _found(search: str) -> set[str]:
    """The ids of accounts whose name or email has `search` in it, and of nobodies by their id."""
    match = Q(name__icontains=search) | Q(email__icontains=search)
    accounts = User.objects.filter(match).values_list("pk", flat=True)
    others = {each for each in NOBODIES if search.casefold() in each}
    return others | {str(pk) for pk in accounts}


def _lines(window: Window, user_ids: Sequence[str]) -> list[Person]:
    """These people's lines, most tokens first; in one query the sums, in one who they are."""
    sums: dict[str, Person] = {}
    for row in ask(Question(window, ["user"], people=user_ids)):
        person = sums.setdefault(row["user_id"], Person(row["user_name"], Sums()))
        person.user_id = row["user_id"]
        person.sums.add(row)
    accounts = [UUID(each) for each in user_ids if ID.fullmatch(each)]
    for user in User.objects.filter(pk__in=accounts):
        person = sums.setdefault(str(user.pk), Person("", user_id=str(user.pk)))
        person.name, person.email = user.name or user.email, user.email
        person.avatar_url, person.has_account = user.avatar_url, True
    lines = sorted(sums.values(), key=lambda each: (-each.sums.total, each.user_id))
    share_out(list(lines))
    return lines
