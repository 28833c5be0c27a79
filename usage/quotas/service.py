"""Quota rules for pages, endpoints and the background process: made, changed, shown, taken away."""

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.audit import Actor, Subject, record
from accounts.changes import terms_changed
from accounts.models import ApiKey, User
from core.errors import InvalidRequestError, NotFoundError
from usage.models import QuotaRule
from usage.prices import tariff
from usage.quotas.limiter import Terms
from usage.quotas.store import counters, make_counters
from usage.quotas.terms import CountersAwayError, Rule, Standing
from usage.quotas.words import moment, window_name
from usage.records import Row

log = logging.getLogger("gatehouse.quotas")
MAXIMA = ("max_requests", "max_total_tokens", "max_cost", "max_concurrent")
MAX_RULES_A_USER = 100


def rule_of(row: QuotaRule) -> Rule:
    return Rule(
        id=str(row.pk),
        user_id=str(row.user_id),
        key_id=str(row.api_key_id) if row.api_key_id else None,
        model=row.model,
        window_s=row.window_s,
        **{name: getattr(row, name) for name in MAXIMA},
    )


def terms_in_force() -> Terms:
    """Every rule and price, with the counters of every rule there; for a worker, off its loop."""
    rules = [rule_of(row) for row in QuotaRule.objects.all()]
    make_counters(rules)
    return Terms(rules, tariff())


def set_rule(
    user_id: UUID,
    *,
    key_id: UUID | None,
    model: str,
    window_s: int,
    maxima: dict[str, int | None],
    by: Actor,
) -> QuotaRule:
    """Make a rule, or change the maxima of the one on the same user or key, model and window (S-51).

    What was used stays counted. Raises NotFoundError, InvalidRequestError.
    """
    with transaction.atomic():
        if not User.objects.select_for_update().filter(pk=user_id).exists():
            raise NotFoundError("user not found")
        if key_id is not None and not ApiKey.objects.filter(pk=key_id, user_id=user_id).exists():
            raise NotFoundError("API key not found")
        names = {"user_id": user_id, "api_key_id": key_id, "model": model, "window_s": window_s}
        row = QuotaRule.objects.filter(**names).first()
        before = {name: getattr(row, name) for name in MAXIMA} if row else None
        if row is None and QuotaRule.objects.filter(user_id=user_id).count() >= MAX_RULES_A_USER:
            raise InvalidRequestError(f"at most {MAX_RULES_A_USER} rules for one user")
        row = row or QuotaRule(**names)
        for name in MAXIMA:
            setattr(row, name, maxima.get(name))
        row.save()
        about = Subject(user_id, f"{model or 'all models'}, {window_name(window_s)}")
        record("quota_set", by, about, before=before, after=maxima)
        terms_changed()
    make_counters([rule_of(row)])
    return row


def delete_rule(user_id: UUID, rule_id: UUID, *, by: Actor) -> None:
    """Raises NotFoundError, for another user's rule, too (E-27)."""
    with transaction.atomic():
        row = QuotaRule.objects.filter(pk=rule_id, user_id=user_id).first()
        if row is None:
            raise NotFoundError("quota rule not found")
        about = Subject(user_id, f"{row.model or 'all models'}, {window_name(row.window_s)}")
        record("quota_deleted", by, about, before={name: getattr(row, name) for name in MAXIMA})
        row.delete()
        terms_changed()
    try:
        counters().forget(str(rule_id))
    except CountersAwayError as exc:  # nobody asks for them any more, and they are swept
        log.warning("the counters of a rule stay for now: %s", exc)


def statuses(user_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Every rule of these people as a QuotaStatus (E-07), all-models rules first; one query."""
    found: dict[str, list[dict[str, Any]]] = {}
    rows = QuotaRule.objects.filter(user_id__in=user_ids).order_by(
        "model", "window_s", "created_at"
    )
    away = False
    for row in rows:
        rule = rule_of(row)
        standing = None if away else _standing(rule)
        away = standing is None  # what does not answer once is not asked again for each rule
        found.setdefault(str(row.user_id), []).append(_status(rule, standing))
    return found


def statuses_of(user_id: str) -> list[dict[str, Any]]:
    """One person's; none for who has no account."""
    try:
        UUID(user_id)
    except ValueError:
        return []
    return statuses([user_id]).get(user_id, [])


def status(rule: Rule) -> dict[str, Any]:
    """A QuotaStatus: the rule, what its window holds, and when a next call is let through (S-15)."""
    return _status(rule, _standing(rule))


def _status(rule: Rule, standing: Standing | None) -> dict[str, Any]:
    return {
        "id": rule.id,
        "model": rule.model,
        "api_key_id": rule.key_id,
        "max_requests": rule.max_requests,
        "max_total_tokens": rule.max_total_tokens,
        "max_cost": rule.max_cost,
        "max_concurrent": rule.max_concurrent,
        "window": window_name(rule.window_s),
        "current_requests": standing.requests if standing else None,
        "current_total_tokens": standing.tokens if standing else None,
        "current_cost": standing.cost if standing else None,
        "current_concurrent": standing.concurrent if standing else None,
        "limited_by": standing.limit if standing else None,
        "resets_at": moment(standing.opens_at) if standing else None,
        "requests_reset_at": moment(standing.requests_reset_at) if standing else None,
        "tokens_reset_at": moment(standing.tokens_reset_at) if standing else None,
    }


def _standing(rule: Rule) -> Standing | None:
    """What the window holds; made from the books where the counters are missing, None where away."""
    try:
        make_counters([rule])
        return counters().standing(rule, time.time())
    except CountersAwayError:
        return None


def charge_orphans(rows: Iterable[tuple[Row, int]]) -> None:
    """What a killed worker had under way, once it is in the books: its tokens count, or it does not.

    Its requests were counted when they were admitted (S-51); of those that delivered nothing that is
    taken back. The holds expire by themselves. Where the counters are away this is given up: they
    then have the requests, and not the tokens, of what was under way.
    """
    of_rules = list(QuotaRule.objects.all())
    if not of_rules:
        return
    began = {str(row.pk): row.created_at.timestamp() for row in of_rules}
    terms = Terms([rule_of(row) for row in of_rules])
    exempt = {str(pk) for pk in User.objects.filter(role="admin").values_list("pk", flat=True)}
    try:
        for row, cost in rows:
            names = row.names
            for rule in terms.rules_of(
                names.user_id, names.api_key_id, names.model, exempt=names.user_id in exempt
            ):
                if row.at_ms / 1000 >= began[rule.id]:  # earlier ones were not counted at admission
                    _charge(rule, row, cost)
    except CountersAwayError as exc:
        log.warning("quotas do not know what a killed worker had under way: %s", exc)


def _charge(rule: Rule, row: Row, cost: int) -> None:
    counters().charge(
        rule,
        at=row.at_ms / 1000,
        requests=0 if row.counted else -1,
        tokens=row.prompt_tokens + row.completion_tokens if row.counted else 0,
        cost=cost,
        now=time.time(),
    )
