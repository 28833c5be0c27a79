"""The quotas in the form of one person: shown with what is used, changed, added, removed."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit import Actor
from accounts.models import ApiKey, User
from accounts.runtime import env
from core.errors import InvalidRequestError
from core.whole_numbers import whole_number
from usage.api.quotas import MAX_COUNT, MAX_WINDOW_S
from usage.models import QuotaRule
from usage.people.quota_words import WINDOWS
from usage.quotas import service
from usage.quotas.bars import bars
from usage.quotas.words import WINDOWS as SECONDS
from usage.quotas.words import window_name

Quotas = dict[str, list[Any]]  # by id: the values of HELD
HELD = ("model", "window", *service.MAXIMA)
MAX_ROWS = 120  # 100 rules are the most an account has
MAX_DIGITS = 16
_GROUPED = re.compile(r"[0-9]{1,3}(?:[ ,.'\u00a0\u202f\u2019_][0-9]{3})+")  # `1.5` is no 15


@dataclass(frozen=True, slots=True)
class Change:
    """One rule to set, to take away (`old` alone), or both where model or window moved."""

    old: QuotaRule | None
    key_id: UUID | None = None
    model: str = ""
    window_s: int = 0
    maxima: dict[str, int | None] | None = None


def held(statuses: list[dict[str, Any]]) -> Quotas:
    """What the form shows of these, as JSON has it."""
    return {status["id"]: [status[name] for name in HELD] for status in statuses}


def locked(user: User) -> Quotas:
    """The same of what is in the database, held until the running transaction ends."""
    rules = QuotaRule.objects.select_for_update().filter(user=user)
    return {
        str(rule.pk): [rule.model, window_name(rule.window_s)]
        + [getattr(rule, name) for name in service.MAXIMA]
        for rule in rules
    }


def named(values: list[Any]) -> dict[str, Any]:
    """What is held of one rule, by its names."""
    return dict(zip(HELD, values, strict=True))


def kept(before: Quotas, now: Quotas, post: Any) -> dict[str, str]:
    """The rows to send to `context` where rules moved: of what was sent, what was changed by hand.

    `now` is in the order of the form. What was typed into a rule that is gone stays as a new one.
    """
    given: dict[str, str] = {}
    new: list[dict[str, Any]] = []
    places = {pk: n for n, pk in enumerate(now)}
    for n in [*map(str, range(min(_count(post), MAX_ROWS))), "new"]:
        pk, row = post.get(f"quota-{n}-id", ""), _sent(n, post)
        is_removed = row.pop("remove")
        is_typed = f"quota-{n}-window" in post and _is_typed(row, before.get(pk))
        if pk in places and (is_typed or is_removed):
            row = row if is_typed else _as_typed(now[pk])
            row |= {"id": pk} | ({"remove": "on"} if is_removed else {})
            given |= {f"quota-{places[pk]}-{name}": row[name] for name in row if name != "n"}
        elif pk not in places and is_typed and not is_removed:
            new.append(row)
    for at, row in enumerate(new, len(now)):
        given |= {f"quota-{at}-{name}": row[name] for name in row if name != "n"}
    return given


def _is_typed(row: dict[str, Any], before: list[Any] | None) -> bool:
    """Whether a row that was sent is other than it was shown; a new one: whether it holds a limit."""
    if before is None:
        return bool(row["requests"].strip() or row["tokens"].strip())
    return any(row[name] != text for name, text in _as_typed(before).items())


def _as_typed(values: list[Any]) -> dict[str, str]:
    """A rule as its row sends it where nobody touched it."""
    rule = named(values)
    limits = {"requests": rule["max_requests"], "tokens": rule["max_total_tokens"]}
    texts = {name: "" if most is None else str(most) for name, most in limits.items()}
    return {"model": rule["model"], "window": rule["window"], **texts}


def context(
    user: User, statuses: list[dict[str, Any]], given: Any, models: list[str]
) -> dict[str, Any]:
    """The rows of the form: one for each rule, and where it was refused those that were new."""
    keys = dict(ApiKey.objects.filter(user=user).values_list("pk", "name"))
    rows = [_row(n, status, given, keys) for n, status in enumerate(statuses)]
    if given:
        first, last = len(rows), min(_count(given), MAX_ROWS)
        rows += [_sent(n, given) for n in range(first, last) if not given.get(f"quota-{n}-id")]
    named = {status["model"] for status in statuses if status["model"]}
    names = sorted({*models, *named}, key=str.lower)
    return {
        "quotas": rows,
        "quota_models": [("", _("All models")), *((name, name) for name in names)],
        "windows": list(WINDOWS),
        "blank": {"window": "1d"},
    }


def _row(n: int, status: dict[str, Any], given: Any, keys: dict[UUID, str]) -> dict[str, Any]:
    windows = [(name, label) for name, label in WINDOWS]
    if status["window"] not in dict(WINDOWS):
        windows.append((status["window"], status["window"]))
    row = {
        "n": n,
        "id": status["id"],
        "model": status["model"],
        "window": status["window"],
        "windows": windows,
        "requests": "" if status["max_requests"] is None else status["max_requests"],
        "tokens": "" if status["max_total_tokens"] is None else status["max_total_tokens"],
        "key": keys.get(UUID(status["api_key_id"]), "") if status["api_key_id"] else "",
        "bars": bars([status], timezone.now(), currency=env().currency, key_names={}),
    }
    return (
        {**row, **_sent(n, given)} if given and given.get(f"quota-{n}-id") == status["id"] else row
    )


def _sent(n: int | str, given: Any) -> dict[str, Any]:
    """A row as it was sent."""
    names = ("model", "window", "requests", "tokens", "remove")
    return {"n": n, **{name: given.get(f"quota-{n}-{name}", "") for name in names}}


def _count(given: Any) -> int:
    """One more than the highest row that was sent."""
    numbers = [name.split("-")[1] for name in given if name.startswith("quota-")]
    return max((int(each) + 1 for each in numbers if each.isdecimal() and len(each) < 4), default=0)


def changes(user: User, post: Any) -> list[Change]:
    """What differs from the rules there are. Raises InvalidRequestError for what cannot be meant."""
    rules = {str(rule.pk): rule for rule in QuotaRule.objects.filter(user=user)}
    numbers = [str(n) for n in range(min(_count(post), MAX_ROWS))]
    found = [_change(n, post, rules) for n in [*numbers, "new"]]
    return [each for each in found if each is not None]


def _change(n: str, post: Any, rules: dict[str, QuotaRule]) -> Change | None:
    old = rules.get(post.get(f"quota-{n}-id", ""))
    if old is not None and post.get(f"quota-{n}-remove") == "on":
        return Change(old)
    if f"quota-{n}-window" not in post:
        return None
    requests = _number(post.get(f"quota-{n}-requests", ""))
    tokens = _number(post.get(f"quota-{n}-tokens", ""))
    model = post.get(f"quota-{n}-model", "").replace("\0", "")[:255]
    window_s = _window(post.get(f"quota-{n}-window", ""), old)
    if old is None:
        if requests is None and tokens is None:
            return None  # an empty row is no rule
        return Change(None, None, model, window_s, _maxima(requests, tokens))
    maxima = {name: getattr(old, name) for name in service.MAXIMA}
    wanted = {**maxima, **_maxima(requests, tokens)}
    is_moved = (model, window_s) != (old.model, old.window_s)
    if not is_moved and wanted == maxima:
        return None
    return Change(old if is_moved else None, old.api_key_id, model, window_s, wanted)


def _maxima(requests: int | None, tokens: int | None) -> dict[str, int | None]:
    return {"max_requests": requests, "max_total_tokens": tokens}


def _window(name: str, old: QuotaRule | None) -> int:
    if name in SECONDS:
        return SECONDS[name]
    if old is not None and name == window_name(old.window_s) and old.window_s <= MAX_WINDOW_S:
        return old.window_s
    raise InvalidRequestError("choose a window", param="window")


def _number(given: str) -> int | None:
    """Whole, from 0 on (which blocks everything, S-16), in threes or not; empty: no limit."""
    text = given.strip()
    if _GROUPED.fullmatch(text):
        text = re.sub(r"\D", "", text)
    if not text:
        return None
    number = whole_number(text, MAX_DIGITS)
    if number is None or number > MAX_COUNT:
        raise InvalidRequestError("quotas are whole numbers from 0 on", param="requests")
    return number


def save(user: User, wanted: list[Change], *, by: Actor) -> int:
    """Set and take away, through the services of E-26 and E-27. How many changes there were."""
    for change in wanted:
        if change.old is not None:
            service.delete_rule(user.pk, change.old.pk, by=by)
        if change.maxima is not None:
            service.set_rule(
                user.pk,
                key_id=change.key_id,
                model=change.model,
                window_s=change.window_s,
                maxima=change.maxima,
                by=by,
            )
    return len(wanted)
