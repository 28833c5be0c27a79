"""The dictionary of names: the number of each combination, made where there is none yet.

Names of deleted accounts come in nowhere else, so it is here that they are left out (S-19).
"""

from collections.abc import Iterable
from hashlib import blake2b
from uuid import UUID

import orjson
from django.db import connection
from django.db.models import CharField, Exists, OuterRef, Value
from django.db.models.functions import Cast, Concat

from accounts.models import User
from usage.models import EngineTrace, RequestTrace, TraceContent, UsageEvent, UsageSeries
from usage.records import ID, Combination, Row

DELETED_ID, DELETED_NAME = "deleted", "Deleted user"
MAX_REMEMBERED = 50_000


def digest_of(names: Combination) -> str:
    return blake2b(orjson.dumps(list(names)), digest_size=16).hexdigest()


class Dictionary:
    """Numbers of combinations, remembered for the length of one drain. Use inside a transaction."""

    def __init__(self) -> None:
        self._ids: dict[Combination, int] = {}
        self._user_names: dict[str, str] = {}
        self._fresh: dict[Combination, int] = {}

    def numbers(self, rows: list[Row]) -> dict[Combination, int]:
        """The number of every combination in `rows`; names that changed are brought up to date."""
        if len(self._ids) > MAX_REMEMBERED:
            self._ids.clear()
        self._fresh = {}
        wanted = {row.names: row for row in rows}
        missing = [names for names in wanted if names not in self._ids]
        if missing:
            self._look_up(missing)
            if new := [wanted[names] for names in missing if names not in self._fresh]:
                self._make(new)
        self._rename(wanted.values())
        return {names: self._fresh.get(names) or self._ids[names] for names in wanted}

    def keep(self) -> None:
        """The transaction was committed: what it made may be remembered."""
        self._ids |= self._fresh
        self._fresh = {}

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._fresh = {}
        self._user_names.clear()

    def _look_up(self, missing: list[Combination]) -> None:
        digests = {digest_of(names): names for names in missing}
        for start in range(0, len(missing), 500):
            part = list(digests)[start : start + 500]
            found = UsageSeries.objects.filter(digest__in=part)
            for number, digest, user_id, name in found.values_list(
                "id", "digest", "user_id", "user_name"
            ):
                self._fresh[digests[digest]] = number
                self._user_names[user_id] = name

    def _make(self, rows: list[Row]) -> None:
        there = living(row.names.user_id for row in rows)
        made: dict[str, UsageSeries] = {}
        aliases: dict[Combination, str] = {}
        for row in rows:
            names, user_name, key_name = row.names, row.user_name, row.api_key_name
            if names.user_id not in there:
                names = names._replace(user_id=DELETED_ID, api_key_id=None)
                user_name, key_name = DELETED_NAME, None
            digest = aliases[row.names] = digest_of(names)
            user_name = there.get(names.user_id) or user_name
            made[digest] = UsageSeries(
                digest=digest, user_name=user_name, api_key_name=key_name, **names._asdict()
            )
        in_order = [made[digest] for digest in sorted(made)]  # so that no two machines deadlock
        UsageSeries.objects.bulk_create(in_order, ignore_conflicts=True, batch_size=80)
        numbers: dict[str, int] = {}
        for start in range(0, len(made), 500):
            part = list(made)[start : start + 500]
            found = UsageSeries.objects.filter(digest__in=part)
            numbers |= dict(found.values_list("digest", "id"))
        self._fresh |= {names: numbers[digest] for names, digest in aliases.items()}
        for user_id in {row.names.user_id for row in rows}:
            self._user_names.pop(user_id, None)  # its other rows may have an older name

    def _rename(self, rows: Iterable[Row]) -> None:
        """A person has one name in reports, the account's (W-31: a new name makes no second row)."""
        given = {row.names.user_id: row.user_name for row in sorted(rows, key=lambda row: row.id)}
        changed = {
            user_id: name
            for user_id, name in given.items()
            if self._user_names.get(user_id) != name
        }
        if not changed:
            return
        there = living(changed)
        for user_id in sorted(there):
            name = there[user_id] or changed[user_id]
            mine = UsageSeries.objects.filter(user_id=user_id)
            mine.exclude(user_name=name).update(user_name=name)
            self._user_names[user_id] = changed[user_id]


def living(user_ids: Iterable[str]) -> dict[str, str]:
    """Those of `user_ids` whose account is there, and stays until this transaction ends, with its name.

    The legacy key and the single user have no account and no name here.
    """
    wanted = set(user_ids)
    accounts = [UUID(each) for each in wanted if ID.fullmatch(each)]
    there = {each: "" for each in wanted if not ID.fullmatch(each)}
    table = User._meta.db_table  # noqa: SLF001
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, name, email FROM {table} WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE",  # noqa: S608
                [accounts],
            )
            return there | {str(pk): name or email for pk, name, email in cursor.fetchall()}
    for start in range(0, len(accounts), 500):
        part = accounts[start : start + 500]
        found = User.objects.filter(pk__in=part).values_list("pk", "name", "email")
        there |= {str(pk): name or email for pk, name, email in found}
    return there


def forget_user(user_id: UUID) -> None:
    """Make everything of a deleted account nobody's: totals stay, names go (S-19, W-25), and traces."""
    mine = UsageSeries.objects.filter(user_id=str(user_id))
    asked = UsageEvent.objects.filter(pk=OuterRef("pk"), series_id__in=mine.values("pk"))
    EngineTrace.objects.filter(Exists(asked)).delete()  # an error in it may quote what was asked
    RequestTrace.objects.filter(series_id__in=mine.values("pk")).delete()
    TraceContent.objects.filter(user_id=str(user_id)).delete()
    mine.update(
        digest=Concat(Value("x"), Cast("id", CharField())),
        user_id=DELETED_ID,
        user_name=DELETED_NAME,
        api_key_id=None,
        api_key_name=None,
    )
