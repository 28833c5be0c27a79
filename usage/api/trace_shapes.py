"""What the endpoints of traces take and answer with, for the document (`core.declared`)."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from core.declared import Declaration
from usage.traces.terms import HARD_ITEMS

Count = Annotated[int, Field(ge=0)]
Nanoseconds = Annotated[int, Field(ge=0, description="Nanoseconds.")]
Milliseconds = Annotated[float, Field(ge=0)]
Moment = Annotated[str, Field(description="RFC 3339, UTC.")]
Text = Annotated[str, Field(max_length=255)]
Headers = dict[str, list[str]] | None


class TracesQuery(TypedDict):
    limit: NotRequired[Annotated[int, Field(ge=0, le=1000, description="0: all.")]]
    offset: NotRequired[
        Annotated[int, Field(ge=0, le=HARD_ITEMS, description="Counted from the newest.")]
    ]
    full: NotRequired[Annotated[bool, Field(description="With headers and bodies.")]]
    user: NotRequired[Text]
    model: NotRequired[Text]
    path: NotRequired[Text]
    status: NotRequired[Annotated[int, Field(ge=100, le=599)]]
    correlation_id: NotRequired[Text]
    type: NotRequired[Annotated[str, Field(description="Of engine calls: llm, embedding, …")]]


class SummaryQuery(TypedDict):
    hours: NotRequired[Annotated[int, Field(ge=1, le=720)]]


class TracedRequest(TypedDict):
    method: str
    path: str
    headers: Headers
    body: Annotated[str, Field(description="Base64; null where none is kept.")] | None
    body_bytes: Count
    body_truncated: NotRequired[bool]


class TracedAnswer(TypedDict):
    status: int
    headers: Headers
    body: str | None
    body_bytes: Count
    body_truncated: NotRequired[bool]


class Stages(TypedDict):
    gate: Milliseconds
    queue: Milliseconds
    first_token: Milliseconds
    stream: Milliseconds
    settle: Milliseconds


class RequestTrace(TypedDict):
    id: str
    timestamp: Moment
    duration: Nanoseconds
    request: TracedRequest
    response: TracedAnswer
    user_id: str
    user_name: str
    api_key_name: str | None
    client_ip: str
    user_agent: str
    model: str
    prompt_tokens: Count
    completion_tokens: Count
    stages_ms: Stages
    correlation_id: str
    error: NotRequired[str]


class EngineCall(TypedDict):
    correlation_id: str
    endpoint: NotRequired[str]
    streamed: NotRequired[bool]
    prompt_tokens: NotRequired[Count]
    completion_tokens: NotRequired[Count]
    first_token_ms: NotRequired[Milliseconds]


class EngineTrace(TypedDict):
    id: str
    timestamp: Moment
    duration: Nanoseconds
    status: int
    type: Annotated[str, Field(examples=["llm", "embedding", "model_load"])]
    model_name: str
    backend: str
    summary: str
    correlation_id: str
    data: EngineCall
    error: NotRequired[str]


class TraceBucket(TypedDict):
    start: Moment
    count: Count
    errors: Count


class TraceSummary(TypedDict):
    total: Count
    errors: Count
    p95_ms: Milliseconds
    window_hours: int
    buckets: list[TraceBucket]


REQUESTS = Declaration("The last requests", query=TracesQuery, answer=list[RequestTrace])
REQUEST = Declaration("One request in full", answer=RequestTrace, errors=(404,))
ENGINE_CALLS = Declaration("The last engine calls", query=TracesQuery, answer=list[EngineTrace])
ENGINE_CALL = Declaration("One engine call", answer=EngineTrace, errors=(404,))
CLEARED = Declaration("Forget them", status=204)
