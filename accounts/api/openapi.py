"""`/swagger`: the OpenAPI document, and a page that shows it (R-26). Public (contract, section 4.2)."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from rest_framework.request import Request
from rest_framework.views import APIView
from typing_extensions import TypedDict

from accounts.openapi.document import document
from accounts.pages import page
from core.declared import declares
from core.envelopes import Family


class OpenApiDocument(TypedDict):
    """OpenAPI 3.1."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


class DocumentView(APIView):
    """The same for everybody, so that it may be kept: ask again with `If-None-Match`."""

    family: Family = "openai"

    @declares("This document", answer=OpenApiDocument, more={304: None})
    def get(self, request: Request) -> HttpResponse:
        body, etag = document()
        known = request.headers.get("if-none-match", "")
        response = HttpResponse(status=304) if etag in known else HttpResponse(body)
        response["Content-Type"] = "application/json"
        response["ETag"] = etag
        response["Cache-Control"] = "public, no-cache"
        return response


@page
def swagger(request: HttpRequest) -> HttpResponse:
    """Swagger UI, all of it from here."""
    return render(request, "accounts/swagger.html")
