"""R-11, R-12, R-30: lists of traces for admins, their filters and pages, one in full, clearing."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditRecord
from usage.drain import drain
from usage.models import TraceContent
from usage.tests.books import id_at
from usage.tests.traces import (
    ENGINES,
    LISTS,
    NOW,
    URL,
    content,
    ids,
    numbered,
    traced,
    write,
)
from usage.traces import listing

__all__ = ["write"]  # a fixture
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def test_r12_r30_a_trace_says_who_what_and_where_the_time_went(as_alice, write):
    """GET /api/traces: an array whose items have the fields of the surface and of R-30."""
    event_id = id_at(NOW)
    write(traced(event_id=event_id, u="legacy-api-key", cid="cid-1"))

    (found,) = as_alice.get(URL).json()

    assert found == {
        "id": event_id,
        "timestamp": f"{NOW:%Y-%m-%dT%H:%M:%S}.{NOW.microsecond // 1000:03d}000Z",
        "duration": 75_500_000,
        "request": {
            "method": "POST",
            "path": "/v1/chat/completions",
            "headers": None,
            "body": None,
            "body_bytes": 120,
        },
        "response": {"status": 200, "headers": None, "body": None, "body_bytes": 340},
        "user_id": "legacy-api-key",
        "user_name": "Bob",
        "api_key_name": "key",
        "client_ip": "192.0.2.7",
        "user_agent": "curl/8",
        "model": "m",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "stages_ms": {"gate": 1, "queue": 2, "first_token": 30, "stream": 40, "settle": 2.5},
        "correlation_id": "cid-1",
    }
    assert as_alice.get(f"{URL}/{event_id}").json() == found


def test_r30_a_call_of_an_engine_is_a_trace_of_its_own(as_alice, write):
    """GET /api/backend-traces: what was asked of an engine; what never reached one is not there."""
    event_id = id_at(NOW)
    refused = [5.0, 0.0, 0.0, 0.0, 5.003, 0.0, 50, 0, 0]
    write(traced(event_id=event_id, cid="cid-1"), traced(st=403, n=False, tm=refused))

    (found,) = as_alice.get(ENGINES).json()

    assert found == {
        "id": event_id,
        "timestamp": found["timestamp"],
        "duration": 70_000_000,
        "status": 200,
        "type": "llm",
        "model_name": "m",
        "backend": "vllm",
        "summary": "10 + 5 tokens in 0.07 s",
        "correlation_id": "cid-1",
        "data": {
            "correlation_id": "cid-1",
            "endpoint": "/v1/chat/completions",
            "streamed": True,
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "first_token_ms": 30,
        },
    }
    assert as_alice.get(f"{ENGINES}/{event_id}").json() == found
    assert len(as_alice.get(URL).json()) == 2


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        ("/v1/chat/completions", "llm"),
        ("/v1/messages", "llm"),
        ("/v1/responses", "llm"),
        ("/v1/engines/:model/completions", "llm"),
        ("/v1/embeddings", "embedding"),
        ("/v1/tokenize", "tokenize"),
        ("/v1/messages/count_tokens", "tokenize"),
        ("/v1/audio/transcriptions", "transcription"),
        ("/v1/images/generations", "image_generation"),
        ("/v1/edits", "llm"),
        ("/v1/rerank", "rerank"),
    ],
)
def test_r30_the_type_of_an_engines_work_follows_from_the_path(as_alice, write, endpoint, kind):
    write(traced(e=endpoint))

    assert [each["type"] for each in as_alice.get(ENGINES).json()] == [kind]
    assert len(as_alice.get(f"{ENGINES}?type={kind}").json()) == 1
    other = "vad" if kind == "llm" else "llm"
    assert as_alice.get(f"{ENGINES}?type={other}").json() == []


@pytest.mark.parametrize("url", LISTS)
def test_r12_the_newest_stands_last_and_pages_count_from_it(as_alice, write, url):
    numbered(write, 60)

    assert ids(as_alice.get(url)) == [f"c{i}" for i in range(10, 60)]
    assert ids(as_alice.get(f"{url}?limit=3")) == ["c57", "c58", "c59"]
    second = as_alice.get(f"{url}?limit=3&offset=3")
    assert ids(second) == ["c54", "c55", "c56"]
    assert ids(as_alice.get(f"{url}?limit=3&offset=58")) == ["c0", "c1"]
    assert ids(as_alice.get(f"{url}?limit=0")) == [f"c{i}" for i in range(60)]
    told = {name: second[name] for name in ("X-Total-Count", "X-Trace-Offset", "X-Trace-Limit")}
    assert told == {"X-Total-Count": "60", "X-Trace-Offset": "3", "X-Trace-Limit": "3"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("user=u1", "a"),
        ("user=Bob", "a"),
        ("user=u2", "bcd"),
        ("model=m", "ac"),
        ("model=other", "b"),
        ("model=invented", "d"),
        ("status=200", "ab"),
        ("status=404", "d"),
        ("path=/v1/embeddings", "c"),
        ("correlation_id=c", "c"),
        ("user=u2&status=200", "b"),
        ("user=nobody", ""),
        ("status=500&model=other", ""),
    ],
)
def test_r12_r30_filters(as_alice, write, query, expected):
    carol = {"u": "u2", "un": "Carol"}
    later = (NOW + timedelta(milliseconds=i) for i in range(9))
    write(
        traced(next(later), cid="a"),
        traced(next(later), cid="b", m="other", **carol),
        traced(next(later), cid="c", e="/v1/embeddings", st=502, n=False, **carol),
        traced(next(later), cid="d", m="", um="invented", st=404, n=False, **carol),
    )

    answer = as_alice.get(f"{URL}?{query}")
    assert "".join(ids(answer)) == expected
    assert answer["X-Total-Count"] == str(len(expected))


@pytest.mark.parametrize("url", LISTS)
@pytest.mark.parametrize(
    "query",
    [
        "limit=1001",
        "limit=-1",
        "limit=x",
        "offset=-1",
        "offset=1e3",
        "offset=99999999999",
        "status=99",
        "status=ok",
        "full=yes",
        "type=magic",
        "model=" + "x" * 256,
        "correlation_id=" + "x" * 256,
    ],
)
def test_r12_a_bad_value_of_the_query_is_named(as_alice, url, query):
    answer = as_alice.get(f"{url}?{query}")

    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]


@pytest.mark.parametrize("url", LISTS)
@pytest.mark.parametrize("trace_id", ["x", "0", "0198a000-0000-7000-8000-000000000001"])
def test_r12_an_unknown_trace(as_alice, url, trace_id):
    answer = as_alice.get(f"{url}/{trace_id}")

    assert (answer.status_code, answer.json()) == (404, {"error": "trace not found"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", URL),
        ("GET", f"{URL}/x"),
        ("GET", f"{URL}/summary"),
        ("POST", f"{URL}/clear"),
        ("GET", ENGINES),
        ("GET", f"{ENGINES}/x"),
        ("POST", f"{ENGINES}/clear"),
    ],
)
def test_r12_traces_are_the_admins_alone(anonymous, as_bob, method, path):
    assert anonymous(method, path).status_code == 401
    assert as_bob(method, path).status_code == 403


def test_r11_bodies_and_headers_are_shown_in_full_alone(as_alice, write):
    event_id = id_at(NOW)
    write(content(event_id, "hello"), traced(event_id=event_id, cid="cid-1"))

    (short,), (full,) = as_alice.get(URL).json(), as_alice.get(f"{URL}?full=true").json()

    assert (short["request"]["body"], short["request"]["headers"]) == (None, None)
    assert b64decode(full["request"]["body"]) == b"hello"
    assert full["request"]["headers"]["Authorization"] == ["[redacted]"]
    assert "body_truncated" not in full["request"]
    assert full["response"]["body_truncated"] is True
    assert full["response"]["headers"]["X-Correlation-Id"] == ["cid-1"]
    assert as_alice.get(f"{URL}/{event_id}").json() == full


def test_r11_an_answer_holds_the_newest_bodies_up_to_a_bound(as_alice, write, monkeypatch):
    monkeypatch.setattr(listing, "MAX_ANSWER_BYTES", 500)
    for i in range(3):
        event_id = id_at(NOW + timedelta(milliseconds=i))
        write(content(event_id, "x" * 100), traced(event_id=event_id))

    found = as_alice.get(f"{URL}?full=true").json()

    assert [each["request"]["body"] is None for each in found] == [True, True, False]


@pytest.mark.parametrize(("url", "other"), [LISTS, LISTS[::-1]])
def test_r12_clearing_one_list_leaves_the_other_and_is_in_the_audit_trail(
    as_alice, write, url, other
):
    """POST /api/traces/clear and POST /api/backend-traces/clear: 204, what waits in the journal too."""
    event_id = id_at(NOW)
    write(content(event_id, "hello"), traced(event_id=event_id))

    answer = as_alice.post(f"{url}/clear")

    assert (answer.status_code, answer.content) == (204, b"")
    assert as_alice.get(url).json() == []
    assert len(as_alice.get(other).json()) == 1
    assert TraceContent.objects.count() == (0 if url == URL else 1)
    (kept,) = AuditRecord.objects.filter(action="traces_cleared")
    assert kept.actor_name == "alice@example.org"
    assert as_alice.get(f"{url}/clear").status_code in {404, 405}
    write(traced(NOW + timedelta(seconds=1), cid="new"))
    assert ids(as_alice.get(url)) == ["new"]


def test_r12_a_summary_counts_by_twelfths(as_alice, write):
    def at(hours, **more):
        write(traced(datetime.now(UTC) - timedelta(hours=hours), **more))

    for n in range(19):
        at(0.1, tm=[9.0, 0.0, 0.0, 0.0, 9.0 + n / 1000, 0.0, 0, 0, 0])
    at(0.1, tm=[9.0, 0.0, 0.0, 0.0, 9.9, 0.0, 0, 0, 0])
    at(5.9, st=502, n=False)
    at(5.9, st=404, n=False)
    at(13, st=500)

    found = as_alice.get(f"{URL}/summary?hours=12").json()

    assert (found["total"], found["errors"], found["window_hours"]) == (22, 1, 12)
    assert [each["count"] for each in found["buckets"]] == [0] * 6 + [2] + [0] * 4 + [20]
    assert [each["errors"] for each in found["buckets"]] == [0] * 6 + [1] + [0] * 5
    assert 75 <= found["p95_ms"] <= 76
    assert as_alice.get(f"{URL}/summary").json()["total"] == 23
    for bad in ("0", "x", "-1", "100000"):
        assert as_alice.get(f"{URL}/summary?hours={bad}").status_code == 400


def test_r12_a_summary_of_nothing(as_alice):
    found = as_alice.get(f"{URL}/summary").json()

    assert (found["total"], found["p95_ms"], len(found["buckets"])) == (0, 0, 12)


@pytest.mark.parametrize("path", [URL, f"{URL}?full=true", f"{URL}/summary", ENGINES])
def test_r12_a_fixed_number_of_queries(as_alice, write, path):
    def queries():
        drain()
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert as_alice.get(path).status_code == 200
        return len(captured)

    numbered(write, 3)
    write(content(id_at(NOW), "x"))
    few = queries()
    for user in range(5):
        numbered(write, 8, u=f"u{user}")
    many = queries()

    assert few == many <= 14
