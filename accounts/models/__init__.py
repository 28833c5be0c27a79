"""The tables of `accounts`, by what they are about."""

from accounts.models.audit import AuditRecord
from accounts.models.credentials import ApiKey, Invite, Session
from accounts.models.factors import TotpCounter
from accounts.models.people import Provider, Role, RoleSource, ShownName, SignUpLock, Status, User
from accounts.models.providers import IdentityProvider
from accounts.models.secrets import SecretVersion
from accounts.models.settings import ServerSetting

__all__ = [
    "ApiKey",
    "AuditRecord",
    "IdentityProvider",
    "Invite",
    "Provider",
    "Role",
    "RoleSource",
    "SecretVersion",
    "ServerSetting",
    "Session",
    "ShownName",
    "SignUpLock",
    "Status",
    "TotpCounter",
    "User",
]
