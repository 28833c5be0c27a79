"""How often one may try to sign in (S-10), and whose address a request comes from."""

import ipaddress
import secrets

from django.http import HttpRequest

from accounts.runtime import attempts, env, keyring, trusted_networks
from core.attempts import Rate
from core.errors import RateLimitedError

FAILURE_WINDOW_S = 15 * 60.0
FAILURES_BEFORE_SLOW = 10
SLOWED = Rate(1, 30.0)
DEVICE_COOKIE, DEVICE_AGE_S = "device", 365 * 24 * 3600
SIGN_IN_ROUTES = {
    "auth-register",
    "auth-login",
    "auth-token-login",
    "auth-password",
    "auth-password-forgot",
    "auth-password-reset",
    "auth-email-resend",
}
# Routes with a counter of their own, 60 a minute and address.
OTHER_LIMITED = {
    "auth-invite-check": "invite-check",
    "auth-email-verify": "email-verify",
    "auth-mfa": "mfa",
    "auth-mfa-start": "mfa",
    "auth-passkey-start": "mfa",
    "auth-passkey": "mfa",
    "auth-social-login": "social-login",
    "auth-social-callback": "social-callback",
}
OTHER_RATE = Rate(60, 60.0)


def client_address(peer: str, forwarded_for: str) -> str:
    """The caller's address: the peer's, or past trusted proxies the last one they vouch for.

    Nobody else's `X-Forwarded-For` is believed (W-06). An IPv6 caller counts as its /64.
    """
    hops = [peer, *reversed([hop.strip() for hop in forwarded_for.split(",") if hop.strip()])]
    chosen = peer
    for index, hop in enumerate(hops[:32]):
        try:
            address = ipaddress.ip_address(hop)
        except ValueError:
            break
        chosen = hop
        if index + 1 < len(hops) and not any(address in net for net in trusted_networks()):
            break
    return _network(chosen)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def address_of(request: HttpRequest) -> str:
    return client_address(
        request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", "")
    )


def sign_in_rate() -> Rate:
    return Rate.parse(env().auth_rate_limit)


def take_sign_in(request: HttpRequest) -> None:
    """Count one try of register, login, token-login or password from this address, or refuse it."""
    _take("sign-in", sign_in_rate(), request)


def take_for(url_name: str, request: HttpRequest) -> None:
    """Count one request of a route that has a limit (contract 2.7, S-10). Raises RateLimitedError."""
    if url_name in SIGN_IN_ROUTES:
        take_sign_in(request)
    elif url_name in OTHER_LIMITED and sign_in_rate().count:
        _take(OTHER_LIMITED[url_name], OTHER_RATE, request)


def _take(kind: str, rate: Rate, request: HttpRequest) -> None:
    wait_s = attempts().take(kind, address_of(request), rate)
    if wait_s:
        raise RateLimitedError(retry_after_s=wait_s)


def _account(email: str, request: HttpRequest) -> str:
    """What failures are counted by: account and network, or the device where it is known (S-37).

    A device that signed in before has a count of its own: whoever guesses from the same network
    does not slow its owner down.
    """
    device = known_device(email, request)
    return f"{email}|device:{device}" if device else f"{email}|{address_of(request)}"


def device_mark(email: str) -> str:
    """The cookie of a browser in which `email` has signed in: signed, and good for nothing else."""
    return keyring("device").sign(_owner_mark(email) + secrets.token_hex(8))


def known_device(email: str, request: HttpRequest) -> str:
    """The id of a device that `email` has signed in on, or nothing."""
    given = request.COOKIES.get(DEVICE_COOKIE, "")
    text = keyring("device").unsign(given) if given.isascii() and len(given) < 300 else None
    owner = _owner_mark(email)
    return text[len(owner) :] if text is not None and text.startswith(owner) else ""


def _owner_mark(email: str) -> str:
    return keyring("device").digest(email).hex[:16]


def slow_down_failures(email: str, request: HttpRequest) -> None:
    """After ten failures in a quarter of an hour an account is slowed, not locked (S-10)."""
    if sign_in_rate().count == 0:
        return
    who = _account(email, request)
    if attempts().count("failure", who, window_s=FAILURE_WINDOW_S) < FAILURES_BEFORE_SLOW:
        return
    wait_s = attempts().take("slowed", who, SLOWED)
    if wait_s:
        raise RateLimitedError(retry_after_s=wait_s)


def note_failure(email: str, request: HttpRequest) -> None:
    if sign_in_rate().count:
        rate = Rate(10_000, FAILURE_WINDOW_S)
        attempts().take("failure", _account(email, request), rate)


def note_success(email: str, request: HttpRequest) -> None:
    """Forget the failures, and let the browser be known from now on (set by the session middleware)."""
    attempts().forget("failure", _account(email, request))
    if not known_device(email, request):
        request.new_device = device_mark(email)  # type: ignore[attr-defined]
