"""What each route asks of its caller. One table; nothing else decides.

A requirement is a string:

    public           anyone
    user             any credential
    feature:NAME     any credential whose owner has the feature
    account          a person's own account, by any credential of it (not the legacy key: S-07)
    account:NAME     the same, whose owner has the feature
    session          a person's own account, by a session that no key made (C-11, S-28)
    admin            an admin, by any credential

`duty:` before one of them lets in a session that has a duty left (a new password after an admin's
reset, a second factor to set up); everywhere else such a session is refused.

A (URL name, method) without a line here is refused to everybody, and a test walks the whole URL
configuration and fails on one. HEAD counts as GET, OPTIONS is answered before the gate.
"""

import re
from dataclasses import dataclass

from accounts.gate_pages import PAGES
from core.errors import ForbiddenError, ModelNotAllowedError, UnauthenticatedError
from core.principal import ANONYMOUS, Principal

Requirement = str

_CHAT = ("chat-completions", "completions", "messages", "responses")
_OTHER_INFERENCE = {
    "messages-count-tokens": "feature:chat",
    "embeddings": "feature:embeddings",
    "tokenize": "feature:tokenize",
    "detokenize": "feature:tokenize",
}

GATE: dict[tuple[str, str], Requirement] = {
    ("healthz", "GET"): "public",
    ("readyz", "GET"): "public",
    ("version", "GET"): "user",
    ("metrics", "GET"): "user",
    ("features", "GET"): "user",
    ("setup", "GET"): "admin",
    ("accounting", "GET"): "admin",
    ("accounting", "POST"): "admin",
    ("discovery", "GET"): "public",
    ("openapi", "GET"): "public",
    ("swagger", "GET"): "public",
    ("swagger-root", "GET"): "public",
    # accounts (contract, section 1.1)
    ("auth-status", "GET"): "public",
    ("auth-register", "POST"): "public",
    ("auth-login", "POST"): "public",
    ("auth-token-login", "POST"): "public",
    ("auth-logout", "POST"): "duty:user",
    ("auth-me", "GET"): "duty:user",
    ("auth-profile", "PUT"): "session",
    ("auth-password", "PUT"): "duty:session",
    ("auth-sessions", "GET"): "session",
    ("auth-sessions", "DELETE"): "session",
    ("auth-session", "DELETE"): "session",
    ("auth-api-keys", "GET"): "account",
    ("auth-api-keys", "POST"): "session",
    ("auth-api-key", "DELETE"): "session",
    ("auth-usage", "GET"): "user",
    ("auth-usage-sources", "GET"): "user",
    ("auth-usage-latency", "GET"): "user",
    ("auth-usage-export", "GET"): "user",
    ("auth-admin-usage", "GET"): "admin",
    ("auth-admin-usage-sources", "GET"): "admin",
    ("auth-admin-usage-latency", "GET"): "admin",
    ("auth-admin-usage-export", "GET"): "admin",
    ("auth-quota", "GET"): "user",
    ("auth-admin-user-quotas", "GET"): "admin",
    ("auth-admin-user-quotas", "PUT"): "admin",
    ("auth-admin-user-quota", "DELETE"): "admin",
    ("auth-admin-prices", "GET"): "admin",
    ("auth-admin-prices", "POST"): "admin",
    ("auth-admin-price", "DELETE"): "admin",
    ("usage", "GET"): "user",
    ("usage-all", "GET"): "admin",
    ("auth-admin-features", "GET"): "admin",
    ("auth-admin-users", "GET"): "admin",
    ("auth-admin-user", "DELETE"): "admin",
    ("auth-admin-user-password", "PUT"): "admin",
    ("auth-admin-user-permissions", "GET"): "admin",
    ("auth-admin-user-permissions", "PUT"): "admin",
    ("auth-admin-user-models", "PUT"): "admin",
    ("auth-admin-audit", "GET"): "admin",
    ("settings", "GET"): "admin",
    ("settings", "POST"): "admin",
    ("auth-invite-check", "GET"): "public",
    ("auth-mfa", "POST"): "public",
    ("auth-mfa", "GET"): "duty:session",
    ("auth-mfa-start", "POST"): "public",
    ("auth-mfa-totp-start", "POST"): "duty:session",
    ("auth-mfa-totp", "POST"): "duty:session",
    ("auth-mfa-totp", "DELETE"): "session",
    ("auth-mfa-recovery-codes", "POST"): "session",
    ("auth-mfa-passkey-start", "POST"): "duty:session",
    ("auth-mfa-passkeys", "POST"): "duty:session",
    ("auth-mfa-passkey", "DELETE"): "session",
    ("auth-passkey-start", "POST"): "public",
    ("auth-passkey", "POST"): "public",
    ("auth-password-forgot", "POST"): "public",
    ("auth-password-reset", "POST"): "public",
    ("auth-email-verify", "POST"): "public",
    ("auth-email-resend", "POST"): "public",
    ("auth-social-login", "GET"): "public",
    ("auth-social-callback", "GET"): "public",
    ("auth-admin-user-role", "PUT"): "admin",
    ("auth-admin-user-status", "PUT"): "admin",
    ("auth-admin-user-decline", "POST"): "admin",
    ("auth-admin-invites", "GET"): "admin",
    ("auth-admin-invites", "POST"): "admin",
    ("auth-admin-invite", "DELETE"): "admin",
    # conversations: their owner's alone, which the views see to
    **dict.fromkeys(
        (
            *(("chats", method) for method in ("GET", "POST", "DELETE")),
            *(("chat", method) for method in ("GET", "PATCH", "DELETE")),
            *(("chat-preferences", method) for method in ("GET", "PUT")),
            ("chat-export", "GET"),
            ("chat-messages", "POST"),
            ("chat-message", "GET"),
            ("chat-file", "GET"),
            *((f"chat-{step}", "POST") for step in ("regenerate", "continue", "stop")),
            ("chat-stream", "GET"),
        ),
        "account:chat",
    ),
    **PAGES,
    # operations
    ("operations", "GET"): "admin",
    ("operation-cancel", "POST"): "admin",
    ("operation-dismiss", "POST"): "admin",
    ("models-job", "GET"): "admin",
    ("models-jobs", "GET"): "admin",
    ("models-job-status", "GET"): "admin",
    ("gallery-models", "GET"): "admin",
    ("gallery-install", "POST"): "admin",
    ("gallery-delete", "POST"): "admin",
    ("models-apply", "POST"): "admin",
    ("models-delete", "POST"): "admin",
    ("models-available", "GET"): "admin",
    ("models-galleries", "GET"): "admin",
    ("models-capabilities", "GET"): "user",
    ("picture", "GET"): "user",
    # what is configured of a model
    ("model-config-json", "GET"): "admin",
    ("model-config-json", "PATCH"): "admin",
    ("model-config-metadata", "GET"): "admin",
    ("model-edit", "GET"): "admin",
    ("model-edit-save", "POST"): "admin",
    ("model-config", "POST"): "admin",
    ("model-aliases", "GET"): "admin",
    ("model-import", "POST"): "admin",
    ("model-import-uri", "POST"): "admin",
    ("models-reload", "POST"): "admin",
    ("model-toggle-state", "PUT"): "admin",
    ("model-toggle-pinned", "PUT"): "admin",
    # backends
    ("gallery-backends", "GET"): "admin",
    ("backends-install", "POST"): "admin",
    ("backends-delete", "POST"): "admin",
    ("backends-install-external", "POST"): "admin",
    ("backends-job", "GET"): "admin",
    ("backends-system-delete", "POST"): "admin",
    ("backends-upgrades", "GET"): "admin",
    ("backends-upgrades-check", "POST"): "admin",
    ("backends-upgrade", "POST"): "admin",
    ("backends", "GET"): "admin",
    ("backends-available", "GET"): "admin",
    ("backends-galleries", "GET"): "admin",
    ("backends-apply", "POST"): "admin",
    ("backends-remove", "POST"): "admin",
    ("backends-jobs", "GET"): "admin",
    ("backends-job-status", "GET"): "admin",
    # models
    ("models", "GET"): "user",
    ("model", "GET"): "user",
    # the machine (surface, section 2)
    ("backend-logs", "GET"): "admin",
    ("backend-log", "GET"): "admin",
    ("backend-log-clear", "POST"): "admin",
    ("backend-log-socket", "GET"): "admin",
    ("traces", "GET"): "admin",
    ("trace", "GET"): "admin",
    ("traces-summary", "GET"): "admin",
    ("traces-clear", "POST"): "admin",
    ("backend-traces", "GET"): "admin",
    ("backend-trace", "GET"): "admin",
    ("backend-traces-clear", "POST"): "admin",
    ("resources", "GET"): "admin",
    ("engines", "GET"): "admin",
    ("machine", "GET"): "admin",
    ("backend-monitor", "GET"): "admin",
    ("backend-shutdown", "POST"): "admin",
    ("backend-load", "POST"): "admin",
    # stored responses: the owner's alone, which the view sees to
    ("response", "GET"): "user",
    ("response-cancel", "POST"): "user",
    **{(name, "POST"): "feature:chat" for name in _CHAT},
    **{(name, "POST"): requirement for name, requirement in _OTHER_INFERENCE.items()},
}
# Everything under Django's admin site, by its namespace. (Static files are WhiteNoise's, before the gate.)
GATE_PREFIXES: dict[str, Requirement] = {"admin:": "admin", "admin-root": "admin"}


