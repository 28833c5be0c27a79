"""`GET /pictures/:name`: a picture that was fetched from elsewhere before (R-38)."""

from django.http import HttpResponse
from rest_framework.request import Request

from accounts.api.base import AccountView
from core.declared import Content, declares
from core.errors import NotFoundError
from core.pictures import KINDS
from inference.pictures import pictures

# Whatever a browser might take it for, it can do nothing.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, max-age=86400",
}


class PictureView(AccountView):
    """404 for what is not here, which pages show as initials; no query, and nothing is fetched."""

    @declares(
        "A picture that was fetched before",
        answer=[Content(kind) for kind in KINDS.values()],
        errors=(404,),
    )
    def get(self, _request: Request, name: str) -> HttpResponse:
        found = pictures().find(name)
        if found is None:
            raise NotFoundError("picture not found")
        return HttpResponse(found.content, content_type=found.content_type, headers=HEADERS)
