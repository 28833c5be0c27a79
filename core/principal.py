"""Who is calling: the value that gate, limits, forwarding and meter pass along."""

from dataclasses import dataclass
from typing import Literal

Source = Literal["web", "apikey", "legacy", "oidc"]
Duty = Literal["password", "factor"]
Theme = Literal["system", "light", "dark"]


@dataclass(frozen=True, slots=True)
class Preferences:
    """How somebody wants the pages. `language` is a code, or empty for the browser's own."""

    theme: Theme = "system"
    language: str = ""
    shortcuts: bool = True
    avatar_url: str = ""


DEFAULTS = Preferences()


@dataclass(frozen=True, slots=True)
class Principal:
    """One authenticated caller.

    `user_id` is a UUID as text, or `legacy-api-key`, or `local` where authentication is off.
    `key_id` is set when an API key, or a session made from one (S-28), is the credential.
    `features` are the names of the features this caller has; admins have all. `models` are the only
    ones it may use, or None for all. `duty` is what a session has to do before anything else.
    `stale` says that the credential's last use is due to be written down. `good_until` (seconds
    since the epoch) ends an access token of the provider, which is never remembered longer.
    """

    user_id: str
    name: str
    email: str
    role: Literal["admin", "user"]
    source: Source
    features: frozenset[str] = frozenset()
    key_id: str | None = None
    key_name: str | None = None
    session_key: str | None = None
    models: frozenset[str] | None = None
    duty: Duty | None = None
    stale: bool = False
    good_until: float | None = None
    preferences: Preferences = DEFAULTS

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def may_use(self, model: str) -> bool:
        """Whether the allow-list lets this caller at `model` (contract 4.3; exact names)."""
        return self.models is None or self.is_admin or model in self.models

    @property
    def has_account(self) -> bool:
        """False for the legacy key and for the single user of a server without accounts."""
        return self.user_id not in {LEGACY_ID, LOCAL_ID, ANONYMOUS_ID}


LEGACY_ID = "legacy-api-key"
LOCAL_ID = "local"
ANONYMOUS_ID = "anonymous"
LEGACY = Principal(LEGACY_ID, "API Key User", "", "admin", "legacy")
LOCAL = Principal(LOCAL_ID, "Local", "", "admin", "web")
# Somebody without a credential, where the operator lets such callers read (contract 4.2). No rights.
ANONYMOUS = Principal(ANONYMOUS_ID, "Anonymous", "", "user", "legacy")
