"""What a log line may not hold."""

import logging
import time

import pytest

from core.redaction import Redacting, redacted

KEY = "lai-" + "0a1b2c3d" + "e" * 56


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("Not Found: /invite/abc123", "abc123"),
        ("GET /api/auth/invite/abc123/check 200", "abc123"),
        ("GET /reset/aa.bb-cc?x=1", "aa.bb-cc"),
        ("GET /verify/WyJ:x-y_z", "WyJ:x-y_z"),
        ("/api/auth/github/login?invite_code=abc123&x=1", "abc123"),
        ("?setup_token=abc123", "abc123"),
        ("/callback?code=abc123&state=def456", "abc123"),
        ("/callback?code=abc123&state=def456", "def456"),
        (f"key {KEY} used", "e" * 20),
        ("Authorization: Bearer abc123", "abc123"),
        ("HF_TOKEN hf_abcdefghijklmnopqrstuvwxyz is not valid", "mnopq"),
        ("key=sk-proj-abcdefghijklmnopqrstuvwxyz", "mnopq"),
        ("https://ghp_abcdefghijklmnopqrstuvwxyz0123@github.com", "mnopq"),
        ("authorization: bearer abc123", "abc123"),
        ("/v1/models?api_key=abc123", "abc123"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln", "eyJzdWIi"),
        ("token_eyJhbGciOi.eyJzdWIi.c2ln", "eyJzdWIi"),
        ("cut eyJhbGciOi.eyJzdWIi", "eyJzdWIi"),
        ("JWE eyJhbGciOi.k.i.secret.tag", "secret"),
    ],
)
def test_it_is_taken_out(line, secret):
    assert secret in line
    assert secret not in redacted(line)


def test_what_is_no_secret_stays():
    line = "model code=ok? no: /v1/models/reset 200 user 0a1b2c3d"

    assert redacted("POST /v1/chat/completions 200") == "POST /v1/chat/completions 200"
    assert "0a1b2c3d" in redacted(line)
    assert redacted(f"{KEY}").startswith("lai-0a1b2c3d")


def test_what_follows_a_token_stays():
    assert redacted('{"a":"Bearer abc123","b":1}') == '{"a":"Bearer …","b":1}'


@pytest.mark.parametrize(
    "piece", ["eyJaaaaa", "a.eyJaaaaa", "eyJaaaaaa.", "lai-01234567", "sk-aaa-", "-", "x"]
)
def test_no_text_takes_more_than_a_moment(piece):
    """A body or a line of a log is a caller's to choose: 64 KiB of these took two seconds."""
    text = piece * (512 * 1024 // len(piece))
    before = time.process_time()

    redacted(text)

    assert time.process_time() - before < 1


def test_tracebacks_are_redacted_too():
    try:
        raise ValueError("bad path /reset/abc.def")
    except ValueError:
        record = logging.getLogger("x").makeRecord(
            "x", 40, "f", 1, "failed", (), __import__("sys").exc_info()
        )

    assert "abc.def" not in Redacting("%(message)s").format(record)
