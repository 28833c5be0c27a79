"""What tests of the pages about models and backends share."""

import html
import re

from inference import operations
from inference.models import Operation
from inference.operations import Action, Kind, Wish

HTMX = {"HX-Request": "true"}
EVIL = "<img src=x onerror=alert(1)>"


def text_of(answer):
    """The page as read: without tags, entities resolved, one space between words."""
    body = re.sub(
        r"<(script|style|template).*?</\1>|<[^>]*>", " ", answer.content.decode(), flags=re.DOTALL
    )
    return " ".join(html.unescape(body).split())


def cards(answer):
    return re.findall(r'<h3 [^>]*title="([^"]*)"', answer.content.decode())


def post(api, path, data=None, **headers):
    return api.client.post(path, data or {}, headers={**api.headers, **headers})


def under_way(target="big", **fields):
    job = operations.enqueue(Wish(Kind.MODEL, Action.INSTALL, target, f"own@{target}", "mara"))
    Operation.objects.filter(pk=job.pk).update(**fields)
    job.refresh_from_db()
    return job
