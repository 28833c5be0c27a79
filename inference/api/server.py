"""What this server is and has: for programs that look for one, for pages, and on a fresh machine."""

from dataclasses import asdict
from typing import cast

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import AccountView
from core.built import BUILT
from core.declared import declares
from core.http import GatedRequest
from inference.api import machine_answers as answers
from inference.setup_steps import setup_steps

ENDPOINTS = {
    "openai_compatible": {
        "chat_completions": "/v1/chat/completions",
        "completions": "/v1/completions",
        "embeddings": "/v1/embeddings",
        "responses": "/v1/responses",
        "tokenize": "/v1/tokenize",
        "detokenize": "/v1/detokenize",
        "models": "/v1/models",
    },
    "anthropic_compatible": {
        "messages": "/v1/messages",
        "count_tokens": "/v1/messages/count_tokens",
    },
    "model_management": {
        "models_capabilities": "/api/models/capabilities",
        "models_gallery": "/api/models",
        "models_apply": "/models/apply",
        "models_available": "/models/available",
        "models_jobs": "/models/jobs",
        "operations": "/api/operations",
    },
    "monitoring": {
        "health": "/healthz",
        "ready": "/readyz",
        "version": "/version",
        "metrics": "/metrics",
        "system": "/system",
        "resources": "/api/resources",
        "engines": "/api/engines",
    },
    "documentation": {"swagger": "/swagger/index.html", "openapi": "/swagger/doc.json"},
}


def version_words() -> str:
    """`v0.1.0 (gatehouse)`, in the shape that clients know."""
    return f"v{settings.VERSION} (gatehouse)"


class BuiltView(AccountView):
    """`GET /api/features`: true only for what works; a page hides what is false."""

    @declares("Which parts this server has", answer=answers.Built)
    def get(self, _request: Request) -> Response:
        return Response(BUILT)


class DiscoveryView(AccountView):
    """`GET /.well-known/localai.json`, for anybody; the version for known callers alone (R-25)."""

    @declares("Where things are", answer=answers.Discovery)
    def get(self, request: Request) -> Response:
        flat = {name: path for group in ENDPOINTS.values() for name, path in group.items()}
        body = {"endpoints": flat, "endpoint_groups": ENDPOINTS, "capabilities": BUILT}
        is_known = cast("GatedRequest", request._request).principal is not None  # noqa: SLF001
        return Response({"version": version_words(), **body} if is_known else body)


class SetupView(AccountView):
    """`GET /api/setup` (R-29): what a fresh server does before its first answer."""

    @declares("The steps of a fresh server", answer=answers.Setup)
    def get(self, _request: Request) -> Response:
        steps = setup_steps()
        done = all(step.state == "done" for step in steps)
        return Response({"done": done, "steps": [asdict(step) for step in steps]})
