"""The inference endpoints' bodies and answers, for the document: what is checked, counted or changed here.

Other keys pass to the engine as they are (design.md, unknown keys), so every object is open. What is
refused by name is in `inference.request_rules`.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from inference.request_rules import MAX_CHOICES, MAX_INPUTS, MAX_MESSAGES, MAX_PARTS, MAX_TOOLS

Count = Annotated[int, Field(ge=0)]
Model = Annotated[str, Field(max_length=255, description="Without it, the default model.")]
Tokens = Annotated[int, Field(ge=1)]
Tools = Annotated[list[dict[str, Any]], Field(max_length=MAX_TOOLS)]
Stop = str | list[str]


class Part(TypedDict):
    """A text, or media that is sent inline as a `data:` URL."""

    type: str
    text: NotRequired[str]


class ChatMessage(TypedDict):
    role: str
    content: NotRequired[str | Annotated[list[Part], Field(max_length=MAX_PARTS)] | None]
    name: NotRequired[str]
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]


Messages = Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
Prompt = (
    str
    | Annotated[list[str], Field(min_length=1, max_length=MAX_INPUTS)]
    | Annotated[list[int], Field(min_length=1)]
    | Annotated[list[list[int]], Field(min_length=1, max_length=MAX_INPUTS)]
)


class ServerSentEvent(TypedDict):
    """One of a stream: `data` is JSON of the family, or its end marker."""

    event: NotRequired[str]
    data: str


class StreamOptions(TypedDict):
    include_usage: NotRequired[bool]


class _Sampling(TypedDict):
    model: NotRequired[Model | None]
    stream: NotRequired[bool | None]
    stream_options: NotRequired[StreamOptions | None]
    temperature: NotRequired[float | None]
    top_p: NotRequired[float | None]
    top_k: NotRequired[int | None]
    min_p: NotRequired[float | None]
    max_tokens: NotRequired[Tokens | None]
    n: NotRequired[Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None]
    seed: NotRequired[int | None]
    stop: NotRequired[Stop | None]
    frequency_penalty: NotRequired[float | None]
    presence_penalty: NotRequired[float | None]
    logit_bias: NotRequired[dict[str, float] | None]


class ChatRequest(_Sampling):
    messages: Messages
    max_completion_tokens: NotRequired[Tokens | None]
    tools: NotRequired[Tools | None]
    tool_choice: NotRequired[str | dict[str, Any] | None]
    response_format: NotRequired[dict[str, Any] | None]
    reasoning_effort: NotRequired[str | None]
    logprobs: NotRequired[bool | None]
    top_logprobs: NotRequired[int | None]


class Usage(TypedDict):
    prompt_tokens: Count
    total_tokens: Count
    completion_tokens: NotRequired[Count | None]


class CalledFunction(TypedDict):
    name: str
    arguments: str


class ToolCall(TypedDict):
    id: NotRequired[str]
    type: str
    function: CalledFunction


class AssistantMessage(TypedDict):
    role: Literal["assistant"]
    content: NotRequired[str | None]
    reasoning: NotRequired[str | None]
    tool_calls: NotRequired[list[ToolCall] | None]


class ChatChoice(TypedDict):
    index: int
    message: AssistantMessage
    finish_reason: NotRequired[str | None]


class ChatCompletion(TypedDict):
    """`model` is what was asked for."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: NotRequired[Usage | None]


class CompletionRequest(_Sampling):
    prompt: Prompt
    echo: NotRequired[bool | None]


class TextChoice(TypedDict):
    index: int
    text: str
    finish_reason: NotRequired[str | None]


class Completion(TypedDict):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: NotRequired[Usage | None]


class EmbeddingsRequest(TypedDict):
    """`input`, or `messages` for models that take a conversation."""

    model: NotRequired[Model | None]
    input: NotRequired[Prompt]
    messages: NotRequired[Messages | None]
    encoding_format: NotRequired[Literal["float", "base64"] | None]
    dimensions: NotRequired[int | None]


class Embedding(TypedDict):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Embeddings(TypedDict):
    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: NotRequired[Usage | None]


