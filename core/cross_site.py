"""Whether a browser says that a request comes from another site (S-11, S-38)."""

from core.errors import ForbiddenError

FOREIGN = "This request came from another site."


def refuse_foreign(
    headers: dict[bytes, bytes], own: frozenset[bytes], *, even_without_cookie: bool
) -> None:
    """Raise ForbiddenError for an unsafe request that another site made a browser send.

    Judged where a cookie is the only credential, or where the route makes one. `own` are the
    `host[:port]` of this server besides the request's own. Both headers absent: no browser.
    """
    given = headers.get
    if given(b"authorization") or given(b"x-api-key") or given(b"xi-api-key"):
        return
    if b"cookie" not in headers and not even_without_cookie:
        return
    site = headers.get(b"sec-fetch-site", b"")
    if site in {b"cross-site", b"same-site"} or _is_foreign(headers, own):
        raise ForbiddenError(FOREIGN)


def refuse_foreign_handshake(headers: dict[bytes, bytes], own: frozenset[bytes]) -> None:
    """Raise ForbiddenError for a WebSocket that a page of another site opens, whatever it carries.

    A browser sends cookies with any handshake and lets the page read what comes, so CORS is no help
    (W-22). No `Origin`: no browser.
    """
    if _is_foreign(headers, own):
        raise ForbiddenError(FOREIGN)


def _is_foreign(headers: dict[bytes, bytes], own: frozenset[bytes]) -> bool:
    origin = headers.get(b"origin", b"")
    netloc = origin.partition(b"://")[2].lower()
    return bool(origin) and netloc != headers.get(b"host", b"").lower() and netloc not in own
