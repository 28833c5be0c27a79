"""Which language an answer is in: pages in the reader's, everything for programs in English.

The JSON answers' words are the contract's; no translation may ever change them. So this, and not
Django's LocaleMiddleware, which would translate for any caller.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import translation

from accounts.failures import wants_page
from accounts.middleware import is_page
from accounts.ui.preferences import language_for

ENGLISH = "en"


class LanguageMiddleware:
    """Stands behind the gate, which finds route and caller."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        match = request.resolver_match
        for_people = wants_page(request) if match is None else is_page(match)
        with translation.override(language_for(request) if for_people else ENGLISH):
            response = self._get_response(request)
            if for_people:
                response.headers.setdefault("Content-Language", translation.get_language() or "")
        return response
