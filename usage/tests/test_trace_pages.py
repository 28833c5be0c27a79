"""R-11, R-12, R-24, R-30: the pages of traces: lists, filters, one in full, clearing."""

from datetime import timedelta

import pytest
from django.utils.html import escape

from accounts.models import AuditRecord
from usage import trace_pages
from usage.models import EngineTrace, RequestTrace
from usage.tests.books import id_at
from usage.tests.traces import NOW, SETTINGS, content, numbered, traced, write
from usage.trace_shown import one_request, took

__all__ = ["write"]  # a fixture
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]
PAGE, CALLS = "/app/traces", "/app/traces/engines"
SOME_ID = "01a2171d-5841-7d96-ae8e-974b02b95736"
HOSTILE = "<script>alert(1)</script>"


def text(answer, status=200):
    assert answer.status_code == status, answer.content
    return answer.content.decode()


def rows(page):
    return page.count('<th scope="row">')


def test_a_request_is_found_by_its_correlation_id_and_shown_in_full(as_alice, write):
    event_id = id_at(NOW)
    write(traced(event_id=event_id, cid="cid-1"), traced(NOW + timedelta(seconds=1), cid="cid-2"))

    page = text(as_alice.get(f"{PAGE}?correlation_id=cid-1"))
    assert rows(page) == 1
    assert f"{PAGE}/{event_id}?correlation_id=cid-1#trace" in page

    one = text(as_alice.get(f"{PAGE}/{event_id}?correlation_id=cid-1"))
    for words in ("Where the time went", "Check access", "Wait for a place", "Record usage"):
        assert words in one
    assert "10 prompt, 5 completion" in one
    assert "192.0.2.7" in one
    assert "Neither texts nor headers are kept" in one
    assert 'href="/app/traces/engines?correlation_id=cid-1"' in one


@pytest.mark.parametrize(
    ("query", "n"),
    [
        ("", 4),
        ("status=429", 1),
        ("status=4xx", 2),
        ("status=5xx", 0),
        ("model=m", 4),
        ("model=other", 0),
        ("user=Bob", 4),
        ("user=nobody", 0),
        ("path=/v1/chat/completions", 4),
        ("path=/v1/embeddings", 0),
        ("correlation_id=c2", 1),
    ],
)
def test_r12_filters_leave_what_fits(as_alice, write, query, n):
    for i, status in enumerate((200, 429, 403, 200)):
        write(traced(NOW + timedelta(milliseconds=i), cid=f"c{i}", st=status))

    page = text(as_alice.get(f"{PAGE}?{query}"))

    assert rows(page) == n
    assert ("Nothing fits" in page) == (n == 0)


@pytest.mark.parametrize("query", ["status=abc", "status=99", "user=" + "x" * 300, "type=nothing"])
def test_a_filter_that_means_nothing_is_said(as_alice, write, query):
    write(traced())

    page = text(as_alice.get(f"{PAGE}?{query}"), 400)

    assert 'role="alert"' in page
    assert rows(page) == 0


def test_pages_go_back_in_time(as_alice, write):
    numbered(write, 120)

    first = text(as_alice.get(PAGE))
    assert rows(first) == 50
    assert "1 to 50 of 120" in first
    last = text(as_alice.get(f"{PAGE}?page=3"))
    assert rows(last) == 20
    assert rows(text(as_alice.get(f"{PAGE}?page=999"))) == 20  # that there was: the last one
    assert rows(text(as_alice.get(f"{PAGE}?page=x"))) == 50


def test_r11_bodies_are_shown_where_they_are_kept_and_are_harmless(as_alice, write):
    event_id = id_at(NOW)
    said = '{"model":"m","messages":[{"role":"user","content":"%s"}]}' % (HOSTILE + "\\u001b[31m")
    write(traced(event_id=event_id, u="legacy-api-key"))
    write(content(event_id, said, user="legacy-api-key"))

    page = text(as_alice.get(f"{PAGE}/{event_id}"))

    assert HOSTILE not in page
    assert escape(HOSTILE) in page
    assert "\x1b" not in page
    assert "Only its beginning is kept" in page  # of the answer
    assert "[redacted]" in page
    assert "JSON code" in page


