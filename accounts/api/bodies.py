"""What the account endpoints take, field by field, for the document (`core.declared`)."""

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from accounts.features import ALL_FEATURES
from accounts.runtime_settings.registry import registered
from core.declared import shape

Text = Annotated[str, Field(max_length=4096)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Acknowledged = Annotated[
    bool | None, Field(description="A weak password is taken all the same, where that is allowed.")
]
EXAMPLE_SIGN_IN = {"email": "alice@example.org", "password": "correct horse lamp"}


class Registration(TypedDict):
    email: Text
    password: Text
    name: NotRequired[Text | None]
    inviteCode: NotRequired[Text | None]
    setup_token: NotRequired[Text | None]
    acknowledge_weak_password: NotRequired[Acknowledged]


class SignIn(TypedDict):
    email: Text
    password: Text


class Token(TypedDict):
    token: Annotated[Text, Field(description="An API key, or a legacy key.")]


class SecondFactor(TypedDict):
    """A code, or what the browser's passkey answered."""

    code: NotRequired[Text | None]
    credential: NotRequired[dict[str, Any] | None]


class Code(TypedDict):
    code: NotRequired[Text | None]


class PasskeyStart(TypedDict):
    passwordless: NotRequired[bool | None]


class Passkey(TypedDict):
    name: NotRequired[Text | None]
    credential: dict[str, Any]


class PasskeySignIn(TypedDict):
    credential: dict[str, Any]


class Address(TypedDict):
    email: NotRequired[Text | None]


class Proof(TypedDict):
    token: NotRequired[Text | None]


class PasswordReset(TypedDict):
    token: Text
    password: Text
    acknowledge_weak_password: NotRequired[Acknowledged]


class Profile(TypedDict):
    name: Name
    avatar_url: NotRequired[Annotated[str, Field(max_length=512)] | None]


class NewPassword(TypedDict):
    current_password: NotRequired[Text | None]
    new_password: Text
    acknowledge_weak_password: NotRequired[Acknowledged]
    revoke_api_keys: NotRequired[bool | None]


class NewKey(TypedDict):
    """`expiresAt` before `expiresIn` before the server's own default."""

    name: Name
    expiresAt: NotRequired[datetime | None]
    expiresIn: NotRequired[Annotated[str, Field(examples=["30d", "12h"])] | None]


class NewInvite(TypedDict):
    expiresInHours: NotRequired[Annotated[int, Field(ge=1, le=8760)] | None]


class RoleChange(TypedDict):
    role: Literal["admin", "user"]


class StatusChange(TypedDict):
    status: Literal["active", "disabled"]


class PasswordByAdmin(TypedDict):
    password: Text
    acknowledge_weak_password: NotRequired[Acknowledged]


Permissions = shape("Permissions", dict.fromkeys(ALL_FEATURES, NotRequired[bool]))


class AllowedModels(TypedDict):
    enabled: NotRequired[bool | None]
    models: NotRequired[
        Annotated[list[Annotated[str, Field(min_length=1, max_length=255)]], Field(max_length=1000)]
        | None
    ]


class ProviderStart(TypedDict):
    invite_code: NotRequired[str]
    setup_token: NotRequired[str]
    next: NotRequired[str]


class ProviderAnswer(TypedDict):
    code: NotRequired[str]
    state: NotRequired[str]
    error: NotRequired[str]


def settings_change() -> Any:
    """Some of the settings; null leaves one as it is."""
    fields = {name: NotRequired[key.kind | None] for name, key in sorted(registered().items())}
    fields["environment"] = NotRequired[Any]
    return shape("SettingsChange", fields, closed=True)
