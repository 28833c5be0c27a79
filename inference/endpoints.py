"""The inference endpoints: what each is called, who may call it, where its work is done.

Data only, so that the lane, the gate's test, the views and the docs read one table.
"""

from dataclasses import dataclass
from typing import Literal

from core.envelopes import Family

Kind = Literal["generate", "embed", "count", "tokenize", "detokenize"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`name` is its URL name, `upstream` the engine's path, `capability` what picks a default model."""

    name: str
    family: Family
    rules: str
    upstream: str
    capability: str
    feature: str


ENDPOINTS = {
    endpoint.name: endpoint
    for endpoint in (
        Endpoint("chat-completions", "openai", "chat", "/v1/chat/completions", "chat", "chat"),
        Endpoint("completions", "openai", "completions", "/v1/completions", "chat", "chat"),
        Endpoint(
            "embeddings", "openai", "embeddings", "/v1/embeddings", "embeddings", "embeddings"
        ),
        Endpoint("messages", "anthropic", "messages", "/v1/messages", "chat", "chat"),
        Endpoint(
            "messages-count-tokens",
            "anthropic",
            "count_tokens",
            "/v1/messages/count_tokens",
            "chat",
            "chat",
        ),
        Endpoint("responses", "responses", "responses", "/v1/responses", "chat", "chat"),
        Endpoint("tokenize", "openai", "tokenize", "/tokenize", "chat", "tokenize"),
        Endpoint("detokenize", "openai", "detokenize", "/detokenize", "chat", "tokenize"),
    )
}
