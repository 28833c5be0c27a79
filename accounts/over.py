"""Forms that a script shows as a dialog over the page they belong to, and that are pages without one.

`static/js/over.js` asks with the header `X-Over`. Then the answer is the dialog alone, and a form that
was taken answers 204 with `X-Go`, the page to go to; its message waits there.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

HEADER = "x-over"


def show(
    request: HttpRequest, template: str, shown: dict[str, Any], *, back: str, status: int = 200
) -> HttpResponse:
    """Render `template`, which extends `layout`. `back` is the page it belongs to."""
    layout = "over/dialog.html" if request.headers.get(HEADER) else "over/page.html"
    return render(request, template, {**shown, "layout": layout, "back": back}, status=status)


def done(request: HttpRequest, address: str) -> HttpResponse:
    """The form was taken: on to `address`."""
    if request.headers.get(HEADER):
        return HttpResponse(status=204, headers={"X-Go": address})
    return HttpResponseRedirect(address)