class MessagesRequest(TypedDict):
    model: NotRequired[Model | None]
    messages: Messages
    max_tokens: Tokens
    system: NotRequired[str | list[Part] | None]
    stream: NotRequired[bool | None]
    stop_sequences: NotRequired[list[str] | None]
    temperature: NotRequired[float | None]
    top_p: NotRequired[float | None]
    top_k: NotRequired[int | None]
    tools: NotRequired[Tools | None]
    tool_choice: NotRequired[dict[str, Any] | None]


class ContentBlock(TypedDict):
    """`text` and `thinking` have a text, `tool_use` the call."""

    type: str
    text: NotRequired[str]
    thinking: NotRequired[str]
    id: NotRequired[str]
    name: NotRequired[str]
    input: NotRequired[dict[str, Any]]


class MessagesUsage(TypedDict):
    input_tokens: Count
    output_tokens: Count


class AnthropicMessage(TypedDict):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[ContentBlock]
    stop_reason: NotRequired[str | None]
    usage: MessagesUsage


class CountTokensRequest(TypedDict):
    model: NotRequired[Model | None]
    messages: Messages
    system: NotRequired[str | list[Part] | None]
    tools: NotRequired[Tools | None]


class InputTokens(TypedDict):
    input_tokens: Count


class ResponsesRequest(TypedDict):
    """`background: true` is answered with 501."""

    model: NotRequired[Model | None]
    input: str | Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_MESSAGES)]
    instructions: NotRequired[str | None]
    previous_response_id: NotRequired[Annotated[str, Field(max_length=100)] | None]
    stream: NotRequired[bool | None]
    store: NotRequired[bool | None]
    background: NotRequired[bool | None]
    max_output_tokens: NotRequired[Tokens | None]
    temperature: NotRequired[float | None]
    top_p: NotRequired[float | None]
    tools: NotRequired[Tools | None]
    tool_choice: NotRequired[str | dict[str, Any] | None]


class OutputItem(TypedDict):
    """A message, a call of a function, a thought; by its `type`."""

    type: str
    id: NotRequired[str]
    role: NotRequired[str]
    status: NotRequired[str | None]
    content: NotRequired[list[Part] | None]
    name: NotRequired[str]
    arguments: NotRequired[str]
    call_id: NotRequired[str]


class ResponsesUsage(TypedDict):
    input_tokens: Count
    output_tokens: Count
    total_tokens: Count


class ResponseObject(TypedDict):
    id: str
    object: Literal["response"]
    model: str
    status: str
    output: list[OutputItem]
    usage: NotRequired[ResponsesUsage | None]
    previous_response_id: NotRequired[str | None]


class TokenizeRequest(TypedDict):
    """`content`, or the engine's own `prompt` or `messages`."""

    model: NotRequired[Model | None]
    content: NotRequired[str | None]
    prompt: NotRequired[str]
    messages: NotRequired[Messages | None]


class TokenList(TypedDict):
    tokens: list[int]


class DetokenizeRequest(TypedDict):
    model: NotRequired[Model | None]
    tokens: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=1_000_000)]


class TokenText(TypedDict):
    content: str


class ModelObject(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: NotRequired[Annotated[str, Field(description="Of an alias, the model it stands for.")]]


class ModelObjects(TypedDict):
    object: Literal["list"]
    data: list[ModelObject]


Flag = Literal[
    "FLAG_CHAT",
    "FLAG_COMPLETION",
    "FLAG_EMBEDDINGS",
    "FLAG_TOKENIZE",
    "FLAG_RERANK",
    "FLAG_IMAGE",
    "FLAG_VIDEO",
    "FLAG_VISION",
    "FLAG_TTS",
    "FLAG_TRANSCRIPT",
    "FLAG_SOUND_GENERATION",
    "FLAG_VAD",
    "FLAG_DETECTION",
]


class ModelCapabilities(TypedDict):
    id: str
    capabilities: list[Flag]
    backend: str
    state: str
    disabled: bool
    pinned: bool
    aliases: list[str]


class Capabilities(TypedDict):
    data: list[ModelCapabilities]


class Prefer(TypedDict):
    Prefer: NotRequired[
        Annotated[str, Field(description="`wait=N`: so many seconds, 120 at most (R-34)")]
    ]
