"""The endpoints of the API page: those that the gate would let the caller use."""

from dataclasses import dataclass

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.gate import admit, requirement_for
from core.errors import GatehouseError
from core.principal import Principal

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`name` is the URL's. `part` is what an administrator calls the right to it."""

    name: str
    method: str
    about: Text
    part: Text

    @property
    def path(self) -> str:
        found = reverse(self.name)
        return found if found.startswith("/v1/") else f"/v1{found}"


ENDPOINTS = (
    Endpoint("chat-completions", "POST", _("Chat, streamed or in one piece"), _("Chat")),
    Endpoint("completions", "POST", _("Plain completion"), _("Chat")),
    Endpoint("responses", "POST", _("Responses, with stored context"), _("Chat")),
    Endpoint("messages", "POST", _("Anthropic-style messages"), _("Chat")),
    Endpoint("messages-count-tokens", "POST", _("Count tokens, Anthropic-style"), _("Chat")),
    Endpoint("embeddings", "POST", _("Vectors for search"), _("Embeddings")),
    Endpoint("models", "GET", _("The models you may use"), _("None")),
    Endpoint("tokenize", "POST", _("Text to tokens"), _("Tokenize")),
    Endpoint("detokenize", "POST", _("Tokens to text"), _("Tokenize")),
)


def usable(principal: Principal) -> list[Endpoint]:
    return [each for each in ENDPOINTS if _may(principal, each)]


def _may(principal: Principal, endpoint: Endpoint) -> bool:
    try:
        admit(principal, requirement_for(endpoint.name, endpoint.method))
    except GatehouseError:
        return False
    return True
