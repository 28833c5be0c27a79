"""The one way out: fetching what somebody named, from public addresses only, within bounds (R-06).

The name is looked up once, judged, and the connection goes to the very address that was judged; so
again at every redirect. No proxy, no cookies, no compression.
"""

import hashlib
import json
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urljoin

import certifi
from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from core.fetch_addresses import (
    FetchError,
    Network,
    RefusedError,
    Url,
    addresses_of,
    may_connect,
    read_url,
)
from core.whole_numbers import whole_number

MAX_REDIRECTS, TRIES, PIECE = 5, 3, 64 * 1024
HEAD_S, SLOW_LOOK_S, SLOWEST_PER_S = 60.0, 30.0, 1024
PAUSE_S = 1.0
SPARE_BYTES = 64 * 1024 * 1024
TOO_SLOW = "The server is too slow."
NO_ROOM = "The disk has no room for it. Free some space, then start again."
_REDIRECTS = {301, 302, 303, 307, 308}
Report = Callable[[int, int | None], None]
_Connection = HTTPConnection | HTTPSConnection


class NotThereError(FetchError):
    """The server says 404 or 410."""


class BrokenOffError(FetchError):
    """It ended in the middle; trying again may help, from where it stopped."""


class _NoSuchRangeError(FetchError):
    """The server does not go on from where we stopped."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one fetch. `total_s` None is for downloads, whose speed is looked at instead."""

    max_bytes: int
    connect_s: float = 10.0
    read_s: float = 30.0
    total_s: float | None = None


