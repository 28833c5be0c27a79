"""R-11, R-12, R-22, R-30: from the journal into bounded tables, and out of them for admins."""

import time
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditRecord
from usage.drain import drain, rejected_file
from usage.journal.lines import TRACE
from usage.journal.writer import Journal
from usage.models import EngineTrace, RequestTrace, TraceContent, UsageEvent
from usage.tests.books import id_at, record
from usage.traces import listing, rows

URL, ENGINES, SETTINGS = "/api/traces", "/api/backend-traces", "/api/settings"
LISTS = [URL, ENGINES]
NOW = datetime.now(UTC)
# by the worker's clock: came, sent, first byte, last count, ended; in line; sizes; engine's status
TIMES = [100.0, 100.003, 100.033, 100.073, 100.0755, 0.002, 120, 340, 200]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def traced(at=NOW, **more):
    """A traced request: 1 ms at the gate, 2 in line, 30 to the first byte, 40 of stream, 2.5 to settle."""
    fields = {"be": "vllm", "ci": "192.0.2.7", "ua": "curl/8", "t": TIMES, "sse": True}
    return record(event_id=more.pop("event_id", None) or id_at(at), **{**fields, **more})


@pytest.fixture
def write(folder):
    """Into the journal; each ends a millisecond after the one before."""
    journal = Journal(folder)

    def put(*records):
        for each in records:
            journal.write(each)

    yield put
    journal.close()


def numbered(write, n, **more):
    write(*(traced(NOW + timedelta(milliseconds=i), cid=f"c{i}", **more) for i in range(n)))


def ids(answer):
    assert answer.status_code == 200, answer.content
    return [each["correlation_id"] for each in answer.json()]


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
    write(traced(event_id=event_id, cid="cid-1"), traced(st=403, n=False, t=refused))

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


def content(event_id, text, user="u1"):
    body = {"b": b64encode(text.encode()).decode(), "n": len(text), "cut": False}
    headers = {"User-Agent": ["curl/8"], "Authorization": ["[redacted]"]}
    return {
        "k": TRACE,
        "id": event_id,
        "u": user,
        "qh": headers,
        "q": body,
        "a": {**body, "cut": True},
    }


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


def test_set_tracing_max_items_bounds_both_lists_and_the_bodies(as_alice, write):
    """SET:tracing_max_items, at once and in the tables."""
    numbered(write, 30)
    write(*(content(id_at(NOW + timedelta(milliseconds=i)), "x") for i in range(30)))
    assert len(as_alice.get(URL).json()) == 30

    assert as_alice.post(SETTINGS, {"tracing_max_items": 5}).status_code == 200

    for url in LISTS:
        answer = as_alice.get(f"{url}?limit=0")
        assert (ids(answer), answer["X-Total-Count"]) == ([f"c{i}" for i in range(25, 30)], "5")
    write(traced(NOW + timedelta(seconds=1), cid="last"))
    assert ids(as_alice.get(URL)) == ["c26", "c27", "c28", "c29", "last"]
    assert [t.objects.count() for t in (RequestTrace, EngineTrace, TraceContent)] == [5, 5, 5]


def test_set_tracing_max_items_of_0_is_our_own_bound(as_alice, write, monkeypatch):
    from usage.traces import settings

    monkeypatch.setattr(settings, "HARD_ITEMS", 7)
    as_alice.post(SETTINGS, {"tracing_max_items": 0})
    numbered(write, 20)

    assert len(as_alice.get(f"{URL}?limit=0").json()) == 7
    assert RequestTrace.objects.count() == 7


def test_r30_bodies_have_a_bound_of_bytes_too(write, monkeypatch):
    monkeypatch.setattr(rows, "MAX_CONTENT_BYTES", 1000)
    for i in range(10):
        event_id = id_at(NOW + timedelta(milliseconds=i))
        write(content(event_id, "x" * 30), traced(event_id=event_id))

    drain()

    kept = TraceContent.objects.order_by("kept_us")
    assert sum(each.n_bytes for each in kept) <= 1000
    assert 2 <= len(kept) < 10
    assert str(kept.last().pk) == event_id


def test_set_enable_tracing_is_told_by_the_record(as_alice, write):
    """SET:enable_tracing: a request that came while it was off has no mark in the journal, and no trace."""
    write(record())

    assert as_alice.get(URL).json() == as_alice.get(ENGINES).json() == []
    assert UsageEvent.objects.count() == 1


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
        at(0.1, t=[9.0, 0.0, 0.0, 0.0, 9.0 + n / 1000, 0.0, 0, 0, 0])
    at(0.1, t=[9.0, 0.0, 0.0, 0.0, 9.9, 0.0, 0, 0, 0])
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


