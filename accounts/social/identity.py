"""Who a provider says somebody is, and the closed list of reasons not to let them in (S-40)."""

from dataclasses import dataclass, field
from typing import Any, Literal

from allauth.socialaccount.models import SocialLogin

Code = Literal[
    "invalid_state",
    "access_denied",
    "provider_unavailable",
    "provider_error",
    "email_required",
    "email_in_use",
    "invite_required",
    "invalid_invite",
    "setup_token_required",
    "account_pending",
    "account_disabled",
    "try_again",
]
MAX_NAME_CHARS, MAX_GROUPS, MAX_SUBJECT_CHARS = 200, 1000, 191


class SignInRefusedError(Exception):
    """Nobody comes in. `code` goes to the sign-in page; `detail` only to the log and to an admin's test."""

    def __init__(self, code: Code, detail: str = "") -> None:
        super().__init__(code)
        self.code: Code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Identity:
    """One person as a provider knows them. `email` is lower-cased; empty where there is none.

    `verified` only where the provider proves the address. `raw_id_token` is for signing out there.
    """

    provider: str
    subject: str
    email: str
    verified: bool
    name: str
    avatar_url: str
    groups: frozenset[str]
    claims: dict[str, Any] = field(default_factory=dict)
    raw_id_token: str = ""


def identity_of(login: SocialLogin, *, groups_claim: str) -> Identity:
    """What a checked `login` of allauth says. Raises SignInRefusedError where it says nonsense."""
    data = login.account.extra_data or {}
    claims = (
        {**data.get("id_token", {}), **data.get("userinfo", {})} if "id_token" in data else data
    )
    subject = str(login.account.uid)
    if not subject or len(subject) > MAX_SUBJECT_CHARS or not subject.isprintable():
        raise SignInRefusedError("provider_error", "the subject is empty or too long")
    email, verified = _address(login, claims)
    name = claims.get("name") or claims.get("preferred_username") or claims.get("login") or ""
    avatar = claims.get("picture") or claims.get("avatar_url") or ""
    groups = claims.get(groups_claim)
    return Identity(
        provider=login.account.provider,
        subject=subject,
        email=email,
        verified=verified,
        name=_text(name)[:MAX_NAME_CHARS],
        avatar_url=_text(avatar) if _text(avatar).startswith("https://") else "",
        groups=frozenset(g for g in groups[:MAX_GROUPS] if isinstance(g, str))
        if isinstance(groups, list)
        else frozenset(),
        claims=claims,
        raw_id_token=getattr(login, "raw_id_token", ""),
    )


def _address(login: SocialLogin, claims: dict[str, Any]) -> tuple[str, bool]:
    """The address and whether it is proven: the verified primary one before any other."""
    known = sorted(login.email_addresses, key=lambda a: (not a.verified, not a.primary))
    if known:
        return known[0].email.strip().lower(), known[0].verified is True
    public = claims.get("email")  # GitHub shows only verified ones in a profile (contract 3.5)
    given = public.strip().lower() if isinstance(public, str) else ""
    return given, bool(given) and login.account.provider == "github"


def _text(value: object) -> str:
    return value.strip().replace("\0", "")[:512] if isinstance(value, str) else ""