# Pages about accounts: without accounts they are not there, as their API is not (G-07).
_PEOPLE_PAGES = frozenset(
    name
    for name, _method in GATE
    if name.startswith(("account", "user-", "users-", "invites-", "invite-revoke", "audit-"))
    and name != "accounting"
)


_DUTIES = {
    "password": "Set a new password first: PUT /api/auth/password.",
    "factor": "Set up a second factor first.",
}


def requirement_for(url_name: str, method: str) -> Requirement | None:
    """The line for a route, or None where it has none (then nobody may)."""
    method = "GET" if method == "HEAD" else method
    found = GATE.get((url_name, method))
    if found is not None:
        return found
    for prefix, requirement in GATE_PREFIXES.items():
        if url_name.startswith(prefix):
            return requirement
    return None


def close_to_admins(url_name: str) -> None:
    """Ask for an admin on every line of a route, where a setting says so at the start (C-03)."""
    GATE.update({line: "admin" for line in GATE if line[0] == url_name})


def methods_of(url_name: str) -> list[str]:
    """The methods that a route has a line for, as an `Allow` header lists them."""
    return sorted(method for name, method in GATE if name == url_name)


def admit(principal: Principal | None, requirement: Requirement | None) -> None:
    """Return where `principal` meets `requirement`; else raise.

    Raises UnauthenticatedError without a principal, ForbiddenError with one that may not, also
    where there is no requirement at all.
    """
    if requirement == "public":
        return
    if principal is None:
        raise UnauthenticatedError
    if requirement is None:
        raise ForbiddenError("This address is closed.")
    if requirement.startswith("duty:"):
        requirement = requirement[5:]
    elif principal.duty is not None:
        raise ForbiddenError(_DUTIES[principal.duty])
    if requirement == "user":
        return
    kind, _, feature = requirement.partition(":")
    if feature:
        _admit_feature(principal, feature)
        if kind == "feature":
            return
        requirement = kind
    if requirement == "admin":
        if principal.is_admin:
            return
        raise ForbiddenError
    _admit_account(principal, requirement)


