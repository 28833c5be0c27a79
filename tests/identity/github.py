"""A stand-in for GitHub: the web flow with PKCE, single-use codes bound to client, secret and address.

Runs in a thread of the tests; `people` and `seen` are theirs to fill and read.
"""

import base64
import hashlib
import html
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlparse

CLIENT, SECRET = "gh-client", "gh-secret"


class GitHub:
    """A running stand-in. `people` maps a login to id, name, email and emails, as GitHub gives them."""

    def __init__(self) -> None:
        self.people: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, tuple[str, set[str]]] = {}
        self.server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self})
        )
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, login: str, *, number: int, email: str | None, verified: bool = True) -> None:
        emails = [{"email": email, "primary": True, "verified": verified}] if email else None
        self.people[login] = {"id": number, "name": login.title(), "email": None, "emails": emails}

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def redeem(self, form: dict[str, str]) -> dict[str, str] | None:
        """The token for a code, once, and only for whoever began with it."""
        grant = self.codes.pop(form.get("code", ""), None)
        if grant is None or form.get("redirect_uri") != grant["redirect_uri"]:
            return None
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if grant.get("code_challenge") != challenge:
            return None
        token = "gho_" + secrets.token_urlsafe(20)
        scopes = grant.get("scope", "").replace(",", " ").split()
        self.tokens[token] = (grant["login"], set(scopes))
        return {"access_token": token, "scope": ",".join(scopes), "token_type": "bearer"}


class _Handler(BaseHTTPRequestHandler):
    hub: GitHub

    def log_message(self, *_arguments: Any) -> None:
        return

    def out(self, status: int, body: Any, kind: str = "application/json", **headers: str) -> None:
        raw = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(raw)),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self) -> None:  # the base class's name
        parts = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/login/oauth/authorize" and query.get("client_id") == CLIENT:
            fields = "".join(
                f'<input type="hidden" name="{html.escape(k)}" value="{html.escape(v)}">'
                for k, v in query.items()
            )
            page = (
                f'<form method="post" action="/login/oauth/authorize">{fields}<input name="login">'
                '<button name="do" value="allow">Authorize</button></form>'
            )
            return self.out(200, page, "text/html")
        if parts.path in {"/api/v3/user", "/api/v3/user/emails"}:
            return self._api(parts.path)
        return self.out(404, {"message": "Not Found"})

    def _api(self, path: str) -> None:
        token = (self.headers.get("Authorization") or "").partition(" ")[2]
        if token not in self.hub.tokens:
            return self.out(401, {"message": "Bad credentials"})
        login, scopes = self.hub.tokens[token]
        person = self.hub.people[login]
        if path.endswith("/emails"):
            known = person["emails"] if "user:email" in scopes else None
            return (
                self.out(404, {"message": "Not Found"}) if known is None else self.out(200, known)
            )
        body = {
            "id": person["id"],
            "login": login,
            "name": person["name"],
            "email": person["email"],
        }
        return self.out(200, {**body, "avatar_url": "https://avatars.example/1"})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        form = {name: values[0] for name, values in parse_qs(raw, keep_blank_values=True).items()}
        path = urlparse(self.path).path
        if path == "/login/oauth/authorize":
            back = {"state": form["state"]}
            if form.get("do") != "allow":
                back["error"] = "access_denied"
            else:
                back["code"] = secrets.token_urlsafe(16)
                self.hub.codes[back["code"]] = form
            return self.out(302, "", Location=form["redirect_uri"] + "?" + urlencode(back))
        if path == "/login/oauth/access_token":
            found = self.hub.redeem(form) or {
                "error": "bad_verification_code"
            }  # 200, as GitHub does
            return self.out(200, urlencode(found), "application/x-www-form-urlencoded")
        return self.out(404, {"message": "Not Found"})
