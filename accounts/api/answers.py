"""What the account endpoints answer with, field by field, for the document (`core.declared`)."""

from datetime import datetime
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from accounts.runtime_settings.registry import registered
from core.declared import shape

Role = Literal["admin", "user"]
Permission = dict[str, bool]
EXAMPLE_USER = {
    "id": "0197c5a6-7a3b-7c1e-8f00-1f6d4a2b9c3d",
    "email": "alice@example.org",
    "name": "Alice",
    "role": "admin",
}


class Message(TypedDict):
    message: str


class BriefUser(TypedDict):
    """The legacy key has neither address nor account."""

    id: str
    email: NotRequired[str]
    name: str
    role: Role


class Caller(TypedDict):
    id: str
    email: str
    name: str
    avatarUrl: str
    role: Role
    provider: str
    permissions: NotRequired[Permission]


class ServerStatus(TypedDict):
    authEnabled: bool
    staticApiKeyRequired: bool
    providers: list[Literal["local", "github", "oidc"]]
    hasUsers: bool
    registrationMode: Literal["open", "approval", "invite", ""]
    user: Caller | None


class SignedIn(TypedDict):
    user: BriefUser
    password_change_required: NotRequired[Literal[True]]


class FactorOwed(TypedDict):
    """Half-open: `POST /api/auth/mfa` ends it."""

    mfa_required: Literal[True]
    methods: list[Literal["totp", "recovery_codes", "passkey"]]


class Waiting(TypedDict):
    message: str
    pending: Literal[True]


class SignedOut(TypedDict):
    message: str
    redirect: NotRequired[str]


class OwnPasskey(TypedDict):
    id: int
    name: str
    createdAt: datetime
    lastUsed: datetime | None


class OwnFactors(TypedDict):
    required: bool
    totp: bool
    recovery_codes_left: int
    passkeys: list[OwnPasskey]


class TotpSecret(TypedDict):
    """For an authenticator app; it counts once a code has come back."""

    secret: str
    uri: str
    svg: str


class FactorAdded(TypedDict):
    """`recovery_codes` are shown this once, with the first factor."""

    message: str
    recovery_codes: NotRequired[list[str]]


class RecoveryCodes(TypedDict):
    recovery_codes: list[str]


class PasskeyQuestion(TypedDict):
    """For `navigator.credentials` of the browser."""

    publicKey: dict[str, Any]


class Verified(TypedDict):
    message: str
    pending: bool


class ProfileSaved(TypedDict):
    message: str
    name: str
    avatarUrl: str


class OwnSession(TypedDict):
    id: str
    createdAt: datetime
    lastUsed: datetime | None
    expiresAt: datetime
    address: str
    device: str
    current: bool


class OwnSessions(TypedDict):
    sessions: list[OwnSession]


class ListedKey(TypedDict):
    id: str
    name: str
    keyPrefix: str
    role: Role
    createdAt: datetime
    lastUsed: datetime | None
    expiresAt: NotRequired[datetime]


class ListedKeys(TypedDict):
    keys: list[ListedKey]


class MadeKey(TypedDict):
    """The only time that the key itself is shown."""

    key: str
    id: str
    name: str
    keyPrefix: str
    role: Role
    createdAt: datetime
    expiresAt: NotRequired[datetime]


class Person(TypedDict):
    id: str
    name: str


class ListedInvite(TypedDict):
    id: str
    codePrefix: str
    expiresAt: datetime
    createdAt: datetime
    usedAt: datetime | None
    createdBy: Person
    usedBy: Person | None


class ListedInvites(TypedDict):
    invites: list[ListedInvite]


class MadeInvite(TypedDict):
    """The only time that the code is shown."""

    id: str
    code: str
    expiresAt: datetime
    createdAt: datetime


class InviteValid(TypedDict):
    valid: bool


class UserPermissions(TypedDict):
    user_id: str
    permissions: Permission


class PermissionsSaved(TypedDict):
    message: str
    user_id: str
    permissions: Permission


class ModelList(TypedDict):
    """Which models a person may use; without `enabled` all."""

    enabled: bool
    models: NotRequired[list[str]]


class ModelListSaved(TypedDict):
    message: str
    user_id: str
    allowed_models: ModelList


class AuditRecordShown(TypedDict):
    id: int
    at: datetime
    action: str
    actor: Person
    source: str
    address: str
    subject: Person
    before: Any
    after: Any


class AuditPage(TypedDict):
    records: list[AuditRecordShown]
    more: bool


class SettingsSaved(TypedDict):
    success: Literal[True]
    message: str


def settings_shown() -> Any:
    """Every setting; secrets as masks. `environment` names the variables that fix one."""
    fields = {name: key.kind for name, key in sorted(registered().items())}
    return shape("Settings", {**fields, "environment": dict[str, str]})