def test_hostile_names_are_only_text(as_alice, write):
    event_id = id_at(NOW)
    write(traced(event_id=event_id, un=HOSTILE, kn=HOSTILE, m=HOSTILE, cid="a", ua=HOSTILE))

    assert HOSTILE not in text(as_alice.get(PAGE))
    assert HOSTILE not in text(as_alice.get(f"{PAGE}/{event_id}"))
    assert HOSTILE not in text(as_alice.get(CALLS))
    assert HOSTILE not in text(as_alice.get(f"{PAGE}?user={HOSTILE}"))


def test_a_trace_that_is_gone_says_so_beside_the_list(as_alice, write):
    write(traced())

    page = text(as_alice.get(f"{PAGE}/{id_at(NOW)}"), 404)

    assert "This trace is gone." in page
    assert rows(page) == 1


def test_r30_engine_calls_have_a_page_of_their_own(as_alice, write):
    event_id = id_at(NOW)
    write(traced(event_id=event_id, cid="cid-1"))

    page = text(as_alice.get(f"{CALLS}?type=llm&model=m"))
    assert rows(page) == 1
    assert rows(text(as_alice.get(f"{CALLS}?type=embedding"))) == 0
    one = text(as_alice.get(f"{CALLS}/{event_id}"))
    assert 'href="/app/traces?correlation_id=cid-1"' in one
    assert "10 + 5 tokens" in one


@pytest.mark.parametrize(("page", "model"), [(PAGE, RequestTrace), (CALLS, EngineTrace)])
def test_a_list_is_cleared_and_the_trail_says_so(as_alice, as_bob, write, page, model):
    numbered(write, 3)
    assert rows(text(as_alice.get(page))) == 3
    assert as_bob.client.post(f"{page}/clear").status_code == 403

    answer = as_alice.client.post(f"{page}/clear")

    assert answer.headers["location"] == page
    assert model.objects.count() == 0
    assert AuditRecord.objects.filter(action="traces_cleared").count() == 1
    assert "No traces yet" in text(as_alice.get(page))


@pytest.mark.parametrize("path", [PAGE, CALLS, f"{PAGE}/{SOME_ID}", f"{CALLS}/{SOME_ID}"])
def test_r24_traces_are_the_admins_alone(anonymous, as_bob, path):
    assert anonymous.get(path).headers["location"].startswith("/login?next=")
    assert as_bob.get(path).headers["location"] == "/app?notice=admins_only"


def test_tracing_that_is_off_is_said(as_alice):
    as_alice.post(SETTINGS, {"enable_tracing": False})

    assert "Nothing is traced at the moment." in text(as_alice.get(PAGE))


@pytest.mark.parametrize("path", [PAGE, CALLS])
def test_a_list_costs_the_same_queries_however_long_it_is(
    as_alice, write, path, django_assert_max_num_queries, monkeypatch
):
    write(traced())
    as_alice.get(path)
    monkeypatch.setattr(trace_pages, "bring_in", lambda: None)  # the drain's own are the journal's
    most = 8 if path == PAGE else 6
    with django_assert_max_num_queries(most) as seen:
        as_alice.get(path)
    before = len(seen)
    numbered(write, 60, u="u2")
    monkeypatch.undo()
    as_alice.get(path)
    monkeypatch.setattr(trace_pages, "bring_in", lambda: None)
    with django_assert_max_num_queries(most) as seen:
        as_alice.get(path)
    assert len(seen) == before


def test_times_and_stages_are_in_words():
    assert [took(ms) for ms in (0.4, 41, 8210)] == ["0.4\u202fms", "41\u202fms", "8.21\u202fs"]
    row = {
        "response": {"status": 503, "body": None, "body_bytes": 0},
        "request": {"headers": None, "body": "!" * 8, "body_bytes": 3},
        "timestamp": "2026-11-26T01:02:03.000000Z",
        "duration": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "stages_ms": dict.fromkeys(("gate", "queue", "first_token", "stream", "settle"), 0),
    }
    shown = one_request({**row, "request": {**row["request"], "body": "/w=="}})
    assert shown["tone"] == "bad"
    assert len(shown["stages"]) == 5
    assert shown["bodies"][0][1]["text"] == "\ufffd"


@pytest.mark.parametrize("page", ["9" * 5000, "²", "0", "-1", "1" * 12])
def test_a_page_that_is_none_is_the_first_or_the_last(as_alice, page):
    for path in ("/app/traces", "/app/traces/engines"):
        assert as_alice.get(f"{path}?page={page}&status={page}").status_code in {200, 400}
        assert as_alice.get(f"{path}?page={page}").status_code == 200
