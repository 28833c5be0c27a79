"""The form of a new password of one's own, wherever it stands (E-09)."""

from typing import Any

from django.http import HttpRequest

from accounts import own_account
from accounts.limits import take_sign_in
from accounts.models import User
from accounts.passwords import PasswordError
from accounts.wording import field_words, in_words, plain_words
from core.errors import GatehouseError, InvalidRequestError


def take(request: HttpRequest, user: User) -> dict[str, Any] | None:
    """Set the password that the form asks for; None once it is set.

    Else what its template says: `errors` by field, `error` of no field, and `may_acknowledge` where
    a weak one would be taken all the same.
    """
    new = request.POST.get("password", "")
    try:
        own_account.refuse_without_password(user)
        if new != request.POST.get("password2", ""):
            raise InvalidRequestError("the two passwords differ", param="password2")
        take_sign_in(request)
        own_account.change_password(
            request,
            user,
            current=request.POST.get("current", ""),
            new=new,
            acknowledged=request.POST.get("acknowledge") == "on",
            revoke_api_keys=request.POST.get("revoke_api_keys") == "on",
        )
    except GatehouseError as exc:
        errors = field_words(exc)
        if isinstance(exc, own_account.WrongCurrentPasswordError):
            errors = {"current": in_words(exc)}
        return {
            "errors": errors,
            "error": None if errors else plain_words(exc),
            "may_acknowledge": isinstance(exc, PasswordError) and exc.overridable,
        }
    return None
