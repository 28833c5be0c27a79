"""The tables of `accounts`, by what they are about."""

from accounts.models.audit import AuditRecord
from accounts.models.credentials import ApiKey, Invite, Session
from accounts.models.people import Provider, Role, SignUpLock, Status, User

__all__ = [
    "ApiKey",
    "AuditRecord",
    "Invite",
    "Provider",
    "Role",
    "Session",
    "SignUpLock",
    "Status",
    "User",
]
