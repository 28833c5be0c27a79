"""The page about usage when there is none or it cannot be read; quotas, CSV and hostile names on it."""

import csv
import io
import re
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest
from django.db import DatabaseError

from core.errors import ConflictError
from usage import books, usage_pages
from usage.tests.books import event
from usage.tests.usage_page import PAGE, PERIODS, page_of, some_usage, values

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder", "fresh_order")]
HOSTILE = '<script>alert(1)</script>"&\u202e'


# --- states -----------------------------------------------------------------------------------


def test_nothing_used_says_so_with_a_way_on(as_bob):
    html = page_of(as_bob)

    assert "No requests in this month" in html
    assert 'href="/app/usage?period=all"' in html
    assert values(html, "usage-cards") == [0] * 5


def test_what_cannot_be_read_is_said_in_place(as_bob, monkeypatch):
    def away(*_given):
        raise DatabaseError("secret detail of SQL")

    monkeypatch.setattr(usage_pages, "own_overview", away)

    html = page_of(as_bob, f"{PAGE}?period=week", status=503)

    assert "Usage could not be read." in html
    assert "secret detail" not in html
    assert "Try again" in html
    assert re.search(r"Reference [0-9a-f-]{8,}", html)


def test_a_file_that_fails_leads_back_with_words(as_alice, monkeypatch):
    def away(*_given, **_more):
        raise DatabaseError("secret detail of SQL")

    monkeypatch.setattr(usage_pages, "everybodys_csv", away)
    file = as_alice.get(f"{PAGE}/csv?period=all", accept="text/html")
    html = page_of(as_alice)

    assert file.status_code == 302
    assert "The file could not be made." in html
    assert "secret detail" not in html


@pytest.mark.parametrize("path", [PAGE, "/app/system"])
def test_r29_a_comparison_that_fails_leads_back_with_words(as_alice, monkeypatch, path):
    for error, words in (
        (DatabaseError("secret detail of SQL"), "The books could not be compared in time."),
        (ConflictError("The books are being compared at this moment."), "are being compared at"),
    ):
        monkeypatch.setattr(books, "check_now", Mock(side_effect=error))
        answer = as_alice.client.post(f"{path}/check")
        html = page_of(as_alice, path)

        assert (answer.status_code, answer["Location"]) == (302, f"{path}#accounting")
        assert words in html
        assert "secret detail" not in html


def test_without_stats_the_page_says_so(as_bob, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"disable_stats": True})

    assert "Usage is not recorded" in page_of(as_bob)


def test_hostile_names_are_text(as_alice, as_bob, bob):
    bob.name = HOSTILE
    bob.save()
    event(datetime.now(UTC), u=str(bob.pk), un=HOSTILE, m=HOSTILE, kn=HOSTILE, ki="k")

    for html in (page_of(as_bob), page_of(as_alice), page_of(as_alice, f"{PAGE}?user={bob.pk}")):
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert" not in page_of(as_alice, f"{PAGE}?q=%22%3E%3Cscript%3Ealert(1)")


def test_the_page_has_no_inline_style_or_script(as_alice, bob):
    some_usage(bob)

    html = page_of(as_alice, f"{PAGE}?user={bob.pk}")

    assert not re.search(r'\sstyle="|\son[a-z]+="|<script>|<style', html)


# --- quotas -----------------------------------------------------------------------------------


def test_e07_quotas_are_bars_with_their_reset(as_bob, as_alice, bob):
    path = f"/api/auth/admin/users/{bob.pk}/quotas"
    as_alice.put(path, {"model": "", "max_total_tokens": 2_000, "window": "7d"})
    as_alice.put(path, {"model": "m", "max_requests": 0, "window": "1h"})
    some_usage(bob)
    (first, second) = as_bob.get("/api/auth/quota").json()["quotas"]

    html = page_of(as_bob)

    assert "All models, per 7 days" in html
    assert f"{first['current_total_tokens']:,} of 2,000 tokens" in html
    assert "m, per hour" in html
    assert (second["limited_by"], "Used up." in html) == ("requests", True)


# --- CSV --------------------------------------------------------------------------------------


def rows_of(answer):
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


@pytest.mark.parametrize("period", PERIODS)
def test_the_csv_adds_up_to_the_page(as_bob, as_alice, bob, period):
    some_usage(bob)
    totals = as_bob.get(f"/api/auth/usage?period={period}").json()["totals"]

    own = as_bob.get(f"{PAGE}/csv?period={period}")
    everybodys = as_alice.get(f"{PAGE}/csv?period={period}")
    one = as_alice.get(f"{PAGE}/csv?period={period}&user={bob.pk}")

    assert own["Content-Disposition"].startswith(f'attachment; filename="usage-{period}-')
    for rows in (rows_of(own), rows_of(everybodys), rows_of(one)):
        for name, wanted in (
            ("requests", "request_count"),
            ("errors", "error_count"),
            ("prompt_tokens", "prompt_tokens"),
            ("completion_tokens", "completion_tokens"),
            ("total_tokens", "total_tokens"),
        ):
            assert sum(int(row[name]) for row in rows) == totals[wanted]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a_spreadsheet_runs_nothing_of_the_csv(as_bob, as_alice, bob, name):
    event(datetime.now(UTC), u=str(bob.pk), un=name, m=name, kn=name)

    for api in (as_bob, as_alice):
        for row in rows_of(api.get(f"{PAGE}/csv")):
            texts = [row.get(each) for each in ("model", "api_key_name", "user_name")]
            assert not any(each.startswith(("=", "+", "-", "@", "\t")) for each in texts if each)
            assert "'" + name in texts