class Fetcher:
    """`allow` are the private networks that may be reached all the same (`LOCALAI_FETCH_ALLOW`)."""

    def __init__(self, *, allow: tuple[Network, ...] = (), user_agent: str = "gatehouse") -> None:
        self._allow = allow
        self._user_agent = user_agent
        self._tls = ssl.create_default_context()
        self._tls.load_verify_locations(certifi.where())

    def read(self, url: str, *, limits: Limits, headers: Mapping[str, str] | None = None) -> bytes:
        """The whole of something small. Raises FetchError."""
        with self._open(url, headers or {}, limits) as (response, _):
            _expect(response, {200})
            announced = _announced(response)
            _within(announced, limits)
            body = bytearray()
            for piece in _pieces(response, limits):
                body += piece
                _within(len(body), limits)
            if announced is not None and len(body) < announced:
                raise BrokenOffError("The server broke off in the middle.")
        return bytes(body)

    def save(
        self,
        url: str,
        to: Path,
        *,
        limits: Limits,
        sha256: str = "",
        headers: Mapping[str, str] | None = None,
        report: Report = lambda _done, _total: None,
    ) -> str:
        """Download to `to`, whole and checked or not at all; the sha256 of what came.

        What an earlier process left half-way is gone on with where the server can. Raises FetchError,
        after which nothing of it is left, and OSError.
        """
        part = _Part(to, url=url, checked=bool(sha256))
        asked = dict(headers or {})
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            for left in reversed(range(TRIES)):
                before = part.size()
                try:
                    self._download(url, part, limits, asked=asked, report=report)
                    break
                except _NoSuchRangeError:  # it was whole already, or is another one now
                    part.discard()
                except BrokenOffError:
                    if not left or part.size() <= before:
                        raise
                    time.sleep(PAUSE_S)
            else:
                raise BrokenOffError("The server broke off again and again.")
            digest = part.digest()
            if sha256 and digest != sha256.lower():
                raise FetchError(
                    "The file that arrived is not the one that was announced (sha256)."
                )
            part.put_in_place()
        except (FetchError, OSError):
            part.discard()
            raise
        return digest

    def _download(
        self, url: str, part: "_Part", limits: Limits, *, asked: dict[str, str], report: Report
    ) -> None:
        offset = part.offset()
        if offset:
            asked = {**asked, "Range": f"bytes={offset}-"}
            if part.validator:
                asked["If-Range"] = part.validator
        with self._open(url, asked, limits) as (response, _):
            _expect(response, {200, 206, 416} if offset else {200})
            goes_on = response.status == 206 and _begins_at(response, offset)
            if response.status != 200 and not goes_on:
                raise _NoSuchRangeError
            offset = offset if goes_on else 0
            announced = _announced(response)
            total = None if announced is None else offset + announced
            _within(total, limits)
            room = offset + _room(part.path.parent, announced)
            part.describe(response)
            done = offset
            with part.path.open("ab" if goes_on else "wb") as file:
                for piece in _pieces(response, limits):
                    done += len(piece)
                    _within(done, limits)
                    if done > room:  # a body without an announced end must not fill the disk
                        raise FetchError(NO_ROOM)
                    file.write(piece)
                    report(done, total)
        if total is not None and done < total:
            raise BrokenOffError("The server broke off in the middle.")

    @contextmanager
    def _open(
        self, url: str, headers: Mapping[str, str], limits: Limits
    ) -> Iterator[tuple[HTTPResponse, Url]]:
        """The answer at the end of the redirects; its connection ends with the block."""
        at = first = read_url(url)
        ends = None if limits.total_s is None else time.monotonic() + limits.total_s
        for _ in range(MAX_REDIRECTS + 1):
            left = None if ends is None else ends - time.monotonic()  # over all redirects
            if left is not None and left <= 0:
                raise FetchError(TOO_SLOW)
            sent = {k: v for k, v in headers.items() if _may_carry(k, at, first)}
            connection = self._connect(at, limits)
            try:
                with _ends_after(connection, min(HEAD_S, left or HEAD_S)):
                    response = self._ask(connection, at, sent)
                if response.status not in _REDIRECTS:
                    with _ends_after(connection, left):
                        yield response, at
                    return
                at = _next(at, response)
            finally:
                connection.close()
        raise RefusedError("The address leads on and on (too many redirects).")

    def _connect(self, url: Url, limits: Limits) -> _Connection:
        """A connection to an address that was judged, and no other."""
        for address in addresses_of(url, allow=self._allow):
            connection: _Connection
            if url.scheme == "https":
                connection = HTTPSConnection(
                    address,
                    url.port,
                    timeout=limits.connect_s,
                    ssl_context=self._tls,
                    server_hostname=url.host,
                )
            else:
                connection = HTTPConnection(address, url.port, timeout=limits.connect_s)
            try:
                connection.connect()
            except ssl.SSLError as exc:
                connection.close()
                raise RefusedError(f"{url.host} has no certificate that is known here.") from exc
            except (HTTPError, OSError):
                connection.close()
                continue
            peer = connection.sock.getpeername()[0] if connection.sock else ""
            if not may_connect(peer, allow=self._allow):
                connection.close()
                raise RefusedError(f"{url.host} is an address inside this network.")
            connection.timeout = limits.read_s  # from here on; it is set anew at every request
            return connection
        raise BrokenOffError(f"{url.host} cannot be reached.")

    def _ask(self, connection: _Connection, url: Url, headers: Mapping[str, str]) -> HTTPResponse:
        own = {
            "Host": url.host_header,
            "User-Agent": self._user_agent,
            "Accept-Encoding": "identity",
        }
        try:
            connection.request(
                "GET",
                url.target,
                headers={**own, **headers},
                preload_content=False,
                decode_content=False,
            )
            return connection.getresponse()
        except (HTTPError, HTTPException, OSError, ValueError) as exc:
            raise BrokenOffError(f"{url.host} does not answer as it should.") from exc


