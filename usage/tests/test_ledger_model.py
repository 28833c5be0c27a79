"""Whatever happens, and in whatever order: the reports are the plain sum of what callers were told.

A machine makes up a history: workers that write, fall and come back, drains that break off, files that
come back, people who go, prices, retention, sums made anew. It checks the books after every drain.
"""

import io
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest import mock

import orjson
import pytest
from django.core.management import call_command
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts import people
from accounts.audit import CLI
from accounts.models import User
from usage import books, drain, metering, partitions, prices, retention
from usage import models as tables
from usage.buckets import milliseconds
from usage.journal.segments import segments
from usage.reports.sources import sources_report
from usage.reports.sums import Filters, Question
from usage.reports.usage import usage_report
from usage.reports.windows import rolling_window, window_between
from usage.series import DELETED_ID, forget_user
from usage.tariff import Rates
from usage.tests.books import id_at
from usage.tests.plain_books import Asked, PlainBooks
from usage.tests.workers import Worker

START = datetime(2025, 1, 30, 21, 30, tzinfo=UTC)  # a month ends soon
MODELS, ENDPOINT = ("small", "large"), "/v1/chat/completions"
LEGACY = "legacy-api-key"  # who has no account and never goes
PICK = st.integers(0, 11)
AMOUNT = st.integers(0, 40)
AGE_H = st.just(0) | st.integers(0, 60)
COUNTED = ("request_count", "error_count", "total_tokens", "cost")
ON_POSTGRESQL = os.environ.get("GATEHOUSE_TEST_DATABASE") == "postgresql"
N_HISTORIES, N_STEPS = (40, 40) if ON_POSTGRESQL else (50, 50)


class _BreakError(Exception):
    """A drain that goes no further."""


