"""What each inference endpoint takes and gives, with examples; the views name these (`core.declared`)."""

from typing import Any

from core.declared import JSON, Content, Declaration
from inference.api.dialects import (
    AnthropicMessage,
    ChatCompletion,
    ChatRequest,
    Completion,
    CompletionRequest,
    CountTokensRequest,
    DetokenizeRequest,
    Embeddings,
    EmbeddingsRequest,
    InputTokens,
    MessagesRequest,
    Prefer,
    ResponseObject,
    ResponsesRequest,
    ServerSentEvent,
    TokenizeRequest,
    TokenList,
    TokenText,
)

_HI = [{"role": "user", "content": "What is a gatehouse?"}]


def _or_stream(shape: Any, example: Any, data: str, event: str = "") -> list[Content]:
    """JSON, or server-sent events where `stream` is true."""
    shown = {**({"event": event} if event else {}), "data": data}
    return [Content(JSON, shape, example), Content("text/event-stream", ServerSentEvent, shown)]


_CHUNK = (
    '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m",'
    '"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":null}]}'
)
_TEXT_CHUNK = (
    '{"id":"cmpl-1","object":"text_completion","created":1790000000,"model":"m",'
    '"choices":[{"index":0,"text":"A","finish_reason":null}]}'
)
_USAGE = {"prompt_tokens": 14, "completion_tokens": 9, "total_tokens": 23}
_TEXT = "The house above a gate, whose keeper decides who comes in."

CHAT = Declaration(
    "Chat",
    headers=Prefer,
    body=ChatRequest,
    body_example={"model": "smollm2-135m-instruct", "messages": _HI, "max_tokens": 64},
    answer=_or_stream(
        ChatCompletion,
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1790000000,
            "model": "smollm2-135m-instruct",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": _TEXT},
                    "finish_reason": "stop",
                }
            ],
            "usage": _USAGE,
        },
        _CHUNK,
    ),
)
COMPLETION = Declaration(
    "Complete a text",
    headers=Prefer,
    body=CompletionRequest,
    body_example={"model": "smollm2-135m-instruct", "prompt": "A gatehouse is"},
    answer=_or_stream(
        Completion,
        {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 1790000000,
            "model": "smollm2-135m-instruct",
            "choices": [{"index": 0, "text": " a house", "finish_reason": "stop"}],
            "usage": _USAGE,
        },
        _TEXT_CHUNK,
    ),
)
EMBEDDINGS = Declaration(
    "Embeddings",
    headers=Prefer,
    body=EmbeddingsRequest,
    body_example={"model": "all-minilm-l6-v2", "input": "A gatehouse"},
    answer=Embeddings,
    example={
        "object": "list",
        "model": "all-minilm-l6-v2",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.12, -0.03]}],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    },
)
MESSAGES = Declaration(
    "Chat, Anthropic's way",
    headers=Prefer,
    body=MessagesRequest,
    body_example={"model": "smollm2-135m-instruct", "max_tokens": 64, "messages": _HI},
    answer=_or_stream(
        AnthropicMessage,
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "smollm2-135m-instruct",
            "content": [{"type": "text", "text": _TEXT}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 14, "output_tokens": 9},
        },
        '{"type":"message_stop"}',
        "message_stop",
    ),
)
COUNT_TOKENS = Declaration(
    "Count the tokens of a chat",
    headers=Prefer,
    body=CountTokensRequest,
    body_example={"model": "smollm2-135m-instruct", "messages": _HI},
    answer=InputTokens,
    example={"input_tokens": 14},
)
RESPONSES = Declaration(
    "Chat, by the Responses API",
    headers=Prefer,
    body=ResponsesRequest,
    body_example={"model": "smollm2-135m-instruct", "input": "What is a gatehouse?"},
    answer=_or_stream(
        ResponseObject,
        {
            "id": "resp_1",
            "object": "response",
            "model": "smollm2-135m-instruct",
            "status": "completed",
            "output": [],
        },
        '{"type":"response.completed"}',
        "response.completed",
    ),
    errors=(501,),
)
TOKENIZE = Declaration(
    "Text to tokens",
    headers=Prefer,
    body=TokenizeRequest,
    body_example={"model": "smollm2-135m-instruct", "content": "A gatehouse"},
    answer=TokenList,
    example={"tokens": [34, 8452, 3911]},
)
DETOKENIZE = Declaration(
    "Tokens to text",
    headers=Prefer,
    body=DetokenizeRequest,
    body_example={"model": "smollm2-135m-instruct", "tokens": [34, 8452, 3911]},
    answer=TokenText,
    example={"content": "A gatehouse"},
)