class _Part:
    """A download half-way: the file, and beside it what the server called it."""

    def __init__(self, to: Path, *, url: str, checked: bool) -> None:
        self._to, self._url, self._checked = to, url, checked
        self.path = to.with_name(to.name + ".part")
        self._note = to.with_name(to.name + ".part.json")
        self.validator = ""

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def offset(self) -> int:
        """From where to go on: only with the same address, and a validator or a checksum to trust."""
        try:
            note = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return 0
        if note.get("url") != self._url or not (self._checked or note.get("validator")):
            return 0
        self.validator = str(note.get("validator", ""))
        return self.size()

    def describe(self, response: HTTPResponse) -> None:
        tag = response.headers.get("etag", "")
        self.validator = tag if tag.startswith('"') else response.headers.get("last-modified", "")
        self._note.write_text(json.dumps({"url": self._url, "validator": self.validator}))

    def digest(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def put_in_place(self) -> None:
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(self._to)
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        for each in (self.path, self._note):
            with suppress(OSError):
                each.unlink(missing_ok=True)


@contextmanager
def _ends_after(connection: _Connection, seconds: float | None) -> Iterator[None]:
    """Shut the connection where the block takes longer: a server may send a byte a second for ever."""
    if seconds is None:
        yield
        return

    fired = threading.Event()

    def shut() -> None:
        fired.set()
        if connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except FetchError as exc:
        if fired.is_set():
            raise FetchError(TOO_SLOW) from exc
        raise
    finally:
        timer.cancel()
    if fired.is_set():  # an end that we made is no end of the body
        raise FetchError(TOO_SLOW)


def _pieces(response: HTTPResponse, limits: Limits) -> Iterator[bytes]:
    """The body as it comes; one that comes too slowly is broken off."""
    began = looked = time.monotonic()
    since_look = 0
    while piece := _piece(response):
        now = time.monotonic()
        since_look += len(piece)
        if limits.total_s is not None and now - began > limits.total_s:
            raise FetchError(TOO_SLOW)
        if now - looked > SLOW_LOOK_S:
            if since_look < SLOWEST_PER_S * SLOW_LOOK_S:
                raise FetchError(TOO_SLOW)
            looked, since_look = now, 0
        yield piece


def _piece(response: HTTPResponse) -> bytes:
    try:
        return response.read1(PIECE)
    except (HTTPError, HTTPException, OSError, ValueError) as exc:
        raise BrokenOffError("The server broke off in the middle.") from exc


def _may_carry(header: str, at: Url, first: Url) -> bool:
    """Credentials go to the server they are meant for, not to where it sends us."""
    return header.lower() != "authorization" or at.origin == first.origin


def _next(at: Url, response: HTTPResponse) -> Url:
    target = response.headers.get("location", "")
    if not target:
        raise FetchError(f"{at.host} leads nowhere (a redirect without an address).")
    here = f"{at.scheme}://{at.host_header}{at.target}"
    try:
        joined = urljoin(here, target)
    except ValueError as exc:
        raise RefusedError(f"{at.host} leads to an address that is none.") from exc
    found = read_url(joined)
    if at.scheme == "https" and found.scheme != "https":
        raise RefusedError(f"{at.host} leads from https to plain http.")
    return found


def _expect(response: HTTPResponse, wanted: set[int]) -> None:
    if response.status in {404, 410}:
        raise NotThereError("There is nothing at this address (404).")
    if response.status in {401, 403}:
        raise FetchError(f"The server refuses it ({response.status}); it may want a token.")
    if response.status not in wanted:
        raise FetchError(f"The server answers {response.status}.")
    if response.headers.get("content-encoding", "identity") not in {"", "identity"}:
        raise FetchError("The server sends it compressed, which was not asked for.")


def _announced(response: HTTPResponse) -> int | None:
    return whole_number(response.headers.get("content-length", ""), 19)


def _begins_at(response: HTTPResponse, offset: int) -> bool:
    return response.headers.get("content-range", "").startswith(f"bytes {offset}-")


def _within(n_bytes: int | None, limits: Limits) -> None:
    if n_bytes is not None and n_bytes > limits.max_bytes:
        raise FetchError(f"It is larger than the {limits.max_bytes} bytes that are taken.")


def _room(folder: Path, announced: int | None) -> int:
    """How many bytes may still be written there; some space is left to everything else."""
    room = shutil.disk_usage(folder).free - SPARE_BYTES
    if room < (announced or 0):
        raise FetchError(NO_ROOM)
    return room
