"""Gallery icons and people's avatars: fetched once, by the background process alone (R-38).

No request ever fetches one, an admin's neither: what is not here yet is shown as initials.
"""

import logging
import math
import re

from django.db import DatabaseError, connection

from accounts.models import User
from accounts.runtime import env
from core.fetch_addresses import FetchError
from core.fetcher import Limits
from core.pictures import MAX_BYTES, Pictures, name_of
from core.stopping import Stop
from inference.fetching import fetcher
from inference.gallery import shelves
from inference.gallery_schema import Entry
from inference.shelves import Shelf

log = logging.getLogger("gatehouse.pictures")
ROUND_S, AT_ONCE = 30.0, 20
AGAIN_S, FORGOTTEN_S = 24 * 3600.0, 24 * 3600.0
MAX_WANTED = 2000
MAX_UNNAMED = 2000
_LIMITS = Limits(max_bytes=MAX_BYTES, connect_s=5, read_s=10, total_s=15)
_INLINE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+")


def pictures() -> Pictures:
    return Pictures(env().data_path / "pictures")


def icon_here(icon: str, *, known: set[str], base: str) -> str:
    """A gallery's icon as clients may load it: from us, or inline; empty where it is not here (yet).

    `known` are the names of the pictures that are here. No browser is sent to another server.
    """
    if _INLINE.fullmatch(icon):
        return icon
    name = name_of(icon) if icon else ""
    return f"{base}/pictures/{name}" if name in known else ""


def fetch_due(stop: Stop | None = None) -> int:
    """Fetch some of the pictures that are named and not here; how many were tried.

    Raises DatabaseError.
    """
    read = shelves(offline=True)
    wanted = _named(read)
    store = pictures()
    due = [url for url in wanted if store.is_due(url, again_after_s=AGAIN_S)][:AT_ONCE]
    for url in due:
        if stop is not None and stop.is_set():
            break
        try:
            store.keep(url, fetcher().read(url, limits=_LIMITS))
        except (FetchError, ValueError) as exc:
            log.info("the picture %s was not taken: %s", name_of(url)[:12], exc)
            store.fail(url)
    # the icons of a gallery that cannot be read are only out of sight
    age_s = math.inf if any(shelf.fault for shelf in read) else FORGOTTEN_S
    store.forget_but(set(wanted), older_than_s=age_s, most=MAX_UNNAMED)
    return len(due)


def _named(read: list[Shelf[Entry]]) -> list[str]:
    """The addresses of all icons and avatars, each once: one query."""
    icons = [entry.icon for shelf in read for entry in shelf.entries]
    avatars = User.objects.exclude(avatar_url="").values_list("avatar_url", flat=True)
    found = dict.fromkeys([*icons, *avatars.order_by("pk")[:MAX_WANTED]])
    return [url for url in found if url.startswith(("https://", "http://"))][:MAX_WANTED]


def keep_pictures(stop: Stop) -> None:
    """In a thread of its own until `stop`: a slow server of pictures holds up nothing else."""
    while not stop.wait(ROUND_S):
        try:
            fetch_due(stop)
        except (DatabaseError, OSError) as exc:
            log.warning("pictures wait: %s", type(exc).__name__)
        except Exception:  # whatever it was, the next round comes
            log.exception("fetching pictures went wrong")
        finally:
            connection.close()