def test_s19_the_traces_of_a_deleted_person_go(as_alice, bob, write):
    event_id = id_at(NOW)
    mine = {"u": str(bob.pk), "un": "bob"}
    write(content(event_id, "hello", user=str(bob.pk)), traced(event_id=event_id, **mine))
    write(traced(cid="other"))
    assert len(as_alice.get(URL).json()) == 2

    as_alice.delete(f"/api/auth/admin/users/{bob.pk}")
    late = id_at(NOW)
    write(content(late, "hello", user=str(bob.pk)), traced(event_id=late, **mine))

    assert ids(as_alice.get(URL)) == ["other"]
    assert TraceContent.objects.count() == 0


def test_a_worker_that_died_leaves_a_trace_of_what_it_had_under_way(as_alice, folder):
    import orjson

    journal = Journal(folder)
    fields = record("o") | {"be": "vllm", "ci": "192.0.2.7", "ua": "curl/8"}
    names = {name: value for name, value in fields.items() if name not in {"k", "id", "cid"}}
    journal.open(id_at(NOW).encode(), journal.named(orjson.dumps(names)[1:]), b"cid-9")
    journal._segment.map.close()
    import os

    os.close(journal._segment._fd)

    (found,) = as_alice.get(URL).json()

    assert found["response"]["status"] == 500
    assert (found["error"], found["correlation_id"]) == ("the server process ended", "cid-9")


@pytest.mark.parametrize(
    "more",
    [
        {"t": "x"},
        {"t": [1]},
        {"t": [-5] * 9},
        {"t": [2**62] * 9},
        {"t": [1e300] * 9},
        {"t": [0, 1e300, -1e300, 0, 0, 0, 0, 0, 0]},
        {"t": [None] * 9},
        {"ci": 5},
        {"ua": "a\0b" * 300},
        {"er": "x" * 5000},
    ],
)
def test_a_mark_that_is_none_never_holds_up_usage(as_alice, write, more):
    write(traced(**more), traced(cid="good"))
    write({"k": TRACE, "id": "x", "u": "u1"}, {"k": TRACE, "u": None}, {"k": TRACE})
    write(content(id_at(NOW), "good"))

    assert "good" in ids(as_alice.get(URL))
    assert UsageEvent.objects.count() == 2
    assert TraceContent.objects.count() == 1
    assert not rejected_file().exists()


def test_w06_a_long_forwarded_for_does_not_hide_who_is_believed(as_alice, write, settings):
    from accounts import runtime
    from usage.traces.marks import caller

    proxies = {"trusted_proxies": ["10.0.0.0/8"]}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=proxies)
    runtime.trusted_networks.cache_clear()
    try:
        forged = ", ".join(["198.51.100.1"] * 50).encode() + b", 192.0.2.9"
        write(traced(**caller("vllm", "10.0.0.1", forged, b"curl/8")))
        (found,) = as_alice.get(URL).json()
    finally:
        runtime.trusted_networks.cache_clear()

    assert found["client_ip"] == "192.0.2.9"


def test_r30_the_same_journal_read_twice_makes_one_trace(as_alice, write):
    event_id = id_at(NOW)
    write(traced(event_id=event_id), traced(event_id=event_id))

    assert len(as_alice.get(URL).json()) == len(as_alice.get(ENGINES).json()) == 1


def test_get_api_backend_traces_has_the_load_of_a_model(as_alice):
    """GET /api/backend-traces: `model_load`, as the engine process tells it, good or bad."""
    before = time.time()
    rows.keep_load(model="m", backend="vllm-cpu", seconds=12.5)
    rows.keep_load(model="n", backend="vllm-cpu", seconds=3, error="the engine ended: no memory")

    good, bad = as_alice.get(f"{ENGINES}?type=model_load").json()

    assert (good["type"], good["model_name"], good["backend"]) == ("model_load", "m", "vllm-cpu")
    assert (good["status"], good["duration"]) == (200, 12_500_000_000)
    assert good["summary"] == "loaded in 12.50 s"
    assert "error" not in good
    assert (bad["status"], bad["error"]) == (503, "the engine ended: no memory")
    assert as_alice.get(f"{ENGINES}/{bad['id']}").json() == bad
    assert time.time() - before < 5


def test_set_enable_tracing_off_keeps_no_loads(as_alice):
    """SET:enable_tracing."""
    as_alice.post(SETTINGS, {"enable_tracing": False})

    rows.keep_load(model="m", backend="vllm-cpu", seconds=12.5)

    assert as_alice.get(ENGINES).json() == []
