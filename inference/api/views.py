"""The inference endpoints as DRF views: what `urls.py`, the gate's table and the schema see.

Their work is in `inference.handlers`; each class only names it. Stored responses are plain views.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import AccountView
from core.declared import Declaration, declares
from core.envelopes import Family
from core.errors import NotFoundError
from inference import handlers, stored_responses
from inference.api import declarations, dialects
from inference.api.adapter import Work, serve
from inference.capabilities import serve_capabilities
from inference.endpoints import ENDPOINTS


class LaneView(APIView):
    """A view that the lane serves by calling `work`; here only for the slow door."""

    family: Family = "openai"
    declared: ClassVar[Declaration]
    work: ClassVar[Callable[..., Any]]

    def serve(self, request: Request, kwargs: dict[str, str]) -> HttpResponse:
        return serve(request._request, self.lane_work(), self.family, kwargs)  # noqa: SLF001

    @classmethod
    def lane_work(cls) -> Work:
        raise NotImplementedError


class InferenceView(LaneView):
    """One endpoint of `inference.endpoints`."""

    endpoint: ClassVar[str]

    @classmethod
    def lane_work(cls) -> Work:
        return partial(handlers.infer, endpoint=ENDPOINTS[cls.endpoint])

    def post(self, request: Request, **kwargs: str) -> HttpResponse:
        return self.serve(request, kwargs)


class ChatCompletionsView(InferenceView):
    """`POST /v1/chat/completions`."""

    endpoint = "chat-completions"
    declared = declarations.CHAT


class CompletionsView(InferenceView):
    """`POST /v1/completions`."""

    endpoint = "completions"
    declared = declarations.COMPLETION


class EmbeddingsView(InferenceView):
    """`POST /v1/embeddings`."""

    endpoint = "embeddings"
    declared = declarations.EMBEDDINGS


class MessagesView(InferenceView):
    """`POST /v1/messages` (Anthropic)."""

    endpoint = "messages"
    declared = declarations.MESSAGES
    family: Family = "anthropic"


class CountTokensView(InferenceView):
    """`POST /v1/messages/count_tokens` (Anthropic)."""

    endpoint = "messages-count-tokens"
    declared = declarations.COUNT_TOKENS
    family: Family = "anthropic"


class ResponsesView(InferenceView):
    """`POST /v1/responses`."""

    endpoint = "responses"
    declared = declarations.RESPONSES
    family: Family = "responses"


class TokenizeView(InferenceView):
    """`POST /v1/tokenize`."""

    endpoint = "tokenize"
    declared = declarations.TOKENIZE


class DetokenizeView(InferenceView):
    """`POST /v1/detokenize`."""

    endpoint = "detokenize"
    declared = declarations.DETOKENIZE


class ModelsView(LaneView):
    """`GET /v1/models`."""

    declared = Declaration("The models one may use", answer=dialects.ModelObjects)

    @classmethod
    def lane_work(cls) -> Work:
        return handlers.serve_models

    def get(self, request: Request, **kwargs: str) -> HttpResponse:
        return self.serve(request, kwargs)


class ModelView(LaneView):
    """`GET /v1/models/{id}`."""

    declared = Declaration("One model", answer=dialects.ModelObject, errors=(404,))

    @classmethod
    def lane_work(cls) -> Work:
        return handlers.serve_model

    def get(self, request: Request, **kwargs: str) -> HttpResponse:
        return self.serve(request, kwargs)


class CapabilitiesView(LaneView):
    """`GET /api/models/capabilities`."""

    family: Family = "flat"
    declared = Declaration("The models one may use, and for what", answer=dialects.Capabilities)

    @classmethod
    def lane_work(cls) -> Work:
        return serve_capabilities

    def get(self, request: Request, **kwargs: str) -> HttpResponse:
        return self.serve(request, kwargs)


class StoredResponseView(AccountView):
    """`GET /v1/responses/{id}`: the owner's, else 404."""

    family: Family = "responses"

    @declares("A stored response", answer=dialects.ResponseObject, errors=(404,))
    def get(self, request: Request, response_id: str) -> Response:
        return Response(self.find(request, response_id))

    def find(self, request: Request, response_id: str) -> dict[str, Any]:
        found = stored_responses.find(response_id, user_id=self.principal(request).user_id)
        if found is None:
            raise NotFoundError(f"response not found: {response_id[:100]}", param="response_id")
        body: dict[str, Any] = found.response
        return body


class CancelResponseView(StoredResponseView):
    """`POST /v1/responses/{id}/cancel`: what is stored has ended, so it comes back as it is."""

    http_method_names = ["post"]

    @declares("Cancel a response", answer=dialects.ResponseObject, errors=(404,))
    def post(self, request: Request, response_id: str) -> Response:
        return Response(self.find(request, response_id))
