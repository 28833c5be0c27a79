"""What admins change about an account: E-18 to E-20, E-22 to E-24. (E-17 and E-21 are in usage.)"""

from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from accounts import people
from accounts.api import answers, bodies
from accounts.api.base import AccountView
from accounts.api.entry import text_with_nul
from accounts.api.shapes import allowed_models
from accounts.audit import actor_of
from accounts.features import effective_permissions
from accounts.models import Role, Status, User
from core.declared import declares
from core.drf import flag, read_json
from core.errors import InvalidRequestError, NotFoundError

MAX_MODELS = 1000
MAX_MODEL_CHARS = 255


class UserRoleView(AccountView):
    """E-18."""

    @declares("Set a role", body=bodies.RoleChange, answer=answers.Message, errors=(404, 409))
    def put(self, request: Request, user_id: UUID) -> Response:
        self.refuse_self(request, user_id, "cannot change your own role")
        role = _choice(request, "role", {Role.ADMIN, Role.USER}, "'admin' or 'user'")
        people.set_role(user_id, role, by=actor_of(request._request))  # noqa: SLF001
        return Response({"message": "role updated"})


class UserStatusView(AccountView):
    """E-19."""

    @declares(
        "Let in, or lock out", body=bodies.StatusChange, answer=answers.Message, errors=(404, 409)
    )
    def put(self, request: Request, user_id: UUID) -> Response:
        self.refuse_self(request, user_id, "cannot change your own status")
        allowed = {Status.ACTIVE, Status.DISABLED}
        status = _choice(request, "status", allowed, "'active' or 'disabled'")
        people.set_status(user_id, status, by=actor_of(request._request))  # noqa: SLF001
        return Response({"message": "status updated"})


class UserDeclineView(AccountView):
    """R-40: who waits for approval is sent away, and their account goes."""

    @declares("Decline who waits for approval", answer=answers.Message, errors=(404,))
    def post(self, request: Request, user_id: UUID) -> Response:
        people.decline(user_id, by=actor_of(request._request))  # noqa: SLF001
        return Response({"message": "user declined"})


def _choice(request: Request, name: str, allowed: set[Any], words: str) -> str:
    invalid = f"{name} must be {words}"
    value = read_json(request._request, invalid=invalid).get(name)  # noqa: SLF001
    if not isinstance(value, str) or value not in allowed:
        raise InvalidRequestError(invalid, param=name)
    return value


class UserPasswordView(AccountView):
    """E-20."""

    @declares(
        "Reset a password", body=bodies.PasswordByAdmin, answer=answers.Message, errors=(404,)
    )
    def put(self, request: Request, user_id: UUID) -> Response:
        self.refuse_self(
            request,
            user_id,
            "cannot reset your own password via this endpoint, use self-service password change",
        )
        if not User.objects.filter(pk=user_id).exists():
            raise NotFoundError("user not found")
        data = read_json(request._request)  # noqa: SLF001
        people.reset_password(
            user_id,
            text_with_nul(data, "password"),
            acknowledged=flag(data, "acknowledge_weak_password"),
            by=actor_of(request._request),  # noqa: SLF001
        )
        return Response({"message": "password reset successfully"})


class UserPermissionsView(AccountView):
    """E-22 and E-23."""

    @declares("A person's features", answer=answers.UserPermissions, errors=(404,))
    def get(self, _request: Request, user_id: UUID) -> Response:
        user = User.objects.filter(pk=user_id).first()
        if user is None:
            raise NotFoundError("user not found")
        effective = effective_permissions(user.role, user.permissions)
        return Response({"user_id": str(user_id), "permissions": effective})

    @declares(
        "Set a person's features",
        body=bodies.Permissions,
        answer=answers.PermissionsSaved,
        errors=(404,),
    )
    def put(self, request: Request, user_id: UUID) -> Response:
        invalid = "invalid request body"
        wanted = read_json(request._request, invalid=invalid)  # noqa: SLF001
        if any(not isinstance(value, bool) for value in wanted.values()):
            raise InvalidRequestError(invalid)
        people.set_permissions(user_id, wanted, by=actor_of(request._request))  # noqa: SLF001
        message = "permissions updated"
        return Response({"message": message, "user_id": str(user_id), "permissions": wanted})


class UserModelsView(AccountView):
    """E-24."""

    @declares(
        "Set which models a person may use",
        body=bodies.AllowedModels,
        answer=answers.ModelListSaved,
        errors=(404,),
    )
    def put(self, request: Request, user_id: UUID) -> Response:
        invalid = "invalid request body"
        data = read_json(request._request, invalid=invalid)  # noqa: SLF001
        restricted = flag(data, "enabled", invalid=invalid)
        models = data.get("models") or []
        if not isinstance(models, list) or len(models) > MAX_MODELS:
            raise InvalidRequestError(invalid, param="models")
        if not all(isinstance(name, str) and 0 < len(name) <= MAX_MODEL_CHARS for name in models):
            raise InvalidRequestError(invalid, param="models")
        if any("\0" in name for name in models):
            raise InvalidRequestError(invalid, param="models")
        by = actor_of(request._request)  # noqa: SLF001
        user = people.set_models(
            user_id, restricted=restricted, models=list(dict.fromkeys(models)), by=by
        )
        message = "model allowlist updated"
        body = {"message": message, "user_id": str(user_id), "allowed_models": allowed_models(user)}
        return Response(body)
