"""What the chat's endpoints take and answer with, for the document (`core.declared`)."""

from datetime import datetime
from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from chat import bounds

Count = Annotated[int, Field(ge=0)]
Title = Annotated[str, Field(max_length=bounds.MAX_TITLE_CHARS)]
ModelName = Annotated[str, Field(max_length=255)]
System = Annotated[str, Field(max_length=bounds.MAX_SYSTEM_CHARS)]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]
MaxTokens = Annotated[int, Field(ge=1, le=bounds.MAX_MAX_TOKENS)]
Seed = Annotated[int, Field(ge=-bounds.MAX_SEED, le=bounds.MAX_SEED)]
Words = Annotated[str, Field(max_length=bounds.MAX_TEXT_CHARS)]
Limit = Annotated[int, Field(ge=1, le=bounds.MAX_CHATS_A_PAGE)]
EXAMPLE_MESSAGE = {"content": "Explain Raft in two sentences.", "stream": True}


class HistoryShown(TypedDict):
    """Whether conversations are kept, and who switched that off."""

    on: bool
    offBy: Literal["server", "user"] | None


class Chat(TypedDict):
    """One conversation. `leaf` is the last message of the branch that is shown; an empty `model` is the
    default one; null among the sampling settings: the engine's to choose.
    """

    id: str
    title: str
    model: str
    system: str
    temperature: float | None
    topP: float | None
    maxTokens: int | None
    seed: int | None
    leaf: str | None
    messageCount: Count
    createdAt: datetime
    updatedAt: datetime


class Chats(TypedDict):
    """`next` is the cursor of the next page; null on the last."""

    chats: list[Chat]
    next: str | None
    history: HistoryShown


class ChatsQuery(TypedDict):
    """`q` is looked for in titles and in what was said."""

    q: NotRequired[Annotated[str, Field(max_length=bounds.MAX_SEARCH_CHARS)]]
    cursor: NotRequired[str]
    limit: NotRequired[Limit]


class NewChat(TypedDict):
    title: NotRequired[Title | None]
    model: NotRequired[ModelName | None]
    system: NotRequired[System | None]
    temperature: NotRequired[Temperature | None]
    topP: NotRequired[TopP | None]
    maxTokens: NotRequired[MaxTokens | None]
    seed: NotRequired[Seed | None]


class ChatChange(NewChat):
    """What is named is set. `leaf` shows the branch that ends at a message, `show` the one that goes
    through it, to its newest end.
    """

    leaf: NotRequired[str | None]
    show: NotRequired[str | None]


class FileShown(TypedDict):
    number: Count
    kind: Literal["text", "image"]
    name: str
    type: str
    size: Count
    url: str


class MessageHead(TypedDict):
    """A message without its text. Of an answer: counts are the engine's, times count from when it was
    asked for, `leftOut` is how many messages of the branch did not fit into what the engine was sent.
    """

    id: str
    parent: str | None
    depth: Count
    role: Literal["user", "assistant"]
    createdAt: datetime
    model: NotRequired[str]
    status: NotRequired[Literal["streaming", "done", "stopped", "cut", "failed"]]
    reason: NotRequired[str]
    error: NotRequired[str]
    finishReason: NotRequired[str]
    promptTokens: NotRequired[Count | None]
    completionTokens: NotRequired[Count | None]
    firstTokenMs: NotRequired[Count | None]
    durationMs: NotRequired[Count | None]
    tokensPerSecond: NotRequired[float | None]
    leftOut: NotRequired[Count]
    correlationId: NotRequired[str]


class MessageShown(MessageHead):
    """`siblings` are the versions of it, itself among them, oldest first. `after`, of an answer that is being
    written: what `…/stream` is asked for what comes behind this text.
    """

    content: str
    reasoning: NotRequired[str]
    after: NotRequired[str]
    files: NotRequired[list[FileShown]]
    siblings: list[str]


class ChatPage(TypedDict):
    """A conversation and the end of the branch that is shown, oldest first. `before` asks for what stands
    above it; null at the top.
    """

    chat: Chat
    messages: list[MessageShown]
    before: str | None


class PageQuery(TypedDict):
    before: NotRequired[str]
    limit: NotRequired[Annotated[int, Field(ge=1, le=bounds.MAX_MESSAGES_A_PAGE)]]


class NewFile(TypedDict):
    """A text file's `text`, or an image's `data` in base64."""

    name: NotRequired[Annotated[str, Field(max_length=bounds.MAX_FILE_NAME_CHARS)] | None]
    text: NotRequired[Words | None]
    data: NotRequired[str | None]


class NewMessage(TypedDict):
    """Under `parent`, an answer or null for the beginning; without it at the end of what is shown."""

    content: NotRequired[Words | None]
    files: NotRequired[Annotated[list[NewFile], Field(max_length=bounds.MAX_FILES)] | None]
    parent: NotRequired[str | None]
    model: NotRequired[ModelName | None]
    stream: NotRequired[bool | None]


class AnswerAgain(TypedDict):
    model: NotRequired[ModelName | None]
    stream: NotRequired[bool | None]


class AnswerBegun(TypedDict):
    """`question` is null where nothing was added but the answer."""

    chat: Chat
    question: MessageShown | None
    answer: MessageShown


class AnswerEvent(TypedDict):
    """One server-sent event of an answer; `data` is JSON. `id` goes into `after` of who comes back."""

    event: Literal["begin", "delta", "reset", "end", "gone"]
    data: str
    id: NotRequired[str]


class FollowQuery(TypedDict):
    """`after`: the id of the last event that was seen (or the header Last-Event-ID)."""

    after: NotRequired[str]


class ExportQuery(TypedDict):
    format: NotRequired[Literal["json", "markdown"]]


class ExportedChat(TypedDict):
    """The whole tree."""

    chat: Chat
    messages: list[MessageShown]


class ChatPreferences(TypedDict):
    history: bool


class ChatPreferencesShown(TypedDict):
    history: HistoryShown


class ChatsDeleted(TypedDict):
    message: str
    deleted: Count
