"""Somebody with a browser: follows redirects, fills in the providers' forms, comes back to us."""

from typing import Any, ClassVar
from urllib.parse import urljoin, urlsplit

import httpx
from bs4 import BeautifulSoup

from tests.servers import Server


class Person:
    """One browser of the person `login` at `server`; `opened` are all, for a fixture to close."""

    opened: ClassVar[list["Person"]] = []

    def __init__(self, server: Server, login: str) -> None:
        self.server = server
        self.login = login
        self.http = httpx.Client(timeout=20)
        Person.opened.append(self)

    def sign_in(self, provider: str, query: str = "", *, do: str = "allow") -> httpx.Response:
        """The whole flow; the last answer of ours, not followed further."""
        return self.follow(f"{self.server.url}/api/auth/{provider}/login{query}", do=do)

    def callback_url(self, provider: str, query: str = "") -> str:
        """As `sign_in`, but stops before our callback and gives its address."""
        url = f"{self.server.url}/api/auth/{provider}/login{query}"
        return str(self.follow(url, stop="/callback").headers["location"])

    def follow(self, url: str, *, stop: str = "", do: str = "allow") -> httpx.Response:
        response = self.http.get(url)
        for _ in range(30):
            if response.is_redirect:
                target = urljoin(str(response.url), response.headers["location"])
                ours = target.startswith(self.server.url)
                if (stop and ours and stop in target) or (ours and "/callback" not in target):
                    return response
                response = self.http.get(target)
            elif str(response.url).startswith(self.server.url):
                return response
            else:
                response = self._fill(response, do)
        raise RuntimeError(f"no end: {response.url}")

    def _fill(self, response: httpx.Response, do: str) -> httpx.Response:
        form = BeautifulSoup(response.text, "html.parser").form
        if form is None:
            raise RuntimeError(f"{response.status_code} {response.url} {response.text[:300]}")
        data = {i["name"]: i.get("value", "") for i in form.find_all("input") if i.get("name")}
        if do == "deny" and (
            cancel := BeautifulSoup(response.text, "html.parser").find("a", string="[ Cancel ]")
        ):
            return self.http.get(urljoin(str(response.url), cancel["href"]))
        if "login" in data:
            data["login"] = self.login
        if "password" in data:
            data["password"] = "x"
        if form.find("button", attrs={"name": "do"}):
            data["do"] = do
        return self.http.post(urljoin(str(response.url), str(form["action"])), data=data)

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return self.http.request(method, self.server.url + path, json=body, headers=headers)

    def me(self) -> dict[str, Any] | None:
        answer = self.api("GET", "/api/auth/me")
        return dict(answer.json()) if answer.status_code == 200 else None

    def form(self, path: str, **fields: str) -> httpx.Response:
        """Send a form of one of our pages, with the page's token."""
        page = self.http.get(f"{self.server.url}/app/account/security")
        if page.is_redirect:
            page = self.http.get(f"{self.server.url}/app")
        token = BeautifulSoup(page.text, "html.parser").find(
            "input", {"name": "csrfmiddlewaretoken"}
        )
        data = {"csrfmiddlewaretoken": str(token["value"]), **fields}
        return self.http.post(
            self.server.url + path, data=data, headers={"Origin": self.server.url}
        )


def where(response: httpx.Response) -> str:
    """Path and query of where an answer sends the browser, or the path of the page it is."""
    parts = urlsplit(response.headers.get("location") or str(response.url))
    return parts.path + (f"?{parts.query}" if parts.query else "")
