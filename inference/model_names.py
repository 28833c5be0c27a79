"""No name means two models: models and aliases are named under one lock (R-19)."""

from collections.abc import Iterable

from django.db import connection

from accounts.runtime import env
from inference.models import Model, ModelAlias, Operation, OperationState


def one_at_a_time() -> None:
    """Hold, for the running transaction, what every change of names holds. SQLite's do so anyway."""
    if connection.vendor == "postgresql":
        table = connection.ops.quote_name(ModelAlias._meta.db_table)  # noqa: SLF001  # Django's API
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '10s'")  # then the database is busy: 503
            cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")


def taken(names: Iterable[str], *, apart_from: Iterable[str] = ()) -> dict[str, str]:
    """Which of `names` mean a model already, and what they are: two queries.

    Aliases of the models `apart_from` do not count: they are about to be set anew.
    """
    wanted = list(names)
    aliases = ModelAlias.objects.filter(pk__in=wanted).exclude(model__in=list(apart_from))
    found = {each.name: f"an alias of {each.model_id}" for each in aliases}
    models = Model.objects.filter(pk__in=wanted).values_list("name", flat=True)
    return found | dict.fromkeys(models, "a model")


def taken_for_aliases(names: Iterable[str], *, apart_from: Iterable[str] = ()) -> dict[str, str]:
    """The same of names that are to be aliases: three queries. A model that is being installed has its
    name already, and so has one of `LOCALAI_MODELS`, else they could not come (or were fetched in vain).
    """
    wanted = list(names)
    configured = set(env().local_models).intersection(wanted)
    coming = Operation.objects.filter(
        kind=Operation.Kind.MODEL,
        action=Operation.Action.INSTALL,
        state__in=[OperationState.QUEUED, OperationState.RUNNING],
        target__in=wanted,
    ).values_list("target", flat=True)
    found = dict.fromkeys(coming, "a model that is being installed")
    return found | dict.fromkeys(configured, "a model") | taken(wanted, apart_from=apart_from)


def names_for_pages() -> list[tuple[str, str]]:
    """(name, capabilities) of every model here, and of the engines elsewhere: one query."""
    here = Model.objects.order_by("name").values_list("name", "capabilities")
    found = {name: ", ".join(str(each) for each in can) for name, can in here}
    elsewhere = [name for name, _url in env().engine_items if name]
    return list((dict.fromkeys(elsewhere, "") | found).items())