class History(RuleBasedStateMachine):
    """See the module. `folder` is the journal's; `keep_for` sets how long single events are kept."""

    def __init__(self, folder, keep_for) -> None:
        super().__init__()
        self.folder, self.keep_for = folder, keep_for
        self.now = START
        self.books = PlainBooks()
        self.workers = [Worker(folder) for _ in range(3)]
        self.names: dict[str, list[str]] = {LEGACY: ["API Key User"]}
        self.kept: dict[str, bytes] = {}
        self.has_retention = False

    @initialize()
    def begin(self) -> None:
        for path in self.folder.glob("*"):
            path.unlink()
        for name in tables.__all__:
            if name != "Grain":
                getattr(tables, name).objects.all().delete()
        for _ in range(3):
            self.somebody_comes()
        for number, model in enumerate(MODELS):  # in force before the first request
            self._set_price(model, (3 + number, 1, 7), START - timedelta(days=4))

    # --- people -------------------------------------------------------------------------------

    @rule()
    def somebody_comes(self) -> None:
        address = f"{os.urandom(8).hex()}@example.org"
        user = User.objects.create(email=address, name=f"name of {address}", status="active")
        self.names[str(user.pk)] = [user.name]

    @rule(pick=PICK)
    def somebody_has_a_new_name(self, pick) -> None:
        user_id = self._living(pick)
        names = self.names[user_id]
        names.append(f"{names[0]}, number {len(names)}")
        if user_id != LEGACY:
            User.objects.filter(pk=user_id).update(name=names[-1])

    @precondition(lambda self: len(self._accounts()) > 1)
    @rule(pick=PICK)
    def somebody_goes(self, pick) -> None:
        user_id = self._accounts()[pick % len(self._accounts())]
        pk = User.objects.get(pk=user_id).pk
        with transaction.atomic():
            people.delete(pk, by=CLI)
            forget_user(pk)
        self.books.deleted.add(user_id)

    def _accounts(self) -> list[str]:
        return [each for each in self.names if each not in {LEGACY, *self.books.deleted}]

    def _living(self, pick) -> str:
        return [LEGACY, *self._accounts()][pick % (len(self._accounts()) + 1)]

    # --- requests -----------------------------------------------------------------------------

    @rule(worker=PICK, pick=PICK, key=st.integers(0, 2), model=PICK, age_h=AGE_H)
    def admit(self, worker, pick, key, model, age_h) -> None:
        age = timedelta(hours=age_h, minutes=5 * pick)
        moment = max(START - timedelta(days=3), self.now - age)
        user_id = self._living(pick)
        key_id = f"{key}{user_id}"[:36] if key and user_id != LEGACY else None
        source = "legacy" if user_id == LEGACY else "apikey" if key_id else "web"
        asked = Asked(
            *(milliseconds(moment), user_id, self.names[user_id][-1], key_id, source),
            MODELS[model % len(MODELS)],
        )
        fields = {"u": user_id, "un": asked.user_name, "s": source}
        fields |= {"ki": key_id, "kn": f"key of {user_id}"[:100] if key_id else None}
        fields |= {"m": asked.model, "sm": asked.model, "e": ENDPOINT}
        call = SimpleNamespace(started=time.perf_counter(), queue_s=0.0, is_named_by_caller=False)
        chosen = self.workers[worker % len(self.workers)]
        names = orjson.dumps(fields)[1:]
        named = chosen.journal.named(names)
        event = metering.Event(call, id_at(moment).encode(), chosen.journal, named)
        event.open()
        chosen.open.append((event, asked))
        self.books.asked.append(asked)

    @rule(worker=PICK, pick=PICK, model=PICK, ages_h=st.lists(AGE_H, min_size=1, max_size=5))
    def some_are_served(self, worker, pick, model, ages_h) -> None:
        """Whole requests of one person's, one after the other."""
        for age_h in ages_h:
            self.admit(worker, pick, age_h % 3, model, age_h)
            chosen = self.workers[worker % len(self.workers)]
            event, asked = chosen.open.pop()
            event.deliver()
            event.tokens(age_h, pick, age_h // 2)
            event.settle(200)
            asked.end((age_h, age_h // 2, pick))

    def _busy(self, pick) -> tuple[Worker, int]:
        found = [(w, i) for w in self.workers for i in range(len(w.open))]
        return found[pick % len(found)]

    @precondition(lambda self: any(worker.open for worker in self.workers))
    @rule(pick=PICK, prompt=AMOUNT, cached=AMOUNT, more=AMOUNT)
    def progress(self, pick, prompt, cached, more) -> None:
        worker, index = self._busy(pick)
        event, asked = worker.open[index]
        event.deliver()
        event._next_progress = 0.0  # a second has gone by
        counts = (prompt, min(cached, prompt), event.completion_tokens + more)
        event.tokens(counts[0], counts[2], counts[1])
        asked.last_progress = counts

    @precondition(lambda self: any(worker.open for worker in self.workers))
    @rule(
        pick=PICK,
        how=st.sampled_from(["complete", "hung up", "failed", "refused"]),
        prompt=AMOUNT,
        cached=AMOUNT,
        more=AMOUNT,
    )
    def end(self, pick, how, prompt, cached, more) -> None:
        worker, index = self._busy(pick)
        event, asked = worker.open.pop(index)
        counts = (prompt, min(cached, prompt), event.completion_tokens + more)
        status = {"complete": 200, "hung up": 499, "failed": 502, "refused": 429}[how]
        if how in {"complete", "hung up"}:
            event.deliver()
            event.tokens(counts[0], counts[2], counts[1])
        event.settle(status)
        delivered = (event.prompt_tokens, event.cached_tokens, event.completion_tokens)
        if event.delivered and how in {"failed", "refused"}:  # what was delivered is billed (S-18)
            assert asked.last_progress == delivered
        asked.end((delivered if asked.last_progress else None) if status in {502, 429} else counts)

    @rule(worker=PICK, how=st.sampled_from(["stop", "fall", "fall_between_two_segments"]))
    def a_worker_ends(self, worker, how) -> None:
        getattr(self.workers[worker % len(self.workers)], how)()
        self.files_are_backed_up()
        if how == "fall_between_two_segments":  # two files of one event: no retention in between
            self.check()

    @rule(hours=st.integers(1, 15))
    def time_goes_by(self, hours) -> None:
        self.now += timedelta(hours=hours, minutes=7)

    @rule(
        model=PICK, rates=st.tuples(AMOUNT, AMOUNT, AMOUNT), in_hours=st.sampled_from([0, 0, 5, 20])
    )
    def a_price_is_set(self, model, rates, in_hours) -> None:
        self.now += timedelta(seconds=1)
        name, start = MODELS[model % len(MODELS)], self.now + timedelta(hours=in_hours)
        if not any(p[:2] == (name, milliseconds(start)) for p in self.books.prices):
            self._set_price(name, rates, start)

    def _set_price(self, name, rates, start) -> None:
        clock = SimpleNamespace(now=lambda: min(start, self.now))
        with mock.patch.object(prices, "timezone", clock):
            prices.set_price(name, Rates(*rates, 0), start, by=CLI)
        self.books.prices.append((name, milliseconds(start), rates))

    # --- the books ----------------------------------------------------------------------------

    @rule(at=st.sampled_from(["mark", "told", "file"]), after=st.integers(0, 2))
    def a_drain_breaks_off(self, at, after) -> None:
        left = iter(range(after))
        broken = mock.Mock(side_effect=lambda *_a, **_k: next(left, None) is not None or _break())
        marks = tables.JournalMark.objects
        with _broken_at(at, broken, marks.update_or_create):
            try:
                drain.drain()
            except _BreakError:
                return
        self.check()

    @rule()
    def files_are_backed_up(self) -> None:
        self.kept |= {path.name: path.read_bytes() for path in segments(self.folder)}

    @precondition(lambda self: self.kept)
    @rule(pick=PICK, renamed=st.booleans())
    def a_file_comes_back(self, pick, renamed) -> None:
        """Under its own name its mark tells; under another one the ids of its events do."""
        name = sorted(self.kept)[pick % len(self.kept)]
        if (self.folder / name).exists():  # else it was read to its end: only then does a file go
            return
        if renamed:
            if self.has_retention or any(worker.open for worker in self.workers):
                return
            self.check()
            (self.folder / f"again-{name}").write_bytes(self.kept[name])
            self.check()
        else:
            (self.folder / name).write_bytes(self.kept[name])

    @rule(days=st.integers(1, 4), pick=PICK)
    def old_events_go(self, days, pick) -> None:
        self.has_retention = True
        self.keep_for(f"{days}d")
        partitions.ensure(self.now)
        retention.expire(self.now)
        if self.kept:  # what is not there any more is not counted again, either
            self.a_file_comes_back(pick, renamed=False)

    @rule()
    def sums_are_made_anew(self) -> None:
        call_command("rebuildrollups", last=f"{self.now:%Y-%m-%d}", stdout=io.StringIO())
        self.check()

    @rule(
        back_h=st.integers(1, 90),
        long_h=st.integers(1, 60) | st.just(1500),
        bucket=st.sampled_from(["hour", "day", "month", "none"]),
        pick=PICK,
    )
    def reports_are_read(self, back_h, long_h, bucket, pick) -> None:
        self.check()
        begin = self.now - timedelta(hours=back_h)
        end = begin + timedelta(hours=long_h)
        chosen = window_between(begin.isoformat(), end.isoformat(), bucket, self.now)
        until = f"{self.now:%Y-%m-%d}T22:00:00Z"  # events of the day's last hours are not in it
        evening = window_between(f"{START - timedelta(days=4):%Y-%m-%d}", until, "none", self.now)
        for window in (chosen, evening, rolling_window("all", self.now)):
            for groups in (["model"], ["user"], ["key"]):
                self._compare(window, groups)
            for user_id in (self._living(pick), DELETED_ID):
                self._compare(window, ["model"], user_id)
            self._compare_sources(window)

    def check(self) -> None:
        """Everything that is in the journal is in the books: they are as the plain sums say."""
        drain.drain()
        hourly = window_between((START - timedelta(days=4)).isoformat(), "", "hour", self.now)
        for window in (
            hourly,
            *(rolling_window(each, self.now) for each in ("day", "month", "all")),
        ):
            self._compare(window, ["model"])
            self._compare(window, ["user", "key", "model"])
        done = books.check(self.now)
        assert done.difference == 0, done.report
        self._nobody_who_went_is_named()

    def _compare(self, window, groups, user_id=None) -> None:
        question = Question(window, groups, Filters(user_id=user_id))
        found = usage_report(question, as_of=self.now)
        wanted = self.books.usage(window, groups, user_id)
        assert self._plain(found["usage"]) == wanted, (window, groups, user_id)
        totals = [sum(dict(row)[name] for row in wanted) for name in COUNTED]
        assert [found["totals"][name] for name in COUNTED] == totals

    def _compare_sources(self, window) -> None:
        found = sources_report(window, Filters(), as_of=self.now, everybody=True)["totals"]
        wanted = self.books.sources(window)
        assert found["by_source"] == wanted["by_source"]
        assert found["grand_total"] == wanted["grand_total"]
        assert {
            (row["api_key_id"], row["user_id"]): (
                {name: row[name] for name in wanted["grand_total"]},
                milliseconds(datetime.fromisoformat(row["last_used"])) // 1000,
            )
            for row in found["by_key"]
        } == {key: (sums, last // 1000) for key, (sums, last) in wanted["by_key"].items()}

    def _plain(self, rows):
        """The rows without people's names, which are one of those that they ever had."""
        for row in rows:
            name = row.pop("user_name", None)
            row.pop("api_key_name", None)
            assert name is None or name in self.names.get(row["user_id"], ["Deleted user"])
        return sorted(tuple(sorted(row.items())) for row in rows)

    def _nobody_who_went_is_named(self) -> None:
        for series in tables.UsageSeries.objects.all():
            for user_id in self.books.deleted:
                shown = str(vars(series))
                assert user_id not in shown
                assert self.names[user_id][0] not in shown
                assert user_id[:30] not in shown

    def teardown(self) -> None:
        try:
            for worker in self.workers:
                worker.fall()
            self.check()
        finally:
            for worker in self.workers:
                worker.stop()
            for month in partitions.months():
                with connection.cursor() as cursor:
                    cursor.execute(f"DROP TABLE {partitions.name_of(month)}")


def _break():
    raise _BreakError


@contextmanager
def _broken_at(at, broken, mark):
    """Before the commit, right after it, or before the file is removed."""
    if at == "told":
        with mock.patch.object(drain, "LISTENERS", [broken]):
            yield
    elif at == "file":
        unlink = drain.Path.unlink

        def breaking(path, **more):
            broken()
            unlink(path, **more)

        with mock.patch.object(drain.Path, "unlink", breaking):
            yield
    else:

        def breaking_mark(*given, **more):
            mark(*given, **more)
            broken()

        with mock.patch.object(tables.JournalMark.objects, "update_or_create", breaking_mark):
            yield


@pytest.mark.django_db(transaction=True)
def test_reports_are_the_plain_sum_of_what_callers_were_told(folder, settings, monkeypatch):
    monkeypatch.setattr(drain, "BATCH", 4)
    monkeypatch.setattr(retention, "STEP_ROWS", 3)
    monkeypatch.setattr(retention, "PAUSE_S", 0)
    folder.mkdir()

    def keep_for(text) -> None:
        settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"usage_retention": text})

    run_state_machine_as_test(lambda: History(folder, keep_for), settings=_BUDGET)


_BUDGET = settings(
    max_examples=N_HISTORIES,
    stateful_step_count=N_STEPS,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate],  # shrinking takes minutes: add Phase.shrink to look at a failure
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