def _admit_feature(principal: Principal, name: str) -> None:
    if not principal.is_admin and name not in principal.features:
        raise ForbiddenError(
            f"feature not enabled for your account: {name}", reason="feature_disabled"
        )


def _admit_account(principal: Principal, requirement: Requirement) -> None:
    if not principal.has_account:
        raise ForbiddenError("This needs a personal account.")
    if requirement == "session" and (principal.key_id is not None or principal.source != "web"):
        raise ForbiddenError("This needs a signed-in session; an API key may not do it.")
    if requirement not in {"account", "session"}:
        raise ForbiddenError("This address is closed.")


def admit_model(principal: Principal | None, model: str, *, called: str = "") -> None:
    """Return where `principal` may use `model`; else raise ModelNotAllowedError (contract 4.3).

    The one resolver's answer is what comes in here, so that what is judged is what is served (W-09).
    `called` is the caller's own word for it, an alias perhaps: the error tells no other.
    """
    if principal is None or not principal.may_use(model):
        shown = called or model
        shown = shown if len(shown) <= 100 else shown[:100] + "…"
        raise ModelNotAllowedError(f"access denied to model: {shown}", param="model")


@dataclass(frozen=True, slots=True)
class Exemptions:
    """What may be read without a credential: paths that the operator names (contract 4.2).

    Only where legacy keys are configured, and only routes that ask for nothing but some credential:
    no pattern opens an account's, a feature's or an admin's route, nor a page (W-35).
    """

    patterns: tuple[re.Pattern[str], ...] = ()

    def principal_for(self, path: str, requirement: Requirement | None) -> Principal | None:
        """Who an anonymous reader of `path` is: nobody, or ANONYMOUS."""
        if requirement == "user" and any(pattern.search(path) for pattern in self.patterns):
            return ANONYMOUS
        return None


def is_there(
    url_name: str, *, accounts: bool, legacy_keys: bool, runtime_settings: bool = True
) -> bool:
    """Whether a route exists in this mode (G-07): without accounts there are hardly any of theirs."""
    if url_name == "settings":
        return runtime_settings
    if url_name in _PEOPLE_PAGES:
        return accounts
    if accounts or not url_name.startswith("auth-") or url_name == "auth-status":
        return True
    return url_name == "auth-token-login" and legacy_keys
