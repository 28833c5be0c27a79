"""200 malformed bodies against each inference and account endpoint: never a 5xx, never a traceback."""

import random

import pytest

from tests.servers import PASSWORD

INFERENCE = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/v1/tokenize",
    "/v1/detokenize",
]
SOME_ID = "00000000-0000-4000-8000-000000000000"
ACCOUNTS = [
    ("POST", "/api/auth/register"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/token-login"),
    ("POST", "/api/auth/api-keys"),
    ("DELETE", f"/api/auth/api-keys/{SOME_ID}"),
    ("PUT", "/api/auth/profile"),
    ("PUT", "/api/auth/password"),
    ("DELETE", f"/api/auth/sessions/{SOME_ID}"),
    ("PUT", f"/api/auth/admin/users/{SOME_ID}/password"),
    ("PUT", f"/api/auth/admin/users/{SOME_ID}/permissions"),
    ("PUT", f"/api/auth/admin/users/{SOME_ID}/models"),
    ("DELETE", f"/api/auth/admin/users/{SOME_ID}"),
    ("PUT", f"/api/auth/admin/users/{SOME_ID}/role"),
    ("PUT", f"/api/auth/admin/users/{SOME_ID}/status"),
    ("POST", "/api/auth/admin/invites"),
    ("POST", "/login"),
    ("POST", "/register"),
]
VALUES = [
    b"null",
    b"true",
    b"0",
    b"-1",
    b"1e999",
    b"99999999999999999999999",
    b'""',
    b'"x"',
    b'"\\u0000"',
    b'"\\ud800"',
    b"[]",
    b"[[]]",
    b"[null]",
    b"[1]",
    b'["x"]',
    b"{}",
    b'{"a":1}',
    b'[{"role":"user"}]',
    b'[{"role":5,"content":5}]',
    b'[{"role":"user","content":[{}]}]',
    b'[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]',
    b'"' + b"a" * 5000 + b'"',
    b"[" * 300 + b"]" * 300,
    b'"' + "é𝄞".encode() + b'"',
]
KEYS = [
    b"model",
    b"messages",
    b"prompt",
    b"input",
    b"stream",
    b"n",
    b"max_tokens",
    b"tools",
    b"stream_options",
    b"system",
    b"email",
    b"password",
    b"name",
    b"token",
    b"inviteCode",
    b"expiresIn",
    b"expiresAt",
    b"role",
    b"status",
    b"expiresInHours",
    b"content",
    b"tokens",
    b"store",
    b"background",
    b"previous_response_id",
    b"metadata",
]
RAW = [
    b"",
    b"{",
    b"}",
    b"nul",
    b"\x00",
    b"\xff\xfe",
    b"[1,",
    b'{"a":}',
    b'{"model":"m"',
    b"<xml/>",
    b"a=1&b=2",
    b'"' + b"x" * 70000,
    b'{"model":"m","model":5}',
    b"[" * 20000,
    b"-",
    b"\xef\xbb\xbf{}",
]


def bodies(seed, n=200):
    chooser = random.Random(seed)
    found = list(RAW)
    while len(found) < n:
        keys = chooser.sample(KEYS, chooser.randint(1, 6))
        pairs = [b'"%b":%b' % (key, chooser.choice(VALUES)) for key in keys]
        if chooser.random() < 0.5:
            pairs.append(b'"model":"m"')
        found.append(b"{" + b",".join(pairs) + b"}")
    return found


def check(answer, path, body):
    assert (
        answer.status_code < 500 or answer.json().get("error", {}).get("reason") == "not_supported"
    ), (
        path,
        answer.status_code,
        body[:300],
        answer.text[:300],
    )
    assert "Traceback" not in answer.text
    assert "/site-packages/" not in answer.text


@pytest.mark.parametrize("path", INFERENCE)
def test_inference_endpoints(server, path):
    with server.client() as client:
        for body in bodies(path):
            check(
                client.post(path, content=body, headers={"content-type": "application/json"}),
                path,
                body,
            )


@pytest.mark.parametrize(("method", "path"), ACCOUNTS)
def test_account_endpoints(server, method, path):
    with server.client() as browser:
        del browser.headers["authorization"]
        browser.post("/api/auth/login", json={"email": "admin@example.org", "password": PASSWORD})
        for body in bodies(path):
            check(
                browser.request(
                    method, path, content=body, headers={"content-type": "application/json"}
                ),
                path,
                body,
            )


def test_nothing_was_left_in_the_servers_log(server):
    assert "Traceback" not in server.log.read_text()
