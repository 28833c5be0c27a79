"""What an admin asks of backends: installing, upgrading, removing one, for the API as for the pages.

All raise what `asked_operations.start` does. `key` is the caller's `Idempotency-Key`, empty without one.
"""

from accounts.audit import Actor
from core.errors import ConflictError, ForbiddenError, InvalidRequestError, NotFoundError
from inference import asked_operations, backend_galleries, backend_work, operations
from inference.backend_galleries import NOT_ALLOWED
from inference.backends_here import installed_backends
from inference.gallery import local_name
from inference.models import Operation
from inference.operations import Action, Kind, Wish
from inference.recipe_schema import is_backend_name


def install(asked_for: str, *, by: Actor, key: str = "") -> Operation:
    """`gallery@name` or `name`; whether anybody offers it shows when its turn comes.

    Raises ForbiddenError for a recipe from elsewhere that the environment does not let in (R-20).
    """
    offer = backend_galleries.find(asked_for)
    if offer is not None and not offer.is_allowed:
        raise ForbiddenError(NOT_ALLOWED)
    wish = Wish(Kind.BACKEND, Action.INSTALL, local_name(asked_for)[:255], asked_for, by.name)
    return asked_operations.start(wish, key=key, by=by)


def upgrade(name: str, *, by: Actor, key: str = "") -> Operation:
    """The version that is offered, beside the one that is here (R-33).

    Raises NotFoundError where it is not here, ConflictError where it is up to date.
    """
    if name not in installed_backends():
        raise NotFoundError(f"no backend found with name {name[:100]}")
    if name not in backend_work.upgrades():
        raise ConflictError(f"{name} is up to date")
    return install(name, by=by, key=key)


def install_from(uri: str, name: str, alias: str, *, by: Actor, key: str = "") -> Operation:
    """A recipe at an address that the environment names with its sha256 (R-20).

    Raises InvalidRequestError that names the parameter, ForbiddenError.
    """
    if not uri:
        raise InvalidRequestError("uri is required", param="uri")
    if alias and not is_backend_name(alias):
        raise InvalidRequestError("alias is not a name of a backend", param="alias")
    offered = backend_galleries.offers_at(uri)
    chosen = [each for each in offered if name in {"", each.recipe.name}]
    if len(chosen) != 1:
        names = ", ".join(each.recipe.name for each in offered)
        raise InvalidRequestError(f"name: wants one of {names}"[:500], param="name")
    details = {"uri": uri, **({"alias": alias} if alias else {})}
    target = chosen[0].recipe.name
    wish = Wish(Kind.BACKEND, Action.INSTALL, target, target, by.name, details)
    return asked_operations.start(wish, key=key, by=by)


def delete(asked_for: str, *, by: Actor, key: str = "") -> Operation:
    """Raises ConflictError while engines of it run, or it is being installed."""
    name = local_name(asked_for)[:255]
    refuse_while_working(name, but=Action.DELETE)
    backend_work.refuse_in_use(name)
    wish = Wish(Kind.BACKEND, Action.DELETE, name, asked_for, by.name)
    return asked_operations.start(wish, key=key, by=by)


def refuse_while_working(name: str, *, but: str = "") -> None:
    """Raises ConflictError while an operation on this backend is under way."""
    under_way = Operation.objects.filter(
        kind=Kind.BACKEND, target=name, state__in=operations.OPEN
    ).exclude(action=but)
    if under_way.exists():
        raise ConflictError(
            f"An operation on {name[:100]} is under way; wait for it, or cancel it."
        )
