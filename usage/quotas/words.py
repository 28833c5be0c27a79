"""Quotas in words and headers: windows, refusals, OpenAI's `x-ratelimit-*`."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from core.errors import QuotaExceededError
from core.response_headers import Headers
from usage.quotas.terms import LimitName, Refused, Rule, Standing

WINDOWS = {
    "1m": 60,
    "5m": 300,
    "1h": 3600,
    "6h": 21_600,
    "1d": 86_400,
    "7d": 604_800,
    "30d": 2_592_000,
}
_NAMES = {seconds: name for name, seconds in WINDOWS.items()}
NANO = 10**9


def window_name(seconds: int) -> str:
    """`1h`, or a Go duration such as `2h0m0s` for a window that has no name (contract, E-07)."""
    return _NAMES.get(seconds) or go_duration(seconds)


def go_duration(seconds: float) -> str:
    """As Go writes a duration: `1h2m3s`, `2m0s`, `350ms`."""
    if seconds < 1:
        return f"{max(0, math.ceil(seconds * 1000))}ms"
    whole = math.ceil(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def moment(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, rounded up to a second: never earlier than it is true."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(math.ceil(seconds), tz=UTC).isoformat().replace("+00:00", "Z")


def money(nano: int) -> str:
    """10⁻⁹ of the currency as an amount with at least two decimals."""
    whole, part = divmod(nano, NANO)
    return f"{whole}.{f'{part:09d}'.rstrip('0'):0<2}"


def maximum(rule: Rule, limit: LimitName) -> int:
    """What `rule` allows of `limit`; 0 where it has no such limit."""
    values = {
        "requests": rule.max_requests,
        "tokens": rule.max_total_tokens,
        "cost": rule.max_cost,
        "concurrent": rule.max_concurrent,
    }
    return values[limit] or 0


def current(standing: Standing, limit: LimitName) -> int:
    """How much of `limit` is taken, holds included."""
    return {
        "requests": standing.requests,
        "tokens": standing.tokens + standing.held_tokens,
        "cost": standing.cost + standing.held_cost,
        "concurrent": standing.concurrent,
    }[limit]


def refusal(refused: Refused, now: float, currency: str) -> QuotaExceededError:
    """The contract's sentence (4.5), and the same for programs under `quota`; `Retry-After` is true."""
    rule, limit, standing = refused.rule, refused.limit, refused.standing
    taken, most = current(standing, limit), maximum(rule, limit)
    what = f"model {rule.model}" if rule.model else "all models"
    window = window_name(rule.window_s)
    sentence = {
        "requests": f"Request quota exceeded for {what}: {taken}/{most} requests in {window} window",
        "tokens": f"Token quota exceeded for {what}: {taken}/{most} tokens in {window} window",
        "cost": f"Cost quota exceeded for {what}: {money(taken)}/{money(most)} {currency} in {window} "
        "window",
        "concurrent": f"Too many requests at once for {what}: {taken}/{most}",
    }[limit]
    told = {
        "id": rule.id,
        "limit": limit,
        "model": rule.model,
        "api_key_id": rule.key_id,
        "window": window,
        "current": taken,
        "max": most,
        "resets_at": moment(standing.opens_at),
    }
    wait_s = None if standing.opens_at is None else max(1.0, standing.opens_at - now)
    return QuotaExceededError(sentence, retry_after_s=wait_s, extra={"quota": told})


def rate_headers(standings: Sequence[tuple[Rule, Standing]], now: float) -> Headers:
    """OpenAI's headers for the rule with the least left: of requests, and of tokens."""
    headers: Headers = []
    requests = [
        (rule.max_requests - standing.requests, rule.max_requests, standing.requests_reset_at)
        for rule, standing in standings
        if rule.max_requests is not None
    ]
    tokens = [
        (
            rule.max_total_tokens - standing.tokens - standing.held_tokens,
            rule.max_total_tokens,
            standing.tokens_reset_at,
        )
        for rule, standing in standings
        if rule.max_total_tokens is not None
    ]
    for name, found in ((b"requests", requests), (b"tokens", tokens)):
        if found:
            left, most, reset_at = min(found)
            reset = go_duration(max(0.0, reset_at - now)).encode()
            headers += [
                (b"x-ratelimit-limit-" + name, b"%d" % most),
                (b"x-ratelimit-remaining-" + name, b"%d" % max(0, left)),
                (b"x-ratelimit-reset-" + name, reset),
            ]
    return headers
