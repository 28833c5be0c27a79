"""The form of a new password of one's own, wherever it stands (E-09)."""

from dataclasses import dataclass

from django.http import HttpRequest

from accounts import own_account
from accounts.limits import take_sign_in
from accounts.models import User
from accounts.passwords import PasswordError
from accounts.wording import plain_words
from core.errors import GatehouseError, InvalidRequestError


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why it was not taken. `field` is the one at fault, empty where it is none of them."""

    words: tuple[str, str]
    field: str
    may_acknowledge: bool


def take(request: HttpRequest, user: User) -> Refusal | None:
    """Set the password that the form asks for; None once it is set."""
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
    except own_account.WrongCurrentPasswordError as exc:
        return Refusal(plain_words(exc), "current", may_acknowledge=False)
    except PasswordError as exc:
        return Refusal(plain_words(exc), "password", may_acknowledge=exc.overridable)
    except GatehouseError as exc:
        return Refusal(plain_words(exc), exc.param or "", may_acknowledge=False)
    return None
