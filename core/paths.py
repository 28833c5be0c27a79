"""One reading of a request's path, for both doors.

The gate and the router must judge the same string (CVE-2026-49468 is what happens otherwise), so
a path that two readers could read in two ways is refused before either sees it.
"""

from urllib.parse import unquote

from core.errors import InvalidRequestError

# Model names may hold a slash, which clients send as %2F.
_KEEPS_SLASH = "/admin/"  # Django's admin site has it in every address
_TAKES_ENCODED_SLASH = (
    "/v1/models/",
    "/models/",
    "/v1/engines/",
    "/api/models/",
    "/api/backends/",
    "/backends/",
    "/api/backend-logs/",
    "/ws/backend-logs/",
)


def canonical_path(raw_path: bytes) -> str:
    """The decoded path that is matched, its trailing slash removed (G-03).

    `raw_path` is the request target without its query, as the client sent it. Raises
    InvalidRequestError where it is ambiguous: `//`, dot segments, encoded slashes outside the
    places that take them, backslashes, control bytes, bytes that are not UTF-8.
    """
    try:
        text = raw_path.decode("ascii")
        path = unquote(text, errors="strict") if "%" in text else text
    except UnicodeDecodeError as exc:
        raise InvalidRequestError("The path is not valid.") from exc
    if not path.startswith("/") or "//" in path or "\\" in path or not path.isprintable():
        raise InvalidRequestError("The path is ambiguous.")
    if "/." in path and any(part in {".", ".."} for part in path.split("/")):
        raise InvalidRequestError("The path is ambiguous.")
    if "%" in path:  # decoded once, a path that still holds one would be read twice
        raise InvalidRequestError("The path is ambiguous.")
    if "%" in text and (";" in path or _has_misplaced_slash(text)):
        raise InvalidRequestError("The path is ambiguous.")
    if len(path) > 1 and path.endswith("/") and not path.startswith(_KEEPS_SLASH):
        return path[:-1]
    return path


def _has_misplaced_slash(text: str) -> bool:
    return "%2f" in text.lower() and not text.startswith(_TAKES_ENCODED_SLASH)
