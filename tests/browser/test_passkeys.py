"""Passkeys with Chromium's virtual authenticator: alone, and as a second factor."""

from collections.abc import Iterator

import pytest

from tests.servers import PASSWORD, Server
from tests.stub import StubEngine

pytestmark = pytest.mark.real

POST = """async ([path, body]) => {
  const answer = await fetch(path, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)});
  return {status: answer.status, body: await answer.json()};
}"""
CREATE = """async (options) => {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options.publicKey);
  return (await navigator.credentials.create({publicKey})).toJSON();
}"""
GET = """async (options) => {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options.publicKey);
  return (await navigator.credentials.get({publicKey})).toJSON();
}"""


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    engine = StubEngine()
    made = Server(tmp_path, web_only=True, LOCALAI_ENGINES=f"m={engine.url}")
    yield made
    made.stop()
    engine.stop()


@pytest.fixture
def page(server, open_page):
    """A page with an authenticator that always says yes."""
    made = open_page(server)
    made.expected += ["status of 401", "status of 403"]
    devtools = made.context.new_cdp_session(made)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    made.goto("/login")
    return made


def post(page, path, body=None):
    return page.evaluate(POST, [path, body or {}])


def test_a_passkey_signs_in_alone_and_is_asked_for_after_a_password(server, page):
    login = {"email": "admin@example.org", "password": PASSWORD}
    assert post(page, "/api/auth/login", login)["body"]["user"]["role"] == "admin"
    options = post(page, "/api/auth/mfa/passkeys/start", {"passwordless": True})["body"]
    made = page.evaluate(CREATE, options)
    added = post(page, "/api/auth/mfa/passkeys", {"name": "laptop", "credential": made})
    assert added["status"] == 201, added
    assert len(added["body"]["recovery_codes"]) >= 8
    replayed = post(page, "/api/auth/mfa/passkeys", {"name": "again", "credential": made})
    assert replayed["status"] == 401

    post(page, "/api/auth/logout")
    options = post(page, "/api/auth/passkey/start")["body"]
    shown = page.evaluate(GET, options)
    done = post(page, "/api/auth/passkey", {"credential": shown})
    assert done["body"]["user"]["email"] == "admin@example.org", done
    assert post(page, "/api/auth/passkey", {"credential": shown})["status"] == 401  # once

    post(page, "/api/auth/logout")
    half = post(page, "/api/auth/login", login)["body"]
    assert half == {"mfa_required": True, "methods": ["recovery_codes", "passkey"]}
    shown = page.evaluate(GET, post(page, "/api/auth/mfa/start")["body"])
    done = post(page, "/api/auth/mfa", {"credential": shown})
    assert done["body"]["user"]["email"] == "admin@example.org", done
    listed = page.evaluate("async () => (await (await fetch('/api/auth/mfa')).json())")
    assert [each["name"] for each in listed["passkeys"]] == ["laptop"]


def test_a_disabled_owner_does_not_come_in_by_a_passkey(server, page):
    with server.client() as admin:
        code = admin.post("/api/auth/admin/invites").json()["code"]
        body = {"email": "lin@example.org", "password": PASSWORD, "inviteCode": code}
        user = post(page, "/api/auth/register", body)["body"]["user"]
        options = post(page, "/api/auth/mfa/passkeys/start", {"passwordless": True})["body"]
        made = page.evaluate(CREATE, options)
        assert post(page, "/api/auth/mfa/passkeys", {"credential": made})["status"] == 201
        admin.put(f"/api/auth/admin/users/{user['id']}/status", json={"status": "disabled"})

    shown = page.evaluate(GET, post(page, "/api/auth/passkey/start")["body"])
    done = post(page, "/api/auth/passkey", {"credential": shown})

    assert (done["status"], done["body"]) == (403, {"error": "account disabled"})
