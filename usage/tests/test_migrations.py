"""An update from the first version carries its events over, with the sums they should have, and back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from usage import books, migrations
from usage.drain import drain
from usage.journal.lines import encode
from usage.models import UsageEvent
from usage.reports.sums import Filters, Question, ask
from usage.reports.windows import window_between
from usage.tests.books import id_at

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


LATEST = max(path.stem for path in Path(migrations.__file__).parent.glob("0*.py"))


def migrate(name):
    executor = MigrationExecutor(connection)
    executor.migrate([("usage", name)])
    return MigrationExecutor(connection).loader.project_state(("usage", name)).apps


def rows_of_the_first_version(old, now):
    for i in range(30):
        old.objects.create(
            id=id_at(now - timedelta(hours=7 * i)),
            created_at=now - timedelta(hours=7 * i),
            user_id=f"u{i % 3}",
            user_name=f"User {i % 3}",
            source="apikey" if i % 2 else "web",
            api_key_id=f"k{i % 2}" if i % 2 else None,
            api_key_name="key" if i % 2 else None,
            model=f"m{i % 2}",
            served_model="served",
            endpoint="/v1/chat/completions",
            prompt_tokens=i,
            completion_tokens=2 * i,
            status=200 if i % 5 else 502,
            counted=bool(i % 5),
            correlation_id=f"c{i}",
        )


def test_events_of_the_first_version_are_carried_over_and_back(folder):
    now = datetime.now(UTC)
    try:
        old = migrate("0001_initial").get_model("usage", "UsageEvent")
        rows_of_the_first_version(old, now)
        before = sorted(old.objects.values_list("pk", "user_id", "prompt_tokens", "correlation_id"))

        migrate(LATEST)

        counted = [i for i in range(30) if i % 5]
        (total,) = ask(Question(window_between("", "", "none", now), [], Filters()))
        assert (total["requests"], total["errors"]) == (24, 6)
        assert total["prompt_tokens"] == sum(counted)
        assert books.check(now).difference == 0
        old = migrate("0001_initial").get_model("usage", "UsageEvent")
        after = sorted(old.objects.values_list("pk", "user_id", "prompt_tokens", "correlation_id"))
        assert after == before
    finally:
        migrate(LATEST)
        UsageEvent.objects.all().delete()


def test_a_journal_of_the_first_version_is_still_read(folder):
    """What was in it when the server was updated is not lost."""
    folder.mkdir(parents=True)
    now = datetime.now(UTC)
    record = {"k": "f", "p": 3, "c": 4, "st": 200, "n": True, "est": False, "d": 5}
    record |= {"id": id_at(now), "t": now.timestamp(), "u": "u1", "un": "Bob", "s": "web"}
    record |= {"ki": None, "kn": None, "m": "m", "sm": "m", "e": "/v1/completions", "cid": "c"}
    (folder / "1-a-000000.journal").write_bytes(encode(record))

    drain()

    event = UsageEvent.objects.get()
    assert (event.prompt_tokens, event.completion_tokens, event.first_token_ms) == (3, 4, None)
