"""The base of the account endpoints: flat errors (G-01), JSON only, no rules of DRF's own."""

from typing import cast
from uuid import UUID

from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import User
from core.envelopes import Family
from core.errors import InvalidRequestError
from core.http import GatedRequest
from core.principal import Principal


class AccountView(APIView):
    """The gate has let the caller in before a method here runs."""

    family: Family = "flat"

    @staticmethod
    def principal(request: Request) -> Principal:
        """The caller; only for routes whose line in the gate asks for one."""
        principal = cast("GatedRequest", request._request).principal  # noqa: SLF001  # DRF's own name
        assert principal is not None  # noqa: S101  # the gate saw to it
        return principal

    def user(self, request: Request) -> User:
        """The caller's account; only for routes whose line asks for one."""
        return User.objects.get(pk=self.principal(request).user_id)

    def refuse_self(self, request: Request, user_id: UUID, message: str) -> None:
        """Raise InvalidRequestError where the admin means their own account."""
        if str(user_id) == self.principal(request).user_id:
            raise InvalidRequestError(message)
